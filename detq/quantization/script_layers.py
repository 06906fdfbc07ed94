"""Looking into a script module: its convolutions and linear layers, their weights, and what they do on one image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from detq.quantization.work import LayerWork, packed_bytes, quietly

__all__ = ["ScriptLayer", "constant_bytes", "count_script_work", "layers_of", "named_after", "nodes_of"]

_WEIGHTS = {
    "aten::conv2d": 1,
    "aten::conv_transpose2d": 1,
    "aten::convolution": 1,
    "aten::_convolution": 1,
    "aten::linear": 1,
    "aten::addmm": 2,
    "quantized::linear_dynamic": 1,
}
"""Operator -> which of its inputs is the weight."""


@dataclass(frozen=True, eq=False)
class ScriptLayer:
    """One convolution or linear layer in a script module's graph.

    Attributes:
        path: of its module, as in `named_modules()`, or "model.<number>" where a frozen graph has lost it.
        kind: its operator, such as "aten::conv2d".
        weight: fp32, or quantized.
        bias: of a packed layer.
    """

    path: str
    kind: str
    weight: Tensor
    bias: Tensor | None = None

    @property
    def int8(self) -> bool:
        """Whether its weights are int8."""
        return self.weight.dtype == torch.qint8


def nodes_of(block: Any) -> Iterator[Any]:
    """Yield the nodes of a graph, those of its blocks included, in program order."""
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from nodes_of(inner)


def layers_of(script: torch.jit.ScriptModule) -> list[ScriptLayer]:
    """Return the layers of `script`, frozen or not, in the order in which they are first called.

    A layer is its weight: one that is called twice is there once. A call whose weight is computed is left out.
    """
    found: list[ScriptLayer] = []
    for node in nodes_of(script.inlined_graph):
        if (place := _WEIGHTS.get(node.kind())) is None:
            continue
        path, value = _constant(script, list(node.inputs())[place])
        weight, bias = (value, None) if isinstance(value, Tensor) else _unpack(value)
        if weight is not None and not any(_same(weight, layer.weight) for layer in found):
            found.append(ScriptLayer(path or f"model.{len(found)}", node.kind(), weight, bias))
    return found


def _constant(script: torch.jit.ScriptModule, value: Any) -> tuple[str, Any]:
    """Return the path and the value of an input that is an attribute of a module, or ("", value) of a constant."""
    names: list[str] = []
    node = value.node()
    if node.kind() == "aten::t":
        node = next(node.inputs()).node()
    if node.kind() == "prim::Constant":
        return "", next(node.outputs()).toIValue()
    while node.kind() == "prim::GetAttr":
        names.insert(0, node.s("name"))
        node = next(node.inputs()).node()
    if not names or node.kind() != "prim::Param":
        return "", None
    path = [name for name in names if name not in {"weight", "_packed_params"}]
    return ".".join(path), reduce(getattr, names, script)


def _unpack(value: Any) -> tuple[Tensor | None, Tensor | None]:
    if not isinstance(value, torch.ScriptObject):
        return None, None
    try:
        with quietly():
            weight, bias = torch.ops.quantized.linear_unpack(value)
    except RuntimeError:  # another packed object, such as fp16 weights
        return None, None
    return weight, bias


def named_after(frozen: Sequence[ScriptLayer], original: Sequence[ScriptLayer]) -> list[ScriptLayer]:
    """Return the layers of a frozen graph with the paths that they had before; "model.<number>" where none fits.

    Freezing turns attributes into constants and folds batch norm into them, which scales each output of a convolution,
    sometimes in several copies.
    """
    prefix = "model." if all(layer.path.startswith("model.") for layer in original) else ""
    named = []
    for layer in frozen:
        same = (old.path.removeprefix(prefix) for old in original if _same_up_to_scale(layer.weight, old.weight))
        named.append(replace(layer, path=next(same, layer.path)))
    return named


def _same_up_to_scale(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype or one.is_quantized:
        return _same(one, other)
    if one.data_ptr() == other.data_ptr():
        return True
    rows, old = one.detach().flatten(1), other.detach().flatten(1)
    alike = torch.nn.functional.cosine_similarity(rows, old).abs() > 1 - 1e-4
    return bool((alike | (rows == 0).all(1) | (old == 0).all(1)).all())


def constant_bytes(script: torch.jit.ScriptModule, layers: Iterable[ScriptLayer]) -> int:
    """Return the bytes of a frozen module's constants, parameters and packed weights, each counted once."""
    tensors = {tensor.data_ptr(): tensor for tensor in (*script.parameters(), *script.buffers())}
    for node in nodes_of(script.inlined_graph):
        if node.kind() == "prim::Constant":
            for tensor in _tensors(next(node.outputs()).toIValue()):
                tensors[tensor.data_ptr()] = tensor
    plain = sum(tensor.nbytes for tensor in tensors.values() if not tensor.is_quantized)
    return plain + sum(packed_bytes(layer.weight, layer.bias) for layer in layers if layer.int8)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)


def count_script_work(layers: Sequence[ScriptLayer], run: Callable[[], object]) -> list[LayerWork]:
    """Call `run`, which runs the script module, and return what each of its layers did, in their order.

    Every operator of a script module goes through PyTorch's dispatcher, where a `TorchDispatchMode` sees its tensors.
    """
    with torch.inference_mode(), _Watch(layers) as watch:
        run()
    work: dict[str, LayerWork] = {}
    for number, layer in enumerate(layers):
        before = work.get(layer.path, LayerWork(layer.path, layer.int8, 0, 0))
        work[layer.path] = replace(
            before, macs=before.macs + watch.macs[number], calls=before.calls + watch.calls[number]
        )
    return list(work.values())


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the MACs and the non-empty calls of layers, by their number."""

    def __init__(self, layers: Sequence[ScriptLayer]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs: Counter[int] = Counter()
        self.calls: Counter[int] = Counter()
        self._layers = layers
        self._plain = {layer.weight.data_ptr(): n for n, layer in enumerate(layers) if not layer.weight.is_quantized}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        kind = func._schema.name  # noqa: SLF001  # the only way to an operator's name
        if kind in _WEIGHTS and (number := self._number(args[_WEIGHTS[kind]])) is not None:
            macs = _macs(kind, self._layers[number].weight, args, made)
            self.macs[number] += macs
            self.calls[number] += macs > 0
        return made

    def _number(self, given: Any) -> int | None:
        if isinstance(given, Tensor):
            return self._plain.get(given.data_ptr())
        weight, _ = _unpack(given)
        for number, layer in enumerate(self._layers):
            if weight is not None and _same(weight, layer.weight):
                return number
        return None


def _same(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    # Packed weights have no identity that Python could compare, so their contents have to do.
    return torch.equal(one.int_repr(), other.int_repr()) if one.is_quantized else one.data_ptr() == other.data_ptr()


def _macs(kind: str, weight: Tensor, args: Sequence[Any], made: Tensor) -> int:
    transposed = kind == "aten::conv_transpose2d" or (kind in {"aten::convolution", "aten::_convolution"} and args[6])
    rows = args[0].numel() if transposed else made.numel()
    # A layer's own weight is (outputs, inputs…) even where addmm is given its transpose.
    return int(rows * weight[0].numel())
