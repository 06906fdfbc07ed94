"""What a figure was measured on: CPU, instruction sets and what torch may use of them, threads and versions.

Nothing here names the host, its kernel, a user or a folder: it is written into files that are committed and shared.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from detq.machine import CPUINFO, cpu_fields, cpu_flags, isa_overrides, public_version, version_of
from detq.measure.allocator import keeps_freed_memory
from detq.measure.threads import available_cores

__all__ = ["MachineClass", "environment", "machine_class"]

# The flags of /proc/cpuinfo that decide which kernels run; the other hundred do not.
_ISA = (
    *("sse4_2", "avx", "f16c", "fma", "avx2", "avx_vnni", "avx_vnni_int8", "avx_ifma", "avx_ne_convert"),
    *("avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni", "avx512_bf16", "avx512_fp16", "avx512ifma"),
    *("amx_tile", "amx_int8", "amx_bf16", "amx_fp16", "avx10", "asimd", "asimddp", "i8mm", "bf16", "sve", "sve2"),
)


@dataclass(frozen=True)
class MachineClass:
    """The machines whose times can be compared with each other. Its fields decide `id`, and nothing else does.

    Attributes:
        vendor: as the CPU names it, "GenuineIntel".
        family: the CPU's family number; with `model` and `stepping` it says more than the CPU's name, which can be just
            "AMD EPYC".
        model: model number.
        stepping: stepping number.
        isa: relevant instruction sets that the CPU has, sorted.
        capability: the vector width that torch's own kernels use, "AVX512".
        overrides: the variables of `detq.machine.ISA_OVERRIDES` that are set, as "NAME=value".
        cores: that this process may use.
        threads: of one operator.
        torch: version without the build's suffix.
        torchvision: version without the build's suffix.
        onednn: version of the library behind torch's convolutions.
        quantized_engine: behind torch's quantized operators.
    """

    vendor: str
    family: str
    model: str
    stepping: str
    isa: tuple[str, ...]
    capability: str
    overrides: tuple[str, ...]
    cores: int
    threads: int
    torch: str
    torchvision: str
    onednn: str
    quantized_engine: str

    @property
    def id(self) -> str:
        """A file-safe name that is the same for the same fields: readable parts, then eight digits of their hash."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:8]
        parts = (
            self.vendor,
            f"{self.family}.{self.model}.{self.stepping}",
            self.capability,
            f"{self.cores}c{self.threads}t",
            f"torch{self.torch}",
        )
        readable = "-".join(re.sub(r"[^a-z0-9._]+", "", part.lower()) or "unknown" for part in parts)
        return f"{readable}-{digest}"


def environment(threads: int) -> dict[str, Any]:
    """Return what a figure measured with `threads` threads depends on, ready for JSON."""
    import torch

    from detq.engine.capability import capability

    cpu, found = _cpu(CPUINFO), capability()
    onednn = re.search(r"MKL-DNN v([\d.]+)", torch.__config__.show())
    return {
        "cpu": cpu | {"cores": available_cores()},
        "isa_in_use": {
            "torch": str(torch.backends.cpu.get_cpu_capability()),
            "int8": found.describe(),
            "bf16": "native bf16" if found.bf16 else "no native bf16",
            "overrides": isa_overrides(),
        },
        "threads": threads,
        "allocator": "freed memory kept" if keeps_freed_memory() else "system allocator",
        "quantized_engine": str(torch.backends.quantized.engine),
        "versions": {
            "python": platform.python_version(),
            "detq": version_of("detq", "unknown"),
            "torch": str(torch.__version__),
            "torchvision": version_of("torchvision", "unknown"),
            "numpy": version_of("numpy", "unknown"),
            "onednn": onednn.group(1) if onednn else "unknown",
        },
        "system": f"{platform.system()} {platform.machine()}",
    }


def machine_class(env: Mapping[str, Any]) -> MachineClass:
    """Return the machine class of an `environment()`."""
    cpu, versions = env["cpu"], env["versions"]
    in_use = env["isa_in_use"]
    return MachineClass(
        vendor=cpu["vendor"],
        family=cpu["family"],
        model=cpu["model"],
        stepping=cpu["stepping"],
        isa=tuple(sorted(cpu["isa"])),
        capability=in_use["torch"],
        overrides=tuple(f"{name}={value}" for name, value in sorted(in_use["overrides"].items())),
        cores=cpu["cores"],
        threads=env["threads"],
        torch=public_version(versions["torch"]),
        torchvision=public_version(versions["torchvision"]),
        onednn=versions["onednn"],
        quantized_engine=env["quantized_engine"],
    )


def _cpu(cpuinfo: Path) -> dict[str, Any]:
    """Return the first processor of `/proc/cpuinfo`; "unknown" for what it or this platform does not say."""
    fields = cpu_fields(cpuinfo)
    flags = set(cpu_flags(fields))
    return {
        "vendor": fields.get("vendor_id") or fields.get("CPU implementer") or platform.machine() or "unknown",
        "family": fields.get("cpu family") or fields.get("CPU architecture") or "unknown",
        "model": fields.get("model") or fields.get("CPU part") or "unknown",
        "stepping": fields.get("stepping") or fields.get("CPU revision") or "unknown",
        "name": fields.get("model name", "unknown"),
        "isa": [flag for flag in _ISA if flag in flags],
    }
