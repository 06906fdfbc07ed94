"""`detq env`: what a bug report needs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import typer

from detq.cli.options import JsonOption, ThreadsOption

__all__ = ["env_command"]


def env_command(*, threads: ThreadsOption = None, as_json: JsonOption = False) -> None:
    """Print the CPU, its instruction sets, threads and versions: paste it into a bug report.

    It names no host, user or folder. `machine class` is what baselines are keyed by: times of two machines can be
    compared where it is the same.

    Example: `detq env --json > machine.json`
    """
    import torch

    from detq.measure.allocator import keep_freed_memory
    from detq.measure.environment import environment, machine_class
    from detq.measure.threads import choose_threads

    keep_freed_memory()  # as what measures does
    found = environment(choose_threads(threads))
    found["machine_class"] = machine_class(found).id
    found["quantized_engines"] = [name for name in torch.backends.quantized.supported_engines if name != "none"]
    if as_json:
        print(json.dumps(found, indent=2))
        return
    width = max(len(name) for name, _ in _lines(found))
    for name, value in _lines(found):
        typer.echo(f"{name:<{width}}  {value}")


def _lines(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    cpu, in_use = found["cpu"], found["isa_in_use"]
    yield "machine class", found["machine_class"]
    yield (
        "CPU",
        f"{cpu['name']} ({cpu['vendor']}, family {cpu['family']}, model {cpu['model']}, stepping {cpu['stepping']})",
    )
    yield "instruction sets", " ".join(cpu["isa"]) or "unknown"
    yield "torch uses", ", ".join(in_use[name] for name in ("torch", "int8", "bf16"))
    yield "overrides", " ".join(f"{name}={value}" for name, value in in_use["overrides"].items()) or "none"
    yield "cores", f"{cpu['cores']} (that this process may use)"
    yield "threads", str(found["threads"])
    yield "allocator", found["allocator"]
    yield "quantized engine", f"{found['quantized_engine']} (of {', '.join(found['quantized_engines'])})"
    yield "system", found["system"]
    yield from found["versions"].items()
