"""The TorchScript recipes: the same detector, the same numbers, the same proof."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.jit import _builtins

from detq.errors import QuantizationError, UnsupportedError
from detq.models.build import build_module
from detq.models.zoo import MODELS, find_model
from detq.predictor import build_predictor
from detq.quantization import dynamic_int8, torchscript
from detq.quantization.frozen import FrozenDetector
from detq.quantization.proof import prove, weight_bytes
from detq.quantization.script_layers import layers_of, named_after
from detq.quantization.scripted import script_detector
from detq.tensors import as_tensor
from tests.engine.small import small_detector

SMALL = "fasterrcnn_mobilenet_v3_large_320_fpn"
SIZES = [(160, 120), (120, 160), (333, 97), (64, 64), (301, 500)]


@pytest.fixture(scope="module")
def script_int8(noise):
    """The smallest detector as TorchScript with int8 layers. Do not change it."""
    return build_predictor(f"{SMALL}-torchscript_dynamic_int8", weights="random", prove_on=noise)


@pytest.fixture(scope="module")
def photos(shared):
    """Real photos, and what their detector is trained on."""
    return [Image.open(path).convert("RGB") for path in sorted((shared / "data/dawn/test").rglob("*.jpg"))[:3]]


def _answer(module, image):
    with torch.inference_mode():
        (found,) = module([image])
    return found


@pytest.mark.parametrize("recipe", ["fp32", "dynamic_int8"])
def test_it_equals_the_eager_detector_on_real_photos_of_several_sizes(shared, photos, recipe):
    """Within 1e-3 px and 1e-5 of score; folding batch norm rounds differently, int8 rounds the same."""
    weights = str(shared / "weights" / "car_fasterrcnn_mobilenet_v3_large_fpn.pth")
    eager, script = (
        build_predictor(f"{SMALL}-{name}", weights=weights, classes=["car"])
        for name in (recipe, f"torchscript_{recipe}")
    )
    for number, size in enumerate(SIZES):
        image = np.asarray(photos[number % len(photos)].resize(size))
        expected, found = eager.predict(image), script.predict(image)
        sure = 0.3  # next to the least score that is kept, rounding decides what is
        expected, found = expected[expected.scores > sure], found[found.scores > sure]
        # int8 rounds activations that folding moved by 1e-6 the other way now and then.
        pixels, score = (1e-3, 1e-5) if recipe == "fp32" else (0.5, 0.02)
        assert len(found) == len(expected)
        np.testing.assert_allclose(found.boxes, expected.boxes, atol=pixels)
        np.testing.assert_allclose(found.scores, expected.scores, atol=score)
        np.testing.assert_array_equal(found.labels, expected.labels)


@pytest.mark.parametrize("size", SIZES)
def test_before_freezing_it_is_the_eager_detector_bit_for_bit(fp32_predictor, size):
    """What an exported file computes."""
    script = script_detector(fp32_predictor.module)
    image = torch.rand(3, size[1], size[0], generator=torch.Generator().manual_seed(0))
    expected, found = _answer(fp32_predictor.module, image), _answer(script, image)
    assert len(expected["boxes"]) > 0
    assert all(torch.equal(found[key], expected[key]) for key in expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", [spec.name for spec in MODELS if "resnet101" not in spec.name])
def test_every_model_of_the_zoo_scripts(name):
    """Masks included; the layers keep the names that tell their stage. ResNet-101 is ResNet-50 with more blocks."""
    module = build_module(find_model(name), 2)
    if module.transform.fixed_size is None:
        module.transform.min_size, module.transform.max_size = (128,), 128
    if hasattr(module, "roi_heads"):
        module.rpn._post_nms_top_n["testing"] = 20
        module.roi_heads.score_thresh = -1.0
    else:
        module.score_thresh = 0.0
    image = torch.rand(3, 96, 128, generator=torch.Generator().manual_seed(0))
    script = torchscript.apply(module)
    expected, found = _answer(module, image), _answer(script, image)
    assert found.keys() == expected.keys()
    assert len(expected["scores"]) > 0
    assert found["scores"].tolist() == pytest.approx(expected["scores"].tolist(), abs=1e-4)
    paths = {path for path, _ in module.named_modules()}
    assert {work.path for work in script.count_work(image)} <= paths


def test_its_proof_is_that_of_the_eager_recipe(int8_predictor, script_int8, fp32_predictor):
    """The same layers, stages and multiply-accumulates, counted inside the frozen graph; and the profiler agrees."""
    eager, script = int8_predictor.proof, script_int8.proof
    assert script.int8_modules == eager.int8_modules
    assert (script.by_stage, script.macs_by_stage) == (eager.by_stage, eager.macs_by_stage)
    assert (script.kernels, script.kernel_calls) == (eager.kernels, eager.kernel_calls)
    # Folding leaves out batch norm's own parameters.
    assert 0.99 * eager.weight_bytes < script.weight_bytes < eager.weight_bytes
    assert script.share > 0 == fp32_predictor.proof.share


def test_transposed_convolutions_and_repeated_calls_are_counted():
    """A mask head has one, an RPN head is called once a level."""

    class Tiny(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 6, 3, groups=3, padding=1)
            self.up = nn.ConvTranspose2d(6, 4, 2, stride=2)
            self.fc = nn.Linear(4, 5)

        def forward(self, images: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
            made = self.up(self.conv(images[0][None])).mean((2, 3))
            return [{"boxes": self.fc(made), "scores": self.fc(made), "labels": self.fc(made[:0])}]

    image = np.zeros((8, 6, 3), np.uint8)
    module = Tiny().eval()
    for build in (torchscript.apply, torchscript.apply_dynamic_int8):
        proof = prove(build(module), image, quantizes=build is torchscript.apply_dynamic_int8)
        assert proof.macs_by_stage == {"conv": 6 * 8 * 6 * 9, "up": 6 * 8 * 6 * 4 * 4, "fc": 2 * 4 * 5}
    assert proof.kernel_calls >= 2


def test_int8_layers_without_proposals_are_noticed(script_int8):
    """Inside a script module too, an idle box head proves nothing."""
    work = {layer.path: layer for layer in script_int8.module.count_work(torch.rand(3, 64, 64))}
    assert work["roi_heads.box_head.fc6"].int8
    head = dynamic_int8.apply(nn.Sequential(nn.Linear(3, 2)))

    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = head

        def forward(self, images: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
            return [{"boxes": self.head(images[0].mean((1, 2))[None][:0])}]

    with pytest.raises(QuantizationError, match="an image that shows objects"):
        prove(FrozenDetector(script_detector(Idle().eval())), np.zeros((8, 8, 3), np.uint8), quantizes=True)


def test_layers_find_their_names_by_what_they_compute(fp32_predictor):
    """A wrong name would put int8 work into a wrong stage; folded batch norm only scales a layer's outputs."""
    layers = layers_of(script_detector(fp32_predictor.module))
    assert layers[0].path == "model.backbone.body.0.0"
    scales = torch.linspace(-2, 3, len(layers[0].weight))[:, None, None, None]
    folded = replace(layers[0], path="model.7", weight=layers[0].weight * scales)
    other = replace(layers[0], path="model.8", weight=torch.rand_like(layers[0].weight))
    named = named_after([other, folded], layers)
    assert [layer.path for layer in named] == ["model.8", "backbone.body.0.0"]


