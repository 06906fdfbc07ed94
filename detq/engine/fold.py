"""Rewriting a float module before it is compiled: batch norm folded, shared activations given to each use.

Both leave the function as it is. A folded norm is one operation less a layer; a module that is called several times
(the one `relu` of a ResNet block) is refused by quantizers.
"""

from __future__ import annotations

import copy
from collections import Counter
from typing import TYPE_CHECKING

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torchvision.ops import FrozenBatchNorm2d

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["simplify"]

_NORMS = (FrozenBatchNorm2d, nn.BatchNorm2d)


class _Tracer(fx.Tracer):
    """torchvision's frozen norm is no part of torch.nn, so fx would trace into it."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, _NORMS) or super().is_leaf_module(m, module_qualified_name)


def simplify(module: nn.Module) -> nn.Module:
    """Return a copy of `module` with batch norm folded into convolutions and no activation module used twice.

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
    traced.graph.lint()
    traced.recompile()
    return traced


def _fold_norms(traced: fx.GraphModule) -> None:
    modules = dict(traced.named_modules())
    calls = Counter(str(node.target) for node in traced.graph.nodes if node.op == "call_module")
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
