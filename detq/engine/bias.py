"""Bias correction: what rounding shifts a layer's outputs by on average, its bias takes back.

Rounding a few weights of a depthwise filter moves the mean of a whole channel, and such shifts add up from layer to
layer. They cost nothing to undo. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias
Correction", 2019, section 4.2, with measured means: layer after layer, so that each sees corrected inputs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

__all__ = ["LAYERS", "channel_means", "correct_bias"]

LAYERS = frozenset(
    {torch.ops.aten.conv2d.default, torch.ops.aten.linear.default, torch.ops.aten.conv_transpose2d.input}
)
"""What has a bias."""

Images = Sequence[tuple[Tensor, ...]]
"""The inputs of a stage, one tuple for each image."""


def channel_means(graph: fx.GraphModule, images: Images) -> dict[str, Tensor]:
    """Return the mean output of each channel of each layer, float32 `(channels,)`, by the name of its node.

    Args:
        graph: in floating point.
        images: what it is run on; together they hold at least one row.
    """
    means: dict[str, Tensor] = {}

    def record(node: fx.Node, outputs: list[Tensor]) -> list[Tensor]:
        means[node.name] = _mean(node, outputs)
        return outputs

    _walk(graph, images, record)
    return means


def correct_bias(graph: fx.GraphModule, images: Images, means: Mapping[str, Tensor]) -> None:
    """Change the biases of `graph` so that on `images` every channel's mean output is that of the float graph.

    Args:
        graph: quantized; nodes are called as in the float graph. Layers without a bias stay as they are.
        images: what it is run on.
        means: what `channel_means` found in the float graph on the same images.
    """
    corrected: dict[str, Tensor] = {}

    def correct(node: fx.Node, outputs: list[Tensor]) -> list[Tensor]:
        bias = node.args[2] if len(node.args) > 2 else None
        if not (isinstance(bias, fx.Node) and bias.op == "get_attr"):
            return outputs
        shift = means[node.name] - _mean(node, outputs)
        corrected[str(bias.target)] = shift
        return [made + (shift if _is_linear(node) else shift[:, None, None]) for made in outputs]

    _walk(graph, images, correct)
    for path, shift in corrected.items():
        parent, _, name = path.rpartition(".")
        owner = graph.get_submodule(parent)
        before: Tensor = getattr(owner, name)
        setattr(owner, name, nn.Parameter(before.detach() + shift, requires_grad=False))  # a float stage may share it


def _is_linear(node: fx.Node) -> bool:
    return node.target is torch.ops.aten.linear.default


def _mean(node: fx.Node, outputs: Sequence[Tensor]) -> Tensor:
    """Return the mean of each channel over all images and places."""
    rows = [made.flatten(0, -2) if _is_linear(node) else made.transpose(0, 1).flatten(1).T for made in outputs]
    return (sum(one.double().sum(0) for one in rows) / sum(len(one) for one in rows)).float()  # type: ignore[union-attr]


def _walk(graph: fx.GraphModule, images: Images, at_layer: Callable[[fx.Node, list[Tensor]], list[Tensor]]) -> None:
    """Run a graph node by node, each on all images before the next; `at_layer` may change what a layer returns."""
    nodes = list(graph.graph.nodes)
    last = {used: node for node in nodes for used in node.all_input_nodes}
    inputs = iter(zip(*images, strict=True))
    values: dict[fx.Node, list[Any]] = {}
    for node in nodes:
        if node.op == "output":
            return
        if node.op == "placeholder":
            values[node] = list(next(inputs))
            continue
        found = [_value(graph, node, values, index) for index in range(len(images))]
        values[node] = at_layer(node, found) if node.target in LAYERS else found
        for used in node.all_input_nodes:
            if last[used] is node:
                del values[used]


def _value(graph: fx.GraphModule, node: fx.Node, values: Mapping[fx.Node, list[Any]], index: int) -> Any:
    """Return what a node computes for one image."""
    if node.op == "get_attr":
        return functools.reduce(getattr, str(node.target).split("."), graph)
    args = fx.node.map_arg(node.args, lambda used: values[used][index])
    named = fx.node.map_arg(node.kwargs, lambda used: values[used][index])
    if node.op == "call_module":
        return graph.get_submodule(str(node.target))(*args, **named)
    target: Any = node.target
    return target(*args, **named)