def test_the_module_it_is_made_from_stays_as_it_was(fp32_predictor, noise):
    """The reference of every ratio may be the same module."""
    module, image = fp32_predictor.module, as_tensor(noise)
    before = _answer(module, image)
    size = weight_bytes(module)
    torchscript.apply(module)
    after = _answer(module, image)
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert weight_bytes(module) == size
    assert not module._has_warned


def test_torchs_announcements_do_not_reach_the_user(fp32_predictor, noise):
    """Neither while it is made nor when it runs."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        module = torchscript.apply_dynamic_int8(fp32_predictor.module)
        _answer(module, as_tensor(noise))
    assert caught == []


def test_what_cannot_be_scripted_is_refused_with_the_reason():
    """TorchScript compiles a part of Python; a user's own detector may use the rest."""

    class Free(nn.Module):
        def forward(self, images, **more):
            return [{"boxes": images[0], **more}]

    with pytest.raises(UnsupportedError, match=r"torch\.jit\.script cannot compile Free .*leave the torchscript"):
        torchscript.apply(Free())


def test_a_model_without_linear_layers_is_refused():
    """As the eager recipe does."""
    with pytest.raises(QuantizationError, match="nothing would run in int8"):
        torchscript.apply_dynamic_int8(nn.Sequential(nn.Conv2d(1, 1, 1)))


def test_an_operator_that_torch_has_dropped_is_not_taken_for_what_lies_at_its_address_now():
    """torch knows operators by `id` for ever: compiling another detector in between made scripting fail by chance."""
    table = _builtins._get_builtin_table()
    script_detector(small_detector())
    before = dict(table)
    dropped = [[small_detector.__call__ for _ in range(20_000)], [(index,) for index in range(20_000)]]
    table.update({id(one): "aten::dropped" for kind in dropped for one in kind})
    del dropped
    assert len(table) > len(before)
    image = torch.rand(3, 96, 128)
    with torch.no_grad():
        assert script_detector(small_detector(masks=True))([image])[0].keys() >= {"boxes", "masks"}
    assert table.keys() <= before.keys()
    assert {"aten::conv2d", "torchvision::nms"} <= set(table.values())
