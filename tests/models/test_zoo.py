"""The list of detectors."""

from __future__ import annotations

import pytest

from detq.errors import UnknownNameError
from detq.models.stages import STAGES, stage_of
from detq.models.zoo import MODELS, find_model
from detq.targets import resolve


def test_the_names_of_the_models_are_pinned():
    """A rename would silently end every comparison with a saved baseline."""
    assert [spec.name for spec in MODELS] == [
        "fasterrcnn_mobilenet_v3_large_fpn",
        "fasterrcnn_mobilenet_v3_large_320_fpn",
        "fasterrcnn_resnet50_fpn",
        "maskrcnn_mobilenet_v3_large_fpn",
        "maskrcnn_resnet50_fpn",
        "maskrcnn_resnet50_fpn_v2",
        "retinanet_resnet50_fpn",
        "ssdlite320_mobilenet_v3_large",
        "detectron2_maskrcnn_resnet50_fpn",
        "detectron2_maskrcnn_resnet101_fpn",
        "detectron2_fasterrcnn_resnet50_fpn",
        "detectron2_fasterrcnn_resnet101_fpn",
    ]


@pytest.mark.parametrize("spec", MODELS, ids=lambda spec: spec.name)
def test_every_model_names_a_builder_and_weights_that_torchvision_has(spec):
    """A spec's strings are checked here, because nothing checks them at import."""
    from torchvision.models import get_weight

    assert callable(resolve(spec.target))
    if spec.coco_weights is not None:
        assert get_weight(spec.coco_weights).meta["categories"][0] == "__background__"


def test_an_unknown_model_offers_the_closest_one():
    """A typing mistake is mended from the message alone."""
    with pytest.raises(UnknownNameError, match="did you mean fasterrcnn_resnet50_fpn"):
        find_model("fasterrcnn_resnet50")


def test_a_dotted_name_is_a_users_own_detector():
    """It is in no list and is imported only when it is built."""
    spec = find_model("nowhere.at_all:build")
    assert spec.own
    assert not spec.packaged


@pytest.mark.parametrize(
    ("path", "stage"),
    [
        ("backbone.body.0.0", "backbone"),
        ("rpn.head.conv.0.0", "rpn_head"),
        ("rpn.anchor_generator", "proposals"),
        ("roi_heads.box_predictor.cls_score", "box_head"),
        ("roi_heads.mask_head.0.0", "mask_head"),
        ("roi_heads", "postprocess"),
        ("head.classification_head.cls_logits", "head"),
    ],
)
def test_a_module_path_belongs_to_a_stage(path, stage):
    """Timing and proof of quantization speak of the same stages."""
    assert stage_of(path) == stage
    assert stage in STAGES
