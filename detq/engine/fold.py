"""Rewriting a float module before it is compiled. The function stays as it is.

Batch norm is folded: one operation less a layer. Shared activations are given to each use: quantizers refuse a module
that is called several times, as the one `relu` of a ResNet block is. And convolutions that read a single pixel become
linear layers: of the former oneDNN lays the weights out for the number of threads that it is compiled with, and with
another number it does so again for every image, which took a quarter of a MobileNet's backbone on one thread.
"""

from __future__ import annotations

import copy
import operator
from collections import Counter

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torchvision.ops import FrozenBatchNorm2d

__all__ = ["simplify"]

_NORMS = (FrozenBatchNorm2d, nn.BatchNorm2d)


class _Tracer(fx.Tracer):
    """torchvision's frozen norm is no part of torch.nn, so fx would trace into it."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, _NORMS) or super().is_leaf_module(m, module_qualified_name)


def simplify(module: nn.Module) -> nn.Module:
    """Return a copy of `module` with batch norm folded into convolutions and no activation module used twice.

    The convolutions of squeeze-and-excite become linear layers of the same names.

    Each norm uses its own eps: torchvision's frozen norm has 1e-5 (its COCO ResNets 0), MobileNet's own 1e-3.

    Args:
        module: in eval mode; it stays as it is. Without norms it need not be traceable by `torch.fx`.
    """
    copied = copy.deepcopy(module)
    if not any(isinstance(child, _NORMS) for child in copied.modules()):
        return copied
    traced = fx.GraphModule(copied, _Tracer().trace(copied))
    _fold_norms(traced)
    _unshare(traced)
    _make_linear(traced)
    traced.graph.lint()
    traced.recompile()
    return traced


def _calls(traced: fx.GraphModule) -> Counter[str]:
    """Return how often each module is called, by path."""
    return Counter(str(node.target) for node in traced.graph.nodes if node.op == "call_module")


def _fold_norms(traced: fx.GraphModule) -> None:
    modules = dict(traced.named_modules())
    calls = _calls(traced)
    for node in list(traced.graph.nodes):
        norm = modules.get(str(node.target)) if node.op == "call_module" else None
        if not isinstance(norm, _NORMS) or norm.running_mean is None:
            continue
        (before,) = node.all_input_nodes
        conv = modules.get(str(before.target)) if before.op == "call_module" else None
        alone = len(before.users) == 1 and calls[str(before.target)] == 1 and calls[str(node.target)] == 1
        if isinstance(conv, nn.Conv2d) and alone:
            _fold(conv, norm)
            node.replace_all_uses_with(before)
            traced.graph.erase_node(node)
            traced.delete_submodule(str(node.target))


def _fold(conv: nn.Conv2d, norm: nn.Module) -> None:
    mean: Tensor = norm.running_mean  # type: ignore[assignment]
    variance: Tensor = norm.running_var  # type: ignore[assignment]
    scale: Tensor | None = norm.weight  # type: ignore[assignment]
    shift: Tensor | None = norm.bias  # type: ignore[assignment]
    weight, bias = fuse_conv_bn_weights(conv.weight, conv.bias, mean, variance, float(norm.eps), scale, shift)  # type: ignore[arg-type]
    conv.weight = nn.Parameter(weight.detach(), requires_grad=False)
    conv.bias = nn.Parameter(bias.detach(), requires_grad=False)


def _unshare(traced: fx.GraphModule) -> None:
    seen: Counter[str] = Counter()
    for node in traced.graph.nodes:
        if node.op != "call_module":
            continue
        path = str(node.target)
        shared = traced.get_submodule(path)
        seen[path] += 1
        if seen[path] > 1 and not list(shared.parameters()):
            own = f"{path}_{seen[path]}"
            traced.add_submodule(own, copy.deepcopy(shared))
            node.target = own


def _make_linear(traced: fx.GraphModule) -> None:
    """Make linear layers of the 1x1 convolutions after a global average, through the activations between them."""
    calls = _calls(traced)
    pixels: set[fx.Node] = set()
    for node in list(traced.graph.nodes):
        if node.op != "call_module":
            continue
        path = str(node.target)
        child = traced.get_submodule(path)
        if isinstance(child, nn.AdaptiveAvgPool2d):
            single = child.output_size in {1, (1, 1)}
        else:
            single = pixels.issuperset(node.all_input_nodes)
        if not single:
            continue
        if isinstance(child, nn.Conv2d) and _is_pointwise(child) and calls[path] == 1:
            traced.set_submodule(path, _as_linear(child))
            # Quantizers look for layers by the class that the trace has noted.
            node.meta["nn_module_stack"] = {**node.meta["nn_module_stack"], path: (path, nn.Linear)}
            pixels.add(_between_vectors(traced, node))
        elif not list(child.parameters()):
            pixels.add(node)


def _as_linear(conv: nn.Conv2d) -> nn.Linear:
    """Return the linear layer that computes the same of one pixel."""
    linear = nn.Linear(conv.in_channels, conv.out_channels, conv.bias is not None, device="meta")
    linear.weight = nn.Parameter(conv.weight.detach().flatten(1), requires_grad=False)
    linear.bias = conv.bias  # type: ignore[assignment]  # a parameter, or None
    return linear


def _between_vectors(traced: fx.GraphModule, layer: fx.Node) -> fx.Node:
    """Give a layer `(N, channels)` in place of `(N, channels, 1, 1)`; return the node that turns its output back."""
    (source,) = layer.all_input_nodes
    with traced.graph.inserting_before(layer):
        layer.replace_input_with(source, traced.graph.call_function(torch.flatten, (source, 1)))
    with traced.graph.inserting_after(layer):
        maps = traced.graph.call_function(operator.getitem, (layer, (slice(None), slice(None), None, None)))
    layer.replace_all_uses_with(maps, delete_user_cb=lambda user: user is not maps)
    return maps


def _is_pointwise(conv: nn.Conv2d) -> bool:
    return conv.kernel_size == (1, 1) and conv.groups == 1 and conv.stride == (1, 1) and conv.padding == (0, 0)
