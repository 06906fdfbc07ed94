"""The checkpoint that comes with detq: small, described, and a detector of cars."""

from __future__ import annotations

import hashlib
import json
import re

import numpy as np
import pytest

from detq.boxes import box_iou
from detq.datasets.synthetic import SEEDS, traffic_camera
from detq.metrics.overlap import crowd_mask_iou
from detq.models.weights import CHECKPOINTS
from detq.models.zoo import CHECKPOINT, MASK_CHECKPOINT, MODELS
from detq.predictor import build_predictor

LARGEST_BYTES = {CHECKPOINT: 40_000_000, MASK_CHECKPOINT: 8_000_000}


@pytest.fixture(scope="module", params=LARGEST_BYTES)
def file(request):
    """Each packaged file of weights."""
    return CHECKPOINTS / request.param


@pytest.fixture(scope="module")
def card(file):
    """The model card beside it."""
    return json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))


def test_a_packaged_file_is_small(file):
    """It lives in the repository's history for ever."""
    assert file.stat().st_size <= LARGEST_BYTES[file.name]


def test_every_file_is_packaged_for_a_model_and_has_a_card():
    """And no model names one that is not there."""
    named = {name for spec in MODELS for name in spec.checkpoints}
    assert {path.name for path in CHECKPOINTS.glob("*.safetensors")} == named == LARGEST_BYTES.keys()


def test_the_card_describes_this_very_file(file, card):
    """A card that outlives its weights would vouch for others."""
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert card["weights"]["sha256"] == digest
    assert card["classes"] == ["car"]


def test_the_card_names_data_licences_and_accuracy_and_no_folder(file, card):
    """What went in is attributed; where it lay on somebody's disk is nobody's business."""
    text = json.dumps(card)
    if file.name == CHECKPOINT:
        assert "DAWN" in text
        assert "CC BY 4.0" in text
    assert "synthetic:traffic" in text
    assert '"/' not in text
    assert card["validation"]
    assert card["licences"]


def test_it_was_trained_on_other_scenes_than_it_is_measured_on(card):
    """The seeds of its card are training seeds."""
    seeds = [int(seed) for seed in re.findall(r"seed=(\d+)", json.dumps(card["data"]))]
    assert seeds
    assert all(seed in SEEDS["train"] for seed in seeds)


def test_the_mask_head_was_trained_on_the_packaged_car_detector(file, card):
    """Its card names the start by hash: a new car detector needs a new mask head."""
    if file.name == MASK_CHECKPOINT:
        assert card["start"]["sha256"] == hashlib.sha256((CHECKPOINTS / CHECKPOINT).read_bytes()).hexdigest()


def test_the_mask_model_finds_the_car_detectors_boxes_and_masks_that_fit_them():
    """To the bit, because it is the same detector; and of the cars at least 100 px wide, most masks are right."""
    boxes, masks = (build_predictor(f"{kind}rcnn_mobilenet_v3_large_fpn-fp32") for kind in ("faster", "mask"))
    scenes = traffic_camera(4, seed=SEEDS["val"][0], size=(640, 360))
    scenes.masks = True
    ious = []
    for sample in scenes:
        found, expected = masks(sample.image).compact(), boxes(sample.image)
        np.testing.assert_array_equal(found.boxes, expected.boxes)
        np.testing.assert_array_equal(found.scores, expected.scores)
        sides = sample.target.boxes[:, 2] - sample.target.boxes[:, 0]
        ious += crowd_mask_iou(found, sample.target[sides >= 50]).max(axis=0, initial=0).tolist()
    assert len(ious) >= 5
    assert np.mean(np.asarray(ious) >= 0.6) >= 0.7


@pytest.mark.parametrize("model", [spec.name for spec in MODELS if spec.packaged])
def test_a_packaged_model_finds_large_cars_without_any_option(model):
    """Of the cars at least 100 px wide in a few scenes, most are found."""
    predictor = build_predictor(f"{model}-fp32")
    found = total = 0
    for sample in (traffic_camera(6, seed=SEEDS["val"][0]).load(index) for index in range(6)):
        large = sample.target.boxes[:, 2] - sample.target.boxes[:, 0] >= 100
        best = box_iou(sample.target.boxes[large], predictor(sample.image).boxes).max(axis=1, initial=0)
        found, total = found + np.count_nonzero(best >= 0.5), total + len(best)
    assert total >= 5
    assert found >= 0.7 * total
