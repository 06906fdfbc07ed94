"""Static int8 of a stage: what is quantized, what stays, and that rounding is all that changes."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys

import pytest
import torch
from torch import nn
from torchvision.ops import SqueezeExcitation

from detq.engine import static_int8
from detq.engine.bias import channel_means, correct_bias
from detq.engine.dense import DenseStages
from detq.errors import QuantizationError
from tests.engine.small import small_detector

pytestmark = pytest.mark.skipif(static_int8.unsupported_reason() is not None, reason="torchao is not installed")

LAYERS = ("first", "squeeze.fc1", "squeeze.fc2", "depthwise", "last", "head")


class Block(nn.Module):
    """A residual block as MobileNet has them, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, padding=1)
        self.squeeze = SqueezeExcitation(16, 8)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.last = nn.Conv2d(16, 16, 1)
        self.head = nn.Linear(16, 5)
        self.activation = nn.Hardswish()

    def forward(self, image):
        first = self.activation(self.first(image))
        found = self.last(self.squeeze(torch.nn.functional.hardswish(self.depthwise(first)))) + first
        return self.head(found.mean((2, 3)))


def _images(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [(torch.rand(1, 3, 24, 24, generator=generator) * 2 - 1,) for _ in range(count)]


def _observed(**settings):
    torch.manual_seed(0)
    block = Block().eval()
    with torch.no_grad():
        block.depthwise.weight *= torch.linspace(0.05, 3, 16)[:, None, None, None]
    images = _images(4)
    prepared = static_int8.prepare(block, images[0], None, **settings)
    with torch.no_grad():
        for image in images:
            prepared(*image)
    return block, prepared


def _layers(graph):
    """Layer -> whether both its operands were dequantized, by the path of its module."""
    found = {}
    for node in graph.graph.nodes:
        if str(node.target) in {"aten.conv2d.default", "aten.linear.default"}:
            path = list(node.meta["nn_module_stack"].values())[-1][0].removeprefix("L['self'].")
            found[path] = all("dequantize" in str(node.args[index].target) for index in (0, 1))
    return found


def test_all_layers_are_quantized_and_averages_are_not():
    """The two layers of squeeze-and-excite hold a fifth of a MobileNet's weights; its averages cost time in int8."""
    _, prepared = _observed()
    converted = static_int8.convert(prepared)
    assert _layers(converted) == dict.fromkeys(LAYERS, True)
    (pooling,) = [node for node in converted.graph.nodes if "adaptive_avg_pool2d" in str(node.target)]
    (scaling,) = [node for node in converted.graph.nodes if str(node.target) == "aten.mul.Tensor"]
    assert not any("dequantize" in str(used.target) for node in (pooling, scaling) for used in node.all_input_nodes)


def test_what_is_kept_stays_in_floating_point():
    """`keep` names modules: all layers below them, and no other."""
    _, prepared = _observed(keep=("squeeze", "last"))
    expected = {path: not path.startswith(("squeeze", "last")) for path in LAYERS}
    assert _layers(static_int8.convert(prepared)) == expected


def test_what_is_kept_of_a_whole_backbone_stays_in_floating_point():
    """Modules in modules in modules are called by their whole path, whichever torch noted it."""
    stage = DenseStages(small_detector(), pixels=True)["backbone"]
    image = (torch.randint(0, 256, (1, 3, 96, 128), dtype=torch.uint8),)
    prepared = static_int8.prepare(stage, image, None, keep=("body.body.0", "body.fpn.layer_blocks.1"))
    with torch.no_grad():
        prepared(*image)
    found = _layers(static_int8.convert(prepared))
    kept = {path for path in found if path.startswith(("body.body.0", "body.fpn.layer_blocks.1"))}
    assert len(kept) == 3
    assert found == {path: path not in kept for path in found}
    assert len(found) == 8


def test_a_quantizer_that_quantizes_what_is_kept_is_noticed(monkeypatch):
    """It would be another recipe under the same name."""
    from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import X86InductorQuantizer

    monkeypatch.setattr(X86InductorQuantizer, "set_module_name_qconfig", lambda self, *_about: self)
    with pytest.raises(QuantizationError, match=r"Block: the quantizer did not leave squeeze.fc1, squeeze.fc2 in fl"):
        static_int8.prepare(Block().eval(), _images(1)[0], None, keep=("squeeze",))


@pytest.mark.parametrize("observer", ["mse", "minmax", "percentile"])
def test_int8_is_near_the_float_stage_with_every_observer(observer):
    """On images that it was not calibrated with."""
    block, prepared = _observed(observer=observer)
    quantized = static_int8.convert(prepared)
    with torch.no_grad():
        for image in _images(3, seed=7):
            expected = block(*image)
            assert float((quantized(*image) - expected).norm() / expected.norm()) < 0.05


def test_with_reduced_range_no_activation_needs_the_eighth_bit():
    """Two products of 127 × 127 fit into 16 bits, two of 255 × 127 do not."""
    _, prepared = _observed(reduce_range=True)
    ends = [node.args[4] for node in static_int8.convert(prepared).graph.nodes if _quantizes_activation(node)]
    assert set(ends) == {127}


def _quantizes_activation(node):
    return "quantize_per_tensor" in str(node.target) and "dequantize" not in str(node.target)


def test_corrected_biases_give_back_the_means_of_the_float_stage():
    """Every channel of every layer, on the images of the correction; without it they are off."""
    _, prepared = _observed()
    images = _images(4)
    with torch.no_grad():
        expected = channel_means(copy.deepcopy(prepared), images)
        converted = static_int8.convert(prepared)
        before = channel_means(converted, images)
        correct_bias(converted, images, expected)
        after = channel_means(converted, images)
    assert expected.keys() == after.keys()
    errors = [max(float((means[name] - expected[name]).abs().max()) for name in expected) for means in (before, after)]
    assert errors[0] > 1e-4
    assert errors[1] < 1e-5


def test_correcting_biases_leaves_the_float_stage_alone():
    """A quantized graph may share its biases with the stage that it was made from."""
    block, prepared = _observed()
    before = {name: value.clone() for name, value in block.state_dict().items()}
    images = _images(2)
    with torch.no_grad():
        means = channel_means(copy.deepcopy(prepared), images)
        correct_bias(static_int8.convert(prepared), images, means)
    assert all(torch.equal(value, before[name]) for name, value in block.state_dict().items())


AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "FBGEMM_ENABLE_INSTRUCTIONS": "AVX2"}

