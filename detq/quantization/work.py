"""What each convolution and linear layer of a detector does on one image: multiply-accumulates, calls, int8 or not.

A module of PyTorch's is counted with forward hooks. What hooks cannot see into, a script module or a compiled graph,
counts its own work: it has `count_work` and `count_weight_bytes`, see `CountsWork`.
"""

from __future__ import annotations

import contextlib
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

__all__ = ["CountsWork", "LayerWork", "count_calls", "count_work", "packed_bytes", "quietly", "weight_bytes"]


@dataclass(frozen=True)
class LayerWork:
    """One convolution or linear layer on one image.

    Attributes:
        path: as in `named_modules()` of torchvision's detector, so that it tells the stage.
        int8: its weights are int8, whether or not it was called.
        macs: multiply-accumulates that it did.
        calls: how often it was called with something to do.
    """

    path: str
    int8: bool
    macs: int
    calls: int


@runtime_checkable
class CountsWork(Protocol):
    """A module that knows better than hooks what it does: its layers are no modules of PyTorch's."""

    def count_work(self, image: Tensor) -> Sequence[LayerWork]:
        """Run on one image, float32 `(3, height, width)` in [0, 1], and return the work of every layer that there is.

        A layer with int8 weights is listed even if it was never called: that is how idle ones are noticed.
        """
        ...

    def count_weight_bytes(self) -> int:
        """Return the bytes of all weights and other constants, int8 packed weights included."""
        ...


def count_work(module: nn.Module, image: Tensor) -> Sequence[LayerWork]:
    """Return the work of every convolution and linear layer of `module` on `image`, in the module's order.

    Args:
        module: a detector in eval mode; hooks are gone afterwards.
        image: float32 `(3, height, width)` in [0, 1].
    """
    if isinstance(module, CountsWork):
        return module.count_work(image)
    with torch.inference_mode():
        return count_calls(dict(module.named_modules()), lambda: module([image]))


def count_calls(modules: Mapping[str, nn.Module], run: Callable[[], object]) -> list[LayerWork]:
    """Return the work of the layers among `modules` while `run` runs, in the modules' order.

    Args:
        modules: by path; hooks are gone afterwards.
        run: calls them.
    """
    macs: Counter[str] = Counter()
    calls: Counter[str] = Counter()

    def hook(path: str) -> Any:
        def count(child: nn.Module, given: tuple[Any, ...], made: Any) -> None:
            if isinstance(made, Tensor) and (number := _macs(child, given[0], made)) is not None:
                macs[path] += number
                calls[path] += number > 0

        return count

    handles = [child.register_forward_hook(hook(path)) for path, child in modules.items()]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    int8 = {path for path, child in modules.items() if _int8_weight(child) is not None}
    return [LayerWork(path, path in int8, macs[path], calls[path]) for path in modules if path in macs or path in int8]


def _macs(module: nn.Module, given: Tensor, made: Tensor) -> int | None:
    if isinstance(module, nn.ConvTranspose2d):
        return given.numel() * module.weight[0].numel()
    if isinstance(module, nn.Conv2d):
        return made.numel() * module.weight[0].numel()
    if isinstance(module, nn.Linear):
        return made.numel() * module.in_features
    quantized = _int8_weight(module)
    return None if quantized is None else made.numel() * quantized[0].numel()


def _int8_weight(module: nn.Module) -> Tensor | None:
    """Return the int8 weight of a quantized convolution or linear layer of torch, or None for any other module."""
    weight = getattr(module, "weight", None)
    if not hasattr(module, "_packed_params") or not callable(weight):
        return None
    with quietly():
        value = weight()
    return value if isinstance(value, Tensor) and value.dtype == torch.qint8 else None


def weight_bytes(module: nn.Module) -> int:
    """Return the bytes of all parameters and buffers, int8 packed weights included.

    A packed weight is no parameter, so it is counted from what it unpacks to; see `packed_bytes`.
    """
    if isinstance(module, CountsWork):
        return module.count_weight_bytes()
    plain = sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))
    return plain + sum(_packed_bytes(child) for child in module.modules())


def _packed_bytes(module: nn.Module) -> int:
    weight = _int8_weight(module)
    if weight is None:
        return 0
    read_bias: Any = getattr(module, "bias", None)
    return packed_bytes(weight, read_bias() if callable(read_bias) else None)


def packed_bytes(weight: Tensor, bias: Tensor | None) -> int:
    """Return the bytes of a packed layer: one a weight, its bias in fp32, and its scales and zero points.

    A scale is float64 and a zero point int64, one of each for the tensor or for each channel.
    """
    per_channel = weight.qscheme() in {torch.per_channel_affine, torch.per_channel_symmetric}
    scales = weight.q_per_channel_scales().numel() if per_channel else 1
    return weight.numel() * weight.element_size() + 16 * scales + (0 if bias is None else int(bias.nbytes))


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep torch's announcements about the end of quantized tensors from a user who has not asked."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"(?s).*(quantized tensor|TypedStorage).*", category=UserWarning)
        yield
