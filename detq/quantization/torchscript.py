"""The TorchScript recipes: the detector scripted and frozen, in fp32 and with dynamic int8 linear layers.

The second is what the Mask R-CNN poster did, which scripted first and quantized then; the layers come out the same.
"""

from __future__ import annotations

from torch import nn

from detq.quantization import dynamic_int8, scripted
from detq.quantization.frozen import FrozenDetector

__all__ = ["apply", "apply_dynamic_int8", "unsupported_reason"]


def unsupported_reason() -> str | None:
    """Return why these recipes cannot run with this torch, or None if they can."""
    return scripted.unsupported_reason()


def apply(module: nn.Module) -> nn.Module:
    """Return `module` as frozen TorchScript, fp32: within 1e-3 px and 1e-5 of score of the eager module.

    Raises:
        UnsupportedError: `torch.jit.script` cannot compile it.
    """
    return FrozenDetector(scripted.script_detector(module))


def apply_dynamic_int8(module: nn.Module) -> nn.Module:
    """Return `module` as frozen TorchScript whose linear layers are those of the recipe dynamic_int8.

    Raises:
        QuantizationError: there is no linear layer to convert.
        UnsupportedError: torch cannot do it on this machine, or `torch.jit.script` cannot compile it.
    """
    return FrozenDetector(scripted.script_detector(dynamic_int8.apply(module)))
