"""The glue rebuilt from an artifact's settings is the detector's own."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.models.detection.rpn import RegionProposalNetwork

from detq.artifact.glue import build_glue, describe_glue
from detq.engine.build import build_staged
from detq.engine.detector import StagedDetector
from detq.errors import UnsupportedError
from detq.models.build import build_module
from detq.models.zoo import MODELS, find_model
from detq.quantization.plan import Plan
from tests.engine.small import small_detector


def rebuilt(detector):
    """The staged detector with glue from settings that went through JSON."""
    staged = build_staged(detector, Plan())
    glue = build_glue(json.loads(json.dumps(describe_glue(detector))))
    return staged, StagedDetector(glue, Plan(), staged.dense, staged.names, pixels=staged.pixels)


@pytest.mark.parametrize("masks", [False, True], ids=["boxes", "masks"])
@settings(max_examples=6)
@given(
    size=st.tuples(st.integers(20, 200), st.integers(20, 200)),
    limits=st.fixed_dictionaries(
        {
            "min_size": st.sampled_from([64, 96]),
            "image_mean": st.sampled_from([None, [0.1, 0.2, 0.3]]),
            "box_score_thresh": st.sampled_from([0.0, 0.3]),
            "box_nms_thresh": st.sampled_from([0.3, 0.7]),
            "box_detections_per_img": st.sampled_from([3, 100]),
            "rpn_pre_nms_top_n_test": st.sampled_from([30, 1000]),
            "rpn_post_nms_top_n_test": st.sampled_from([5, 300]),
            "rpn_nms_thresh": st.sampled_from([0.4, 0.7]),
            "rpn_score_thresh": st.sampled_from([0.0, 0.4]),
            "bbox_reg_weights": st.sampled_from([None, (5.0, 5.0, 3.0, 3.0)]),
        }
    ),
)
def test_it_finds_the_same_whatever_the_settings(masks, size, limits):
    """To the last digit: all settings of torchvision's classes travel."""
    staged, other = rebuilt(small_detector(masks=masks, **limits))
    image = torch.rand(3, *size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        (expected,), (found,) = staged([image]), other([image])
    assert expected.keys() == found.keys()
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values, atol=0, rtol=0)


@pytest.mark.parametrize("name", ["maskrcnn_mobilenet_v3_large_fpn", "detectron2_maskrcnn_resnet50_fpn"])
def test_models_of_the_list_keep_their_rules(name):
    """Detectron2's glue is made from the config."""
    torch.manual_seed(0)
    detector = build_module(find_model(name), 3)
    detector.transform.min_size, detector.transform.max_size = (128,), 200
    settings = describe_glue(detector)
    if settings["kind"] == "detectron2":
        config = json.loads(settings["config"]) | {"min_size": 128, "max_size": 200}
        detector.detectron2_config = json.dumps(config)
    staged, other = rebuilt(detector)
    image = torch.rand(3, 100, 140)
    with torch.inference_mode():
        (expected,), (found,) = staged([image]), other([image])
    for key, values in expected.items():
        torch.testing.assert_close(found[key], values, atol=0, rtol=0)


@pytest.mark.parametrize("name", [spec.name for spec in MODELS if "rcnn_mobilenet" in spec.name])
def test_every_two_stage_model_can_be_described(name):
    """None has classes of its own but Detectron2's."""
    assert describe_glue(build_module(find_model(name), 2))["kind"] == "torchvision"


class OwnRpn(RegionProposalNetwork):
    """A user's own."""


def test_glue_of_a_users_own_is_refused_by_name():
    """Its code cannot travel."""
    detector = small_detector()
    detector.rpn.__class__ = OwnRpn
    with pytest.raises(UnsupportedError, match="rpn is a OwnRpn"):
        describe_glue(detector)
