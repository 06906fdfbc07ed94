"""detq: which quantization of a detector to ship on a CPU, what it buys, and a gate that keeps it.

Everything is imported when it is first used, so that `import detq` stays instant and does not load torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from detq.datasets import open_dataset
    from detq.errors import DetqError
    from detq.model_files import load
    from detq.predictor import Predictor, build_predictor
    from detq.torchscript import TorchScriptPredictor
    from detq.types import Detections, GroundTruth, Sample
    from detq.variants import VARIANTS, find_variant

__version__ = "0.1.0.dev0"

_HOMES = {
    "Detections": "detq.types",
    "DetqError": "detq.errors",
    "GroundTruth": "detq.types",
    "Predictor": "detq.predictor",
    "Sample": "detq.types",
    "TorchScriptPredictor": "detq.torchscript",
    "VARIANTS": "detq.variants",
    "build_predictor": "detq.predictor",
    "find_variant": "detq.variants",
    "load": "detq.model_files",
    "open_dataset": "detq.datasets",
}

__all__ = [
    "VARIANTS",
    "Detections",
    "DetqError",
    "GroundTruth",
    "Predictor",
    "Sample",
    "TorchScriptPredictor",
    "build_predictor",
    "find_variant",
    "load",
    "open_dataset",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'detq' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
