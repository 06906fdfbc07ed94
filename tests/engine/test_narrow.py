"""What an int8 graph leaves in floating point runs in bf16 where it is asked for."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import fx, nn

from detq.engine import static_int8
from detq.engine.bias import LAYERS
from detq.engine.narrow import typed

pytestmark = pytest.mark.skipif(static_int8.unsupported_reason() is not None, reason="torchao is not installed")

BF16, FP32 = torch.bfloat16, torch.float32


class Net(nn.Module):
    """Two layers with a sum and activations, then two more."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.third, self.head = nn.Conv2d(16, 16, 1), nn.Linear(16, 5)
        self.activation = nn.Hardswish()

    def forward(self, image):
        found = self.activation(self.first(image * 2 - 1))
        found = torch.relu(self.second(found)) + found
        return self.head(self.third(found).mean((2, 3)))


def _images(count):
    generator = torch.Generator().manual_seed(0)
    return [(torch.rand(1, 3, 24, 24, generator=generator),) for _ in range(count)]


def _quantized(keep):
    torch.manual_seed(0)
    net = Net().eval()
    prepared = static_int8.prepare(net, _images(1)[0], None, keep=keep)
    with torch.no_grad():
        for image in _images(4):
            prepared(*image)
    return static_int8.convert(prepared)


class _Types(fx.Interpreter):
    """Notes the type that each layer, sum and activation makes."""

    def __init__(self, graph):
        super().__init__(graph)
        self.made = {}

    def run_node(self, n):
        found = super().run_node(n)
        kind = str(n.target).split(".")[1] if "aten" in str(n.target) else ""
        if n.target in LAYERS or kind in {"add", "hardswish", "relu", "mul"}:
            self.made.setdefault(kind, []).append(found.dtype)
        return found


def _types(graph):
    notes = _Types(graph)
    with torch.no_grad():
        notes.run(*_images(1)[0])
    return notes.made


def test_kept_layers_and_what_joins_them_compute_in_bf16():
    """Between the first and the last of them nothing is cast; int8 layers before and after get fp32 as ever."""
    graph = _quantized(["first", "second"])
    exact = copy.deepcopy(graph)
    narrow = typed(graph, BF16)
    made = _types(narrow.inner)
    assert made["conv2d"] == [BF16, BF16, FP32]
    assert made["linear"] == [FP32]
    assert made["hardswish"] == made["relu"] == made["add"] == [BF16]
    assert made["mul"] == [FP32]
    casts = [node for node in narrow.inner.graph.nodes if node.target is torch.ops.aten.to.dtype]
    assert [node.args[1] for node in casts] == [BF16, FP32]
    (image,) = _images(1)[0]
    with torch.no_grad():
        (found,), (expected,) = narrow(image), typed(exact, None)(image)
    assert (found.dtype, expected.dtype) == (BF16, FP32)
    torch.testing.assert_close(found.float(), expected, atol=0.02 * float(expected.abs().max()), rtol=0)


def test_a_float_layer_between_int8_layers_is_cast_on_both_sides():
    """Its weights too, which then take half the bytes."""
    graph = _quantized(["third"])
    before = sum(one.nbytes for one in graph.state_dict().values())
    made = _types(typed(graph, BF16).inner)
    assert made["conv2d"] == [FP32, FP32, BF16]
    assert made["add"] == [FP32]
    weights = 16 * 16 + 16
    assert before - sum(one.nbytes for one in graph.state_dict().values()) == 2 * weights


def test_without_bf16_and_without_anything_kept_a_graph_stays_as_it_is():
    """What it computes, and in which types."""
    for keep, makes in ((["first"], None), ([], BF16)):
        graph = _quantized(keep)
        nodes = [str(node) for node in graph.graph.nodes]
        assert [str(node) for node in typed(graph, makes).inner.graph.nodes] == nodes
