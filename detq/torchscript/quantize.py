"""Dynamic int8 for a TorchScript file: the Mask R-CNN poster's own order, scripting first and quantizing then.

torch's own `quantize_dynamic_jit` is tried first. It can follow tensors through modules only, so that it gives up on
torchvision's detectors, which carry images in an object (`ImageList`). There the frozen graph is rewritten: each linear
layer with a constant weight becomes `quantized::linear_dynamic` with the weight that `quantize_dynamic` would give it.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from detq.errors import QuantizationError, UnsupportedError
from detq.quantization import dynamic_int8
from detq.quantization.frozen import freeze
from detq.quantization.script_layers import ScriptLayer, layers_of, nodes_of
from detq.quantization.scripted import quiet_torchscript

__all__ = ["Quantized", "quantize_script"]

_LINEAR = {"aten::linear", "aten::addmm"}


@dataclass(frozen=True, eq=False)
class Quantized:
    """A quantized script module.

    Attributes:
        module: in eval mode.
        layers: paths of the linear layers that are int8 now.
        way: "quantize_dynamic_jit", or "rewritten graph".
    """

    module: torch.jit.ScriptModule
    layers: tuple[str, ...]
    way: str


def quantize_script(script: torch.jit.ScriptModule, name: str) -> Quantized:
    """Return `script` with int8 weights and dynamically quantized activations in every linear layer.

    Args:
        script: of any origin; it stays as it is.
        name: of the file, for messages.

    Raises:
        QuantizationError: there is nothing to convert, or it is quantized already; the message says which.
        UnsupportedError: torch cannot do it on this machine.
    """
    if reason := dynamic_int8.unsupported_reason():
        raise UnsupportedError(f"{name}: {reason}")
    layers = layers_of(script)
    linear = [layer for layer in layers if layer.kind in _LINEAR and layer.weight.is_floating_point()]
    _check(layers, linear, name)
    with quiet_torchscript(), dynamic_int8.quantized_engine(str(dynamic_int8.choose_engine())):
        for way, convert in (("quantize_dynamic_jit", _by_torch), ("rewritten graph", _by_rewriting)):
            module = convert(script)
            if module is not None and sum(layer.int8 for layer in layers_of(module)) == len(linear):
                return Quantized(module.eval(), tuple(layer.path for layer in linear), way)
    raise QuantizationError(
        f"{name}: {len(linear)} linear layers could not all be converted: the graph computes their weights or changes "
        "its own attributes; quantize the eager model and export that"
    )


def _check(layers: list[ScriptLayer], linear: list[ScriptLayer], name: str) -> None:
    if int8 := [layer.path for layer in layers if layer.int8]:
        raise QuantizationError(
            f"{name}: it is quantized already: {len(int8)} int8 layers ({', '.join(int8[:4])}); give the fp32 file"
        )
    if not linear:
        raise QuantizationError(
            f"{name}: nothing would run in int8: of its {len(layers)} layers with weights none is linear, and PyTorch "
            "has no dynamically quantized convolution"
        )


def _by_torch(script: torch.jit.ScriptModule) -> torch.jit.ScriptModule | None:
    try:
        from torch.ao.quantization import default_dynamic_qconfig, quantize_dynamic_jit
    except ImportError:  # announced to go
        return None
    convert: Any = quantize_dynamic_jit
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"The \.grad attribute of a Tensor", category=UserWarning)
        try:
            made = convert(script, {"": default_dynamic_qconfig})
        except RuntimeError:
            return None
    return cast("torch.jit.ScriptModule", made)


def _by_rewriting(script: torch.jit.ScriptModule) -> torch.jit.ScriptModule | None:
    frozen = freeze(script)
    if frozen is script:
        return None
    graph: Any = frozen.graph
    for node in [node for node in nodes_of(graph) if node.kind() in _LINEAR]:
        given = list(node.inputs())
        rows, weight, bias = given[:3] if node.kind() == "aten::linear" else (given[1], given[2], given[0])
        value, offset = weight.toIValue(), bias.toIValue()
        if node.kind() == "aten::addmm" and any(factor.toIValue() != 1 for factor in given[3:]):
            continue
        if not isinstance(value, Tensor) or (bias.type().kind() != "NoneType" and offset is None):
            continue  # computed: `quantize_script` counts what is left
        if node.kind() == "aten::addmm":
            value = value.t()
        graph.setInsertPoint(node)
        packed, reduced = graph.insertConstant(_pack(value, offset)), graph.insertConstant(True)
        made = graph.insertNode(graph.create("quantized::linear_dynamic", [rows, packed, reduced], 1)).output()
        node.output().replaceAllUsesWith(made)
        node.destroy()
    return frozen


def _pack(weight: Tensor, bias: Tensor | None) -> Any:
    """Return the weight as `quantize_dynamic` packs it: per tensor, symmetric, from its least to its largest value."""
    from torch.ao.quantization import default_weight_observer

    observer: Any = default_weight_observer()
    values = weight.detach().float()
    observer(values)
    scale, zero_point = observer.calculate_qparams()
    rounded = torch.quantize_per_tensor(values, float(scale), int(zero_point), torch.qint8)
    return torch.ops.quantized.linear_prepack(rounded, None if bias is None else bias.detach().float())
