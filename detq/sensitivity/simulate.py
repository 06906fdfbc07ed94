"""A stage in simulated int8, layer by layer: one observed graph whose quantization can be switched.

Quantizing and dequantizing in fp32 gives int8's result up to the rounding of sums, without compiling anything. Each
layer rounds its own input and weight, so one layer can run in int8 while its neighbour reads the same map in fp32, as
with `StageRule.keep`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, fx, nn

from detq.engine.bias import LAYERS

__all__ = ["Simulated"]


class Simulated(nn.Module):
    """An observed graph after calibration, in simulated int8.

    Attributes:
        graph: what runs.
        layers: paths of the layers that can be quantized, in the order in which they run.
    """

    def __init__(self, prepared: Any) -> None:
        """Rewrite what `detq.engine.static_int8.prepare` returned, once it has seen its calibration images."""
        super().__init__()
        self.graph: Any = prepared
        self._roundings = _rewrite(prepared)
        self.layers = tuple(dict.fromkeys(one.owner for one in self._roundings))

    def forward(self, *inputs: Tensor) -> Any:
        """Return what the stage makes of `inputs`."""
        return self.graph(*inputs)

    def activate(self, layers: Collection[str]) -> None:
        """Let these layers run in int8, and all others in fp32."""
        for one in self._roundings:
            one.active = one.owner in layers


class _Round(nn.Module):
    """Quantize and dequantize while a layer is active."""

    def __init__(self, owner: str, observer: Any) -> None:
        super().__init__()
        self.owner, self.active = owner, True
        scale, zero = observer.calculate_qparams()
        self.scale, self.zero = scale.float(), zero.int()
        self.low, self.high = int(observer.quant_min), int(observer.quant_max)
        self.of_weight = hasattr(observer, "ch_axis")
        self._weight: Tensor | None = None

    def forward(self, value: Tensor) -> Tensor:
        if not self.active:
            return value
        if not self.of_weight:
            return torch.fake_quantize_per_tensor_affine(value, float(self.scale), int(self.zero), self.low, self.high)
        if self._weight is None:
            self._weight = torch.fake_quantize_per_channel_affine(value, self.scale, self.zero, 0, self.low, self.high)
        return self._weight


def _rewrite(graph: fx.GraphModule) -> list[_Round]:
    """Give each layer that reads an observed value a rounding of its own, and drop the observers."""
    roundings = []
    for node in list(graph.graph.nodes):
        observer = graph.get_submodule(str(node.target)) if node.op == "call_module" else None
        if not hasattr(observer, "calculate_qparams"):
            continue
        (source,) = node.args
        for reader in list(node.users):
            owner = _owner(reader)
            if owner is None:  # what pools or joins maps only passes levels on
                reader.replace_input_with(node, source)
                continue
            rounding = _Round(owner, observer)
            roundings.append(rounding)
            name = f"round_{node.name}_{reader.name}"
            graph.add_submodule(name, rounding)
            with graph.graph.inserting_before(reader):
                reader.replace_input_with(node, graph.graph.call_module(name, (source,)))
        graph.graph.erase_node(node)
    graph.graph.lint()
    graph.recompile()
    return roundings


def _owner(node: fx.Node) -> str | None:
    """Return the path of the layer that an operand belongs to: of a residual sum, the convolution that it ends."""
    if node.target in LAYERS:
        return path_of(node)
    if node.target in {torch.ops.aten.add.Tensor, torch.ops.aten.add_.Tensor}:
        return next((path_of(one) for one in node.all_input_nodes if one.target in LAYERS), None)
    return None


def path_of(node: fx.Node) -> str:
    """Return the path of the module that a node was exported from."""
    stack = node.meta.get("nn_module_stack") or {}
    return str(list(stack.values())[-1][0]).removeprefix("L['self'].") if stack else node.name
