"""What an int8 graph leaves in floating point, in bf16: half the bytes to move, where the CPU computes in it.

Only whole runs of such layers, with what joins and activates them: an average or a factor of squeeze-and-excite between
two int8 layers stays in fp32, where its neighbours are.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import fx, nn

from detq.engine.bias import LAYERS
from detq.engine.compiled import Typed

__all__ = ["typed"]

_aten = torch.ops.aten
_BETWEEN = frozenset(
    {
        *(_aten.relu.default, _aten.relu_.default, _aten.hardswish.default, _aten.hardswish_.default),
        *(_aten.add.Tensor, _aten.add_.Tensor),
    }
)
"""What follows layers and computes in the type that it is given."""


def typed(graph: Any, makes: torch.dtype | None) -> Typed:
    """Return an int8 graph ready to be compiled: it takes fp32, and makes and computes `makes` where int8 ends.

    Args:
        graph: quantized; it is changed.
        makes: bfloat16, or None for fp32 throughout.
    """
    if makes is torch.bfloat16:
        _narrow(graph)
    return Typed(graph, torch.float32, makes)


def _narrow(graph: fx.GraphModule) -> None:
    low: set[fx.Node] = set()
    for node in graph.graph.nodes:
        if (node.target in LAYERS and _is_float(node)) or (
            node.target in _BETWEEN and low.issuperset(node.all_input_nodes)
        ):
            low.add(node)
    parameters = [node for node in graph.graph.nodes if node.op == "get_attr" and not low.isdisjoint(node.users)]
    for one in [one for one in parameters if low.issuperset(one.users)]:
        path, _, name = str(one.target).rpartition(".")
        value: Any = functools.reduce(getattr, str(one.target).split("."), graph)
        setattr(graph.get_submodule(path), name, nn.Parameter(value.to(torch.bfloat16), requires_grad=False))
        low.add(one)
    _cast(graph, low, torch.bfloat16, inside=True)
    _cast(graph, low, torch.float32, inside=False)
    graph.graph.lint()
    graph.recompile()


def _is_float(layer: fx.Node) -> bool:
    """Return whether a layer's weight is a constant as it is, and not one that is dequantized."""
    return isinstance(layer.args[1], fx.Node) and layer.args[1].op == "get_attr"


def _cast(graph: fx.GraphModule, low: set[fx.Node], dtype: torch.dtype, *, inside: bool) -> None:
    """Cast what crosses the border of `low`, on the way in or out."""
    for node in [node for node in graph.graph.nodes if (node in low) is not inside]:
        readers = [reader for reader in node.users if (reader in low) is inside and reader.target is not _aten.to.dtype]
        if readers:
            with graph.graph.inserting_after(node):
                cast = graph.graph.call_function(_aten.to.dtype, (node, dtype))
            for reader in readers:
                reader.replace_input_with(node, cast)
