"""What the layers of a compiled stage do, read from the graph that was compiled, and kept beside the package."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import fx

from detq.errors import ArtifactError
from detq.files import read_json, write_json
from detq.quantization.work import LayerWork

__all__ = ["PREFIXES", "GraphWork", "read_program"]

PREFIXES = {
    "backbone": "backbone",
    "rpn_head": "rpn.head",
    "box_head": "roi_heads.box_head",
    "mask_head": "roi_heads.mask_head",
}
"""Stage -> where its layers are in torchvision's detector, which is how proofs name them."""

_CONVOLUTIONS = ("aten.conv2d", "aten.convolution", "aten.conv_transpose2d")
_LAYERS = (*_CONVOLUTIONS, "aten.linear", "aten.addmm", "aten.mm")


@dataclass(frozen=True)
class GraphWork:
    """The convolutions and linear layers of one graph.

    Attributes:
        layers: name in the graph, int8 or not, and multiply-accumulates for the shape that it was compiled for; for a
            graph with any number of rois, those of one roi.
        weight_bytes: of all constants.
        rows: the graph takes any number of rois.
    """

    layers: tuple[tuple[str, bool, int], ...]
    weight_bytes: int
    rows: bool

    def work(self, stage: str, rows: int) -> list[LayerWork]:
        """Return the work of one call with `rows` rois; without rois the stage is not called."""
        times = rows if self.rows else 1
        prefix = PREFIXES[stage]
        return [LayerWork(f"{prefix}.{name}", int8, macs * times, int(times > 0)) for name, int8, macs in self.layers]

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> GraphWork:
        """Return what `write` wrote.

        Raises:
            ArtifactError: the file is missing or damaged.
        """
        data = read_json(path, ArtifactError, "the description of a compiled stage")
        try:
            return cls.from_json(data)
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"{path}: not a description of a compiled stage ({error}); delete it") from None

    @classmethod
    def from_json(cls, data: Any) -> GraphWork:
        """Return what `asdict` made JSON of.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        layers = tuple((str(name), bool(int8), int(macs)) for name, int8, macs in data["layers"])
        return cls(layers, int(data["weight_bytes"]), bool(data["rows"]))


def read_program(program: torch.export.ExportedProgram, *, rows: int) -> GraphWork:
    """Return the layers of an exported graph.

    A layer is int8 where both its input and its weight come from quantized values: that is the pattern that inductor
    turns into an int8 kernel.

    Args:
        program: what is compiled.
        rows: rois that it was exported with, or 0 where its shapes are fixed.
    """
    layers = tuple(
        (node.name, _is_int8(node), _macs(node) // max(rows, 1))
        for node in program.graph_module.graph.nodes
        if node.op == "call_function" and str(node.target).rpartition(".")[0] in _LAYERS
    )
    return GraphWork(layers, sum(_distinct(program)), rows > 0)


def _distinct(program: torch.export.ExportedProgram) -> Iterable[int]:
    tensors = {id(one): one for one in (*program.state_dict.values(), *program.constants.values())}
    return [one.nbytes for one in tensors.values() if isinstance(one, torch.Tensor)]


def _is_int8(node: fx.Node) -> bool:
    return all(_dequantized(node.args[index]) for index in (0, 1))


def _dequantized(value: Any) -> bool:
    """Whether a value was dequantized just before, whatever views and casts came between."""
    while isinstance(value, fx.Node):
        if "dequantize" in str(value.target):
            return True
        passing = ("view", "reshape", "permute", "to", "_to_copy", "flatten", "relu", "t", "contiguous")
        if str(value.target).split(".")[1:2] not in [[name] for name in passing]:
            return False
        value = value.args[0]
    return False


def _macs(node: fx.Node) -> int:
    made, weight = _shape(node), _shape(node.args[1])
    if "conv_transpose" in str(node.target):
        return math.prod(_shape(node.args[0])) * math.prod(weight[1:])
    return math.prod(made) * math.prod(weight[1:])


def _shape(value: Any) -> tuple[int, ...]:
    shape = value.meta["val"].shape
    return tuple(int(side) if isinstance(side, int) else int(side.node.hint) for side in shape)
