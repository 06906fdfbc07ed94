"""Static int8 of one dense stage by PT2E: observe a float graph on calibration images, then convert it.

The quantizer is torchao's `X86InductorQuantizer`: uint8 activations a tensor, int8 weights a channel. Of
squeeze-and-excite blocks the two layers are quantized, which are a fifth of a MobileNet's weights; averaging the map
and scaling it stay in floating point, because averaging an int8 map is slower than averaging a float one.
"""

from __future__ import annotations

import importlib
import importlib.util
import operator
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, fx, nn

from detq.engine.compiler import export, quiet
from detq.errors import QuantizationError

__all__ = ["convert", "float_modules", "prepare", "register", "unsupported_reason"]

EPS = 2**-12
"""Least scale, as in torchao's own settings."""

_OBSERVER = "activation_post_process"
"""How torchao's observers are called in a graph, also those of weights."""

_SUMS = {torch.ops.aten.add.Tensor: operator.add, torch.ops.aten.add_.Tensor: operator.iadd}


def unsupported_reason() -> str | None:
    """Return why nothing can be quantized statically here, or None if it can."""
    try:
        with quiet():  # looking imports torchao itself, which makes torch warn of something in torch
            found = importlib.util.find_spec("torchao.quantization.pt2e.quantizer.x86_inductor_quantizer")
    except ImportError:
        found = None
    if found is None:
        return 'static int8 needs torchao with PT2E; pip install "detq[int8]"'
    return None


def float_modules(stage: nn.Module, keep: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the paths of what stays in floating point: averages of squeeze-and-excite, and what `keep` names."""
    prefixes = tuple(keep)
    return tuple(
        path
        for path, child in stage.named_modules()
        if isinstance(child, nn.AdaptiveAvgPool2d)
        or (
            isinstance(child, nn.Conv2d | nn.Linear | nn.ConvTranspose2d)
            and any(path == one or path.startswith(f"{one}.") for one in prefixes)
        )
    )


def prepare(
    stage: nn.Module,
    args: tuple[Tensor, ...],
    dynamic: Any,
    *,
    keep: Iterable[str] = (),
    reduce_range: bool = False,
    observer: str = "mse",
) -> nn.Module:
    """Return a graph that computes what `stage` does in fp32 and observes ranges on the way.

    Args:
        stage: in fp32 and eval mode; it stays as it is.
        args: an example of its inputs.
        dynamic: the dimensions that vary between images; see `torch.export.export`.
        keep: paths of modules that stay in floating point.
        reduce_range: 7 bits for activations, for CPUs whose u8×s8 products saturate (without VNNI).
        observer: how ranges are chosen.

    Raises:
        QuantizationError: nothing would be quantized, or what `keep` names would be too.
    """
    with quiet(), torch.no_grad():
        from torchao.quantization.pt2e.quantize_pt2e import prepare_pt2e
        from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import X86InductorQuantizer

        quantizer = X86InductorQuantizer().set_global(_config(observer, reduce_range=reduce_range))
        for path in float_modules(stage, keep):
            quantizer.set_module_name_qconfig(path, None)
        prepared: nn.Module = prepare_pt2e(export(stage, args, dynamic).module(), quantizer)
        if not _observes(prepared):
            graph: Any = export(stage, args, dynamic).module(check_guards=False)  # torch 2.9 writes some that fail
            _note_sources(graph, stage)
            prepared = prepare_pt2e(graph, quantizer)
    if not _observes(prepared):
        raise QuantizationError(f"{type(stage).__name__}: the quantizer found nothing to quantize")
    if broken := _observed_layers(prepared) & set(float_modules(stage, keep)):
        raise QuantizationError(
            f"{type(stage).__name__}: the quantizer did not leave {', '.join(sorted(broken))} in floating point"
        )
    return prepared


def _note_sources(graph: fx.GraphModule, stage: nn.Module) -> None:
    """Note which class a node comes from, as strict exports do: torchao 0.14 finds layers by nothing else.

    A strict export by torch 2.9 itself is of no use, because it leaves modules out of the paths that it notes.
    """
    for node in graph.graph.nodes:
        if node.target in _SUMS:
            node.meta["source_fn_stack"] = [(node.name, _SUMS[node.target])]
        elif stack := node.meta.get("nn_module_stack"):
            path = next(reversed(stack.values()))[0]
            child = stage.get_submodule(path)
            if not list(child.children()):
                node.meta["source_fn_stack"] = [(path, type(child))]


def _observed_layers(prepared: Any) -> set[str]:
    """Return the paths of the layers whose weights are observed."""
    weights = (
        node.all_input_nodes[0]
        for node in prepared.graph.nodes
        if node.op == "call_module" and str(node.target).startswith(_OBSERVER)
    )
    return {str(node.target).rpartition(".")[0] for node in weights if node.op == "get_attr"}


def _observes(prepared: nn.Module) -> bool:
    return any(_OBSERVER in name for name, _ in prepared.named_modules())


def _config(observer: str, *, reduce_range: bool) -> Any:
    """Return the settings of `X86InductorQuantizer`: its own specifications, with our observer of activations."""
    from torchao.quantization.pt2e import PerChannelMinMaxObserver
    from torchao.quantization.pt2e.quantizer import QuantizationConfig, QuantizationSpec

    from detq.engine.observers import RangeObserver

    activation = QuantizationSpec(
        dtype=torch.uint8,
        quant_min=0,
        quant_max=127 if reduce_range else 255,
        qscheme=torch.per_tensor_affine,
        is_dynamic=False,
        observer_or_fake_quant_ctr=RangeObserver.with_args(choice=observer, eps=EPS),
    )
    weight = QuantizationSpec(
        dtype=torch.int8,
        quant_min=-128,
        quant_max=127,
        qscheme=torch.per_channel_symmetric,
        ch_axis=0,
        is_dynamic=False,
        observer_or_fake_quant_ctr=PerChannelMinMaxObserver.with_args(eps=EPS),
    )
    return QuantizationConfig(activation, activation, weight, None, False)


def register() -> None:
    """Make known to torch the operators that quantized graphs are saved with, and to inductor their int8 kernels.

    Without the second, a graph that another process has quantized compiles to fp32 arithmetic between casts.
    """
    importlib.import_module("torchao.quantization.pt2e.quantize_pt2e")
    importlib.import_module("torchao.quantization.pt2e.quantizer.x86_inductor_quantizer")


def convert(prepared: nn.Module) -> nn.Module:
    """Return the quantized graph, with the ranges that `prepared` has observed; `prepared` is used up."""
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e

    with quiet(), torch.no_grad():
        converted = convert_pt2e(prepared)
    _prune(converted)
    quantized: nn.Module = converted
    return quantized


def _prune(graph: fx.GraphModule) -> None:
    """Drop the fp32 weights that int8 ones have replaced: nothing refers to them, but a file would hold them."""
    used = {str(node.target) for node in graph.graph.nodes if node.op == "get_attr"}
    for path, _ in [*graph.named_parameters(), *graph.named_buffers()]:
        if path not in used:
            parent, _, name = path.rpartition(".")
            delattr(graph.get_submodule(parent), name)
