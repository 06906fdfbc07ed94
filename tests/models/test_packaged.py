"""The checkpoint that comes with detq: small, described, and a detector of cars."""

from __future__ import annotations

import hashlib
import json
import re

import numpy as np
import pytest

from detq.boxes import box_iou
from detq.datasets.synthetic import SEEDS, traffic_camera
from detq.models.weights import CHECKPOINTS
from detq.models.zoo import CHECKPOINT, MODELS
from detq.predictor import build_predictor

CARD = (CHECKPOINTS / CHECKPOINT).with_suffix(".json")


@pytest.fixture(scope="module")
def card():
    """The model card beside the checkpoint."""
    return json.loads(CARD.read_text(encoding="utf-8"))


def test_the_checkpoint_is_at_most_40_mb():
    """It lives in the repository's history for ever."""
    assert (CHECKPOINTS / CHECKPOINT).stat().st_size <= 40_000_000


def test_the_card_describes_this_very_file(card):
    """A card that outlives its weights would vouch for others."""
    digest = hashlib.sha256((CHECKPOINTS / CHECKPOINT).read_bytes()).hexdigest()
    assert card["weights"]["sha256"] == digest
    assert card["classes"] == ["car"]


def test_the_card_names_data_licences_and_accuracy_and_no_folder(card):
    """What went in is attributed; where it lay on somebody's disk is nobody's business."""
    text = json.dumps(card)
    assert "DAWN" in text
    assert "CC BY 4.0" in text
    assert "synthetic:traffic" in text
    assert '"/' not in text
    assert card["validation"]


def test_it_was_trained_on_other_scenes_than_it_is_measured_on(card):
    """The seeds of its card are training seeds."""
    seeds = [int(seed) for seed in re.findall(r"seed=(\d+)", json.dumps(card["data"]))]
    assert seeds
    assert all(seed in SEEDS["train"] for seed in seeds)


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
