"""Which detections were right, as text and back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detq.metrics.coco import average_precision, coco_evaluate, difference_of_plans, paired_ap_difference
from detq.metrics.curves import match_images, plan_of
from detq.metrics.packed import pack, unpack
from tests.metrics.scenes import evaluation

FIGURES = ("AP", "AP50", "AP75")


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 3))
@settings(max_examples=25)
def test_ap_of_what_was_packed_is_that_of_the_boxes_for_any_first_images(seed, images, classes):
    """The library on the boxes is the oracle; all sizes together."""
    truths, detections = evaluation(seed, images, classes)
    names = [str(label) for label in range(classes)]
    text = pack(match_images(detections, truths, classes))
    assert re.fullmatch(r"[A-Za-z0-9_=-]+", text)
    for count in {images, images // 2}:
        expected = coco_evaluate(detections[:count], truths[:count], names)
        found = average_precision(plan_of(unpack(text)[:count], classes)) if count else dict.fromkeys(FIGURES)
        assert found == {name: approx(getattr(expected, name)) for name in FIGURES}


@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
@settings(max_examples=25)
def test_the_difference_of_two_runs_and_its_interval_are_those_of_the_boxes(seed, images):
    """The same draws of the same images."""
    truths, *pair = evaluation(seed, images, 2, variants=2)
    plans = [plan_of(unpack(pack(match_images(found, truths, 2))), 2) for found in pair]
    expected = paired_ap_difference(*pair, truths, ["a", "b"], replicates=20)
    found = difference_of_plans(*plans, replicates=20)
    for name in FIGURES:
        whole = expected[name]
        assert (found.get(name) is None) == (whole is None)
        if whole is not None:
            assert vars(found[name]) == {key: approx(value) for key, value in vars(whole).items()}


def approx(value):
    return None if value is None else pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("text", ["", "no base64!", "AAAA", "é"])
def test_text_that_is_no_such_thing_is_a_value_error(text):
    """Whatever the library says of it."""
    with pytest.raises(ValueError, match="packed matches that cannot be read"):
        unpack(text)
