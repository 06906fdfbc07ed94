"""What this torch offers of what detq's recipes are made of, found by trying: `python -m detq.bench.features`.

It runs in the environments that `detq.bench.matrix` compares, and imports nothing of detq, so that a version for which
detq does not even import still answers.
"""

from __future__ import annotations

import importlib
import json
import sys
import warnings
from collections.abc import Callable
from typing import Any

__all__ = ["FEATURES", "try_features", "versions"]


def _linear() -> Any:
    torch = importlib.import_module("torch")
    return torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU()).eval()


def _quantize_dynamic() -> None:
    torch = importlib.import_module("torch")
    quantization = importlib.import_module("torch.ao.quantization")
    model = quantization.quantize_dynamic(_linear(), {torch.nn.Linear}, dtype=torch.qint8)
    model(torch.zeros(1, 4))


def _packed_linear() -> None:
    torch = importlib.import_module("torch")
    weight = torch.quantize_per_tensor(torch.zeros(4, 4), 0.1, 0, torch.qint8)
    packed = torch.ops.quantized.linear_prepack(weight, None)
    torch.ops.quantized.linear_dynamic(torch.zeros(1, 4), packed)


def _script() -> None:
    torch = importlib.import_module("torch")
    torch.jit.script(_linear())(torch.zeros(1, 4))


def _export() -> None:
    torch = importlib.import_module("torch")
    torch.export.export(_linear(), (torch.zeros(1, 4),))


def _attribute(path: str) -> Callable[[], None]:
    def look() -> None:
        module, _, name = path.rpartition(".")
        getattr(importlib.import_module(module), name)

    return look


FEATURES: dict[str, Callable[[], None]] = {
    "torch.ao.quantization.quantize_dynamic": _quantize_dynamic,
    "torch.ops.quantized.linear_dynamic": _packed_linear,
    "torch.jit.script": _script,
    "torch.export.export": _export,
    "torch._inductor.aoti_compile_and_package": _attribute("torch._inductor.aoti_compile_and_package"),
    "torchao prepare_pt2e": _attribute("torchao.quantization.pt2e.quantize_pt2e.prepare_pt2e"),
    "torchao X86InductorQuantizer": _attribute(
        "torchao.quantization.pt2e.quantizer.x86_inductor_quantizer.X86InductorQuantizer"
    ),
}
"""What recipes are made of, and how to try it; it raises where it is not there."""


def try_features(features: dict[str, Callable[[], None]] = FEATURES) -> dict[str, dict[str, str | bool]]:
    """Return for each feature whether it works ("works"), why not ("why"), and what it warns of ("warns")."""
    return {name: _try(feature) for name, feature in features.items()}


def _try(feature: Callable[[], None]) -> dict[str, str | bool]:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            feature()
        except Exception as error:  # noqa: BLE001  # whatever a version raises is the answer
            return {"works": False, "why": f"{type(error).__name__}: {error}".partition("\n")[0], "warns": ""}
    going = [item for item in said if issubclass(item.category, (DeprecationWarning, FutureWarning))]
    return {"works": True, "why": "", "warns": str(going[0].message).partition("\n")[0].strip() if going else ""}


def versions() -> dict[str, str]:
    """Return the versions of this environment; what it does not have is left out."""
    found = {"python": sys.version.split()[0]}
    for name in ("torch", "torchvision", "torchao"):
        try:
            found[name] = str(importlib.import_module(name).__version__)
        except Exception:  # noqa: BLE001, S112  # a pair that does not match raises what it likes
            continue
    return found


if __name__ == "__main__":
    print(json.dumps({"versions": versions(), "features": try_features()}))
