"""Rewriting a module before it is compiled leaves its function as it is."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.ops import SqueezeExcitation

from detq.engine import static_int8
from detq.engine.bias import LAYERS
from detq.engine.fold import simplify


class Block(nn.Module):
    """A normed convolution, squeeze-and-excite, and a 1x1 convolution on the map."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.squeeze = SqueezeExcitation(16, 8)
        self.last = nn.Conv2d(16, 4, 1)

    def forward(self, image):
        return self.last(self.squeeze(self.norm(self.first(image))))


@pytest.fixture
def block():
    torch.manual_seed(0)
    made = Block().eval()
    made.norm.running_mean.uniform_(-1, 1)
    made.norm.running_var.uniform_(0.5, 2)
    return made


def test_a_simplified_module_computes_the_same(block):
    """To the rounding of sums, for images of several sizes and batches, while the module itself stays as it is."""
    before = {name: value.clone() for name, value in block.state_dict().items()}
    simple = simplify(block)
    for shape in ((1, 3, 24, 24), (2, 3, 7, 9)):
        image = torch.rand(shape)
        torch.testing.assert_close(simple(image), block(image), atol=1e-5, rtol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in block.state_dict().items())


def test_convolutions_on_one_pixel_become_linear_layers(block):
    """Those of squeeze-and-excite, under their names, so that `keep` finds them; one that reads a map stays."""
    layers = {
        path: child for path, child in simplify(block).named_modules() if isinstance(child, nn.Conv2d | nn.Linear)
    }
    kinds = {path: isinstance(child, nn.Linear) for path, child in layers.items()}
    assert kinds == {"first": False, "squeeze.fc1": True, "squeeze.fc2": True, "last": False}
    assert "squeeze.fc1" in static_int8.float_modules(simplify(block), ["squeeze"])


@pytest.mark.skipif(static_int8.unsupported_reason() is not None, reason="torchao is not installed")
def test_every_layer_of_a_simplified_module_is_quantized(block):
    """The quantizer knows torch's own layers only; those on one pixel are a fifth of a MobileNet's weights."""
    image = (torch.rand(1, 3, 24, 24),)
    prepared = static_int8.prepare(simplify(block), image, None)
    prepared(*image)
    graph = static_int8.convert(prepared).graph
    layers = [node for node in graph.nodes if node.target in LAYERS]
    assert len(layers) == 4
    assert all("dequantize" in str(node.args[number].target) for node in layers for number in (0, 1))


def test_a_convolution_that_also_reads_a_map_stays_one():
    """It has one weight for both."""

    class Twice(Block):
        def __init__(self) -> None:
            super().__init__()
            self.pool = nn.AdaptiveAvgPool2d(1)

        def forward(self, image):
            found = self.norm(self.first(image))
            return self.last(found) + self.last(self.pool(found))

    torch.manual_seed(0)
    twice = Twice().eval()
    assert isinstance(simplify(twice).get_submodule("last"), nn.Conv2d)
    image = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(simplify(twice)(image), twice(image), atol=1e-5, rtol=1e-5)