EXTREMES = """
import json, pathlib, sys, tempfile
import torch
from torch import nn
from detq.engine import static_int8
from detq.engine.capability import capability
from detq.engine.compiler import compile_exported, export, load_compiled
from torch._inductor.cpu_vec_isa import pick_vec_isa

found = capability()
reduce_range = found.reduce_range if sys.argv[1] == "as found" else False
stage = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64 * 64, 32)).eval()
with torch.no_grad():
    for layer in (stage[0], stage[3]):
        layer.weight.copy_(torch.where(torch.rand_like(layer.weight) < 0.9, 1.0, -1.0) / 8)
    bright = torch.ones(1, 64, 8, 8)
    prepared = static_int8.prepare(stage, (bright,), None, observer="minmax", reduce_range=reduce_range)
    for image in (bright, torch.zeros_like(bright)):
        prepared(image)
    quantized = static_int8.convert(prepared)
    expected = quantized(bright)
    with tempfile.TemporaryDirectory() as folder:
        package = pathlib.Path(folder) / "stage.pt2"
        compile_exported(export(quantized, (bright,)), package)
        made = load_compiled(package)(bright)
print(json.dumps({
    "error": float((made - expected).norm() / expected.norm()),
    "vnni": found.vnni, "reduce_range": found.reduce_range, "bits": pick_vec_isa().bit_width(),
}))
"""


def _extremes(mode):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", EXTREMES, mode],
        env={**os.environ, **AVX2, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_without_vnni_nothing_saturates_and_code_is_made_for_the_instructions_that_are_left():
    """All activations at the end of their range: the compiled stage gives what fake quantization in fp32 gives."""
    found = _extremes("as found")
    assert (found["vnni"], found["reduce_range"], found["bits"]) == (False, True, 256)
    assert found["error"] < 1e-3
