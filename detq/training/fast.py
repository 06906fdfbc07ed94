"""Making a training step cheaper without changing what it computes.

* `FrozenBatchNorm2d` is an affine map of its convolution's output: it is applied to the small weight instead of the
  large activation, in the forward pass, so that gradients reach the weight as before.
* Depthwise convolutions have no fast bf16 backward kernel on CPUs: under autocast they compute in fp32.
* RoI pooling is a weighted sum of table rows, see `roi_pool`.
* Activations are kept channels-last, which all convolutions then share.

State dict names stay what they were, and `accelerated` takes everything back at its end.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign

from detq.training.roi_pool import pool_rois

__all__ = ["accelerated", "convolution_norm_pairs"]

Forward = Callable[[Tensor], Tensor]


def convolution_norm_pairs(module: nn.Module) -> list[tuple[nn.Conv2d, FrozenBatchNorm2d]]:
    """Return the convolutions whose output goes straight into a frozen batch norm and nowhere else.

    Found where torchvision has them: neighbours in an `nn.Sequential`, and `convK` with `bnK` in its ResNet blocks.
    """
    pairs = []
    for parent in module.modules():
        children = dict(parent.named_children())
        if isinstance(parent, nn.Sequential):
            candidates = list(zip(children.values(), list(children.values())[1:], strict=False))
        else:
            candidates = [
                (child, children[f"bn{name[4:]}"])
                for name, child in children.items()
                if name.startswith("conv") and f"bn{name[4:]}" in children
            ]
        pairs += [(a, b) for a, b in candidates if isinstance(a, nn.Conv2d) and isinstance(b, FrozenBatchNorm2d)]
    return pairs


@contextlib.contextmanager
def accelerated(module: nn.Module, *, channels_last: bool) -> Iterator[None]:
    """Speed up `module`'s training on a CPU inside the block.

    Args:
        module: a torchvision detector.
        channels_last: move parameters to that memory format for the block.
    """
    patched: list[nn.Module] = []
    try:
        for convolution, norm in convolution_norm_pairs(module):
            # An attribute of the instance wins over the class's method, and is removed below.
            convolution.forward = _normed(convolution, norm)  # type: ignore[assignment, method-assign]
            norm.forward = _identity
            patched += [convolution, norm]
        for pool in module.modules():
            # Not its subclasses: Detectron2's RoIAlign is another one.
            own = isinstance(pool, MultiScaleRoIAlign) and type(pool) is not MultiScaleRoIAlign
            if isinstance(pool, MultiScaleRoIAlign) and not own and pool.sampling_ratio > 0:
                pool.forward = functools.partial(pool_rois, pool)
                patched.append(pool)
        if channels_last:
            module.to(memory_format=torch.channels_last)
            backbone = getattr(module, "backbone", None)
            if isinstance(backbone, nn.Module):  # a user's own detector may have none
                patched += [_with_channels_last_input(backbone)]
        yield
    finally:
        for part in patched:
            del part.forward
        if channels_last:
            module.to(memory_format=torch.contiguous_format)


def _identity(x: Tensor) -> Tensor:
    return x


def _normed(convolution: nn.Conv2d, norm: FrozenBatchNorm2d) -> Forward:
    depthwise = convolution.groups > 1

    def forward(x: Tensor) -> Any:
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        bias = norm.bias - norm.running_mean * scale
        if convolution.bias is not None:
            bias = bias + convolution.bias * scale
        weight = convolution.weight * scale.reshape(-1, 1, 1, 1)
        if not depthwise or not torch.is_autocast_enabled("cpu"):
            return convolution._conv_forward(x, weight, bias)  # noqa: SLF001
        with torch.autocast("cpu", enabled=False):
            return convolution._conv_forward(x.float(), weight, bias).to(x.dtype)  # noqa: SLF001

    return forward


def _with_channels_last_input(backbone: nn.Module) -> nn.Module:
    original = backbone.forward

    def forward(x: Tensor) -> Any:
        return original(x.contiguous(memory_format=torch.channels_last))

    backbone.forward = forward
    return backbone
