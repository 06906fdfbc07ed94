"""A stage in simulated int8, layer by layer: one observed graph whose quantization can be switched.

Quantizing and dequantizing in fp32 gives int8's result up to the rounding of sums, without compiling anything. Each
layer rounds its own input and weight, so one layer can run in int8 while its neighbour reads the same map in fp32, which
is what `StageRule.keep` does.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, fx, nn

__all__ = ["Simulated"]

_LAYERS = {torch.ops.aten.conv2d.default, torch.ops.aten.linear.default, torch.ops.aten.conv_transpose2d.input}


class Simulated(nn.Module):
    """An observed graph after calibration, in simulated int8.

    Attributes:
        layers: paths of the layers that can be quantized, in the order in which they run.
        active: those that are in int8 now; all at first.
    """

    def __init__(self, prepared: Any) -> None:
        """Rewrite what `detq.engine.static_int8.prepare` returned, once it has seen its calibration images."""
        super().__init__()
        self.active: Collection[str] = ()
        self.graph = prepared
        self.layers = self._rewrite(prepared)
        self.active = frozenset(self.layers)

    def forward(self, *inputs: Tensor) -> Any:
        """Return what the stage makes of `inputs`, with the `active` layers in int8."""
        return self.graph(*inputs)

    def _rewrite(self, graph: fx.GraphModule) -> tuple[str, ...]:
        """Give each reader of an observed value a rounding of its own, and drop the observers."""
        found: dict[str, None] = {}
        for node in list(graph.graph.nodes):
            if node.op != "call_module" or not hasattr(graph.get_submodule(node.target), "calculate_qparams"):
                continue
            observer = graph.get_submodule(node.target)
            if not isinstance(node.args[0], fx.Node):
                continue
            for reader in list(node.users):
                owner = _owner(reader)
                if owner is None:
                    reader.replace_input_with(node, node.args[0])
                    continue
                found[owner] = None
                name = f"round_{node.name}_{reader.name}"
                graph.add_submodule(name, _Round(self, owner, observer))
                with graph.graph.inserting_before(reader):
                    rounded = graph.graph.call_module(name, (node.args[0],))
                reader.replace_input_with(node, rounded)
            graph.graph.erase_node(node)
        graph.graph.lint()
        graph.recompile()
        return tuple(found)


class _Round(nn.Module):
    """Quantize and dequantize while a layer is active."""

    def __init__(self, switches: Simulated, owner: str, observer: Any) -> None:
        super().__init__()
        object.__setattr__(self, "switches", switches)  # not a child: it is our parent
        self.owner = owner
        scale, zero = observer.calculate_qparams()
        self.scale, self.zero = scale.float(), zero.int()
        self.low, self.high = int(observer.quant_min), int(observer.quant_max)
        self.channels = len(scale) > 1 or hasattr(observer, "ch_axis")
        self._weight: Tensor | None = None

    def forward(self, value: Tensor) -> Tensor:
        if self.owner not in self.switches.active:
            return value
        if not self.channels:
            return torch.fake_quantize_per_tensor_affine(value, float(self.scale), int(self.zero), self.low, self.high)
        if self._weight is None:
            self._weight = torch.fake_quantize_per_channel_affine(value, self.scale, self.zero, 0, self.low, self.high)
        return self._weight


def _owner(node: fx.Node) -> str | None:
    """Return the path of the layer that an operand belongs to: of a residual sum, that of the convolution before it."""
    if node.target in _LAYERS:
        return path_of(node)
    if node.target in {torch.ops.aten.add.Tensor, torch.ops.aten.add_.Tensor}:
        return next((path_of(one) for one in node.args if isinstance(one, fx.Node) and one.target in _LAYERS), None)
    return None


def path_of(node: fx.Node) -> str:
    """Return the path of the module that a node was exported from."""
    stack = node.meta.get("nn_module_stack") or {}
    return str(list(stack.values())[-1][0]).removeprefix("L['self'].") if stack else node.name
