"""Proof of quantization."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from detq.engine import static_int8
from detq.engine.build import build_staged
from detq.engine.calibration import CalibrationChoice
from detq.errors import QuantizationError
from detq.models.build import build_module
from detq.models.zoo import find_model
from detq.quantization import dynamic_int8
from detq.quantization.plan import Plan, StageRule
from detq.quantization.proof import prove, serialized_bytes, weight_bytes
from tests.engine.small import small_detector


class Tiny(nn.Module):
    """A detector in interface only: one convolution, one transposed one, and a linear layer called twice."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, groups=3, padding=1)
        self.up = nn.ConvTranspose2d(6, 4, 2, stride=2)
        self.fc = nn.Linear(4, 5)

    def forward(self, images):
        made = self.up(self.conv(images[0][None])).mean((2, 3))
        self.fc(made)
        self.fc(made[:0])
        return [self.fc(made)]


IMAGE = np.zeros((8, 6, 3), np.uint8)


def test_the_proof_names_modules_stages_and_kernels(int8_predictor):
    """The box head and nothing else runs in int8, and the profiler saw it."""
    proof = int8_predictor.proof
    assert 0 < proof.share < 1
    assert proof.by_stage == {"backbone": 0.0, "rpn_head": 0.0, "box_head": 1.0}
    assert proof.kernels == ("quantized::linear_dynamic",)
    assert proof.kernel_calls == len(proof.int8_modules) == 4
    assert all(path.startswith("roi_heads.box_") for path in proof.int8_modules)
    assert proof.weight_bytes < 0.5 * proof.fp32_weight_bytes


def test_the_reference_runs_nothing_in_int8(fp32_predictor, int8_predictor):
    """It does the same arithmetic, all of it in fp32."""
    proof = fp32_predictor.proof
    assert (proof.share, proof.int8_modules, proof.kernels) == (0.0, (), ())
    assert proof.weight_bytes == proof.fp32_weight_bytes == int8_predictor.proof.fp32_weight_bytes
    assert proof.macs_by_stage["backbone"] == int8_predictor.proof.macs_by_stage["backbone"]


def test_a_proof_goes_into_json(int8_predictor):
    """Reports and baselines read it."""
    parsed = json.loads(json.dumps(int8_predictor.proof.to_json()))
    assert parsed["share"] == int8_predictor.proof.share
    assert parsed["by_stage"]["box_head"] == 1.0


def test_no_hook_is_left_behind(int8_predictor):
    """The model that is timed has none."""
    assert not any(child._forward_hooks or child._forward_pre_hooks for child in int8_predictor.module.modules())


def test_multiply_accumulates_are_counted_by_hand():
    """Groups, strides, transposition and repeated calls all count; an empty call counts nothing."""
    proof = prove(Tiny(), IMAGE, quantizes=False)
    assert proof.macs_by_stage == {"conv": 6 * 8 * 6 * 9, "up": 6 * 8 * 6 * 4 * 4, "fc": 2 * 4 * 5}


def test_a_quantized_layer_counts_as_many_as_the_layer_it_replaces():
    """Otherwise the share would depend on the recipe."""
    before, after = prove(Tiny(), IMAGE, quantizes=False), prove(dynamic_int8.apply(Tiny()), IMAGE, quantizes=True)
    assert after.total_macs == before.total_macs
    assert after.int8_macs == before.macs_by_stage["fc"]
    assert after.share == 40 / (6 * 8 * 6 * 9 + 6 * 8 * 6 * 4 * 4 + 40)


def test_a_recipe_that_promises_int8_and_converts_nothing_raises():
    """An upgrade can make a quantizer silently do nothing."""
    with pytest.raises(QuantizationError, match="no module of the model has int8 weights"):
        prove(Tiny(), IMAGE, quantizes=True)


def test_int8_modules_that_do_no_work_raise():
    """Without proposals the image proves nothing."""

    class Idle(Tiny):
        def forward(self, images):
            return [self.fc(self.up(self.conv(images[0][None])).mean((2, 3))[:0])]

    with pytest.raises(QuantizationError, match="an image that shows objects"):
        prove(dynamic_int8.apply(Idle()), IMAGE, quantizes=True)


def test_int8_weights_that_are_computed_in_fp32_raise():
    """The modules claim int8, and the profiler is not fooled."""

    class Pretender(nn.Module):
        def __init__(self):
            super().__init__()
            self._packed_params = None
            self.plain = nn.Linear(3, 2)

        def weight(self):
            return torch.quantize_per_tensor(self.plain.weight.detach(), 0.1, 0, torch.qint8)

        def forward(self, images):
            return self.plain(images[0].mean((1, 2))[None])

    with pytest.raises(QuantizationError, match="profiler saw 0"):
        prove(nn.Sequential(Pretender()), IMAGE, quantizes=True)


def test_weight_bytes_count_packed_weights():
    """Packed weights are no parameters; counting parameters alone would call a box head free."""
    layer = nn.Sequential(nn.Linear(100, 10))
    assert weight_bytes(layer) == 4 * (1000 + 10)
    assert weight_bytes(dynamic_int8.apply(layer)) == 1000 + 4 * 10 + 16


def test_the_file_is_about_as_large_as_the_weights():
    """The two ways of saying the size agree to the format's overhead."""
    module = build_module(find_model("ssdlite320_mobilenet_v3_large"), 2)
    assert weight_bytes(module) <= serialized_bytes(module) < 1.05 * weight_bytes(module)
    layer = dynamic_int8.apply(nn.Sequential(nn.Linear(1000, 1000)))
    assert weight_bytes(layer) <= serialized_bytes(layer) < 1.05 * weight_bytes(layer)


def test_masks_have_stages_of_their_own(noise):
    """The mask head's transposed convolution counts too, and dynamic int8 leaves it in fp32."""
    from detq.predictor import build_predictor

    crop = noise[:64, :64]
    predictor = build_predictor("maskrcnn_resnet50_fpn-dynamic_int8", weights="random", classes=["car"])
    predictor.module.transform.min_size, predictor.module.transform.max_size = (64,), 64
    predictor.module.rpn._post_nms_top_n["testing"] = 20
    proof = prove(predictor.module, crop, quantizes=True)
    assert proof.by_stage["mask_head"] == 0.0
    assert proof.by_stage["box_head"] == 1.0
    found = predictor.predict(crop)
    assert found.masks.full().shape == (len(found), 64, 64)
    assert len(found) > 0
    assert predictor.predict(crop, masks=False).masks is None


@pytest.mark.skipif(static_int8.unsupported_reason() is not None, reason="torchao is not installed")
def test_a_stage_that_computes_in_another_precision_is_named():
    """Of a detector that runs stage by stage: the others are as they promised."""
    detector = small_detector()
    rule = StageRule("inductor", "int8")
    plan = Plan().with_rule("rpn_head", rule).with_rule("box_head", rule)
    staged = build_staged(detector, plan, calibration=CalibrationChoice(images=1).draw())
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    assert prove(staged, image, quantizes=True).by_stage["rpn_head"] == 1
    staged.steps["rpn_head"] = fallen = build_staged(detector, Plan()).steps["rpn_head"]
    with pytest.raises(QuantizationError, match=r"\): rpn_head computes in another precision"):
        prove(staged, image, quantizes=True)
    assert staged.steps["rpn_head"] is fallen
