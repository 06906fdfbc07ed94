"""Dynamic int8 quantization of linear layers: int8 weights ahead of time, activations quantized for each image.

It needs no calibration, and it is what the 2024 car report measured. It reaches a detector's box head and nothing else:
PyTorch has no dynamically quantized convolution.
"""

from __future__ import annotations

import contextlib
import gc
import warnings
from collections.abc import Iterable, Iterator

import torch
from torch import nn

from detq.errors import QuantizationError, UnsupportedError

__all__ = ["apply", "choose_engine", "quantized_engine", "unsupported_reason"]

# Best first: "x86" picks fbgemm or oneDNN kernels by itself, layer by layer.
_ENGINES = ("x86", "fbgemm", "onednn", "qnnpack")


def choose_engine() -> str | None:
    """Return the quantized engine that this recipe uses on this machine, or None where torch has none for it."""
    supported = torch.backends.quantized.supported_engines
    current = str(torch.backends.quantized.engine)
    if current in _ENGINES and current in supported:
        return current
    return next((name for name in _ENGINES if name in supported), None)


def unsupported_reason() -> str | None:
    """Return why this recipe cannot run with this torch on this machine, or None if it can."""
    if choose_engine() is None:
        return "this build of torch has no quantized engine for this CPU (torch.backends.quantized.supported_engines)"
    try:
        from torch.ao.quantization import quantize_dynamic  # noqa: F401
    except ImportError:
        return f"torch {torch.__version__} no longer has torch.ao.quantization.quantize_dynamic; install an older torch"
    return None


def apply(module: nn.Module, layer_types: Iterable[type[nn.Module]] | None = None) -> nn.Module:
    """Return a copy of `module` whose linear layers have int8 weights and dynamically quantized activations.

    Args:
        module: a detector in eval mode; it stays as it is.
        layer_types: what to convert, `nn.Linear` by default and the only type that there is.

    Raises:
        QuantizationError: another layer type was asked for, or there is no layer to convert.
        UnsupportedError: torch cannot do it on this machine.
    """
    types: set[type[nn.Module]] = {nn.Linear} if layer_types is None else set(layer_types)
    if refused := sorted(kind.__name__ for kind in types - {nn.Linear}):
        raise QuantizationError(
            f"dynamic quantization cannot convert {', '.join(refused)}: PyTorch has no dynamic int8 kernels for it and "
            "would silently leave it in fp32; use it on nn.Linear, and a static recipe for convolutions"
        )
    if reason := unsupported_reason():
        raise UnsupportedError(f"dynamic_int8: {reason}")
    if not any(type(child) in types for child in module.modules()):
        raise QuantizationError(
            f"dynamic_int8 converts nn.Linear, and {type(module).__name__} has none: nothing would run in int8; choose "
            "another recipe or model"
        )
    return _convert(module, types)


def _convert(module: nn.Module, types: set[type[nn.Module]]) -> nn.Module:
    from torch.ao.quantization import quantize_dynamic

    with quantized_engine(str(choose_engine())), warnings.catch_warnings():
        # torch announces the end of torch.ao.quantization and of quantized tensors; `unsupported_reason` notices it.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.filterwarnings("ignore", message=r"(?s).*(quantized tensor|TypedStorage).*", category=UserWarning)
        converted: nn.Module = quantize_dynamic(module, types, dtype=torch.qint8)  # type: ignore[no-untyped-call]
    # quantize_dynamic leaves the fp32 weights that it replaced in reference cycles: 50 MB for a box head.
    gc.collect()
    return converted


@contextlib.contextmanager
def quantized_engine(name: str) -> Iterator[None]:
    """Let layers be packed for the engine `name`, and restore what was chosen before."""
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = name
    try:
        yield
    finally:
        torch.backends.quantized.engine = before
