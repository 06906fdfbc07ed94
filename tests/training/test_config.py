"""Arguments are checked before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from detq.errors import DetqError
from detq.training import SourceSpec, TrainConfig, parse_source

GOOD = {"model": "ssdlite320_mobilenet_v3_large", "data": (SourceSpec("photos"),), "out": Path("out"), "steps": 1}


@pytest.mark.parametrize(
    ("text", "location", "repeat"),
    [
        ("photos", "photos", 1),
        ("photos?map=car=1,2&repeat=3", "photos?map=car=1,2", 3),
        ("photos?repeat=2", "photos", 2),
        ("synthetic:traffic?n=9&repeat=2&seed=4", "synthetic:traffic?n=9&seed=4", 2),
    ],
)
def test_repeat_is_taken_out_of_a_source_and_the_rest_left_to_the_reader(text, location, repeat):
    """The reader knows its own options, the trainer knows repeat."""
    assert parse_source(text) == SourceSpec(location, repeat)


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", ""])
def test_a_repeat_that_is_no_whole_number_from_one_is_a_sentence(value):
    """With the source and the value."""
    with pytest.raises(DetqError, match=r"photos\?repeat=.*expected repeat=N"):
        parse_source(f"photos?repeat={value}")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"data": ()}, "--data: expected at least one"),
        ({"steps": None}, "expected one of the two, got neither"),
        ({"epochs": 2.0}, "expected one of the two, got both"),
        ({"steps": 0}, "--steps: expected a whole number from 1, got 0"),
        ({"batch_size": 0}, "--batch-size"),
        ({"seed": -1}, "--seed"),
        ({"workers": -1}, "--workers"),
        ({"val_limit": 0}, "--val-limit"),
        ({"rois_per_image": 0}, "--rois-per-image"),
        ({"learning_rate": float("nan")}, "--learning-rate: expected a number above 0, got nan"),
        ({"checkpoint_minutes": 0.0}, "--checkpoint-minutes"),
        ({"weight_decay": -1.0}, "--weight-decay"),
        ({"min_sizes": (16,)}, "--min-sizes"),
        ({"min_sizes": ()}, "--min-sizes"),
        ({"freeze": "head"}, "unknown --freeze 'head'"),
        ({"precision": "fp16"}, "unknown --precision 'fp16'"),
    ],
)
def test_an_impossible_argument_is_a_sentence_that_names_the_option(change, expected):
    """Before hours of training, not after."""
    with pytest.raises(DetqError, match=expected):
        TrainConfig(**{**GOOD, **change})
