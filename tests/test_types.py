"""The structures that everything else exchanges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detq.types import Detections, GroundTruth, Sample, select_classes
from tests.strategies import box_sets

BOXES = [[0, 0, 10, 10], [5, 5, 20, 30]]


def test_lists_become_arrays_of_the_promised_types():
    """Whoever makes them, readers of them need not ask."""
    found = Detections(BOXES, [0.9, 0.5], [0, 1], np.zeros((2, 4, 4)))
    assert (found.boxes.dtype, found.scores.dtype, found.labels.dtype) == (np.float32, np.float32, np.int64)
    assert found.masks.dtype == np.bool_
    truth = GroundTruth(BOXES, [0, 1])
    np.testing.assert_array_equal(truth.areas_px, [100, 375])
    np.testing.assert_array_equal(truth.crowd, [False, False])
    assert truth.masks is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Detections(BOXES, [0.9], [0, 1]), r"scores must have shape \(2,\) to go with 2 boxes, got \(1,\)"),
        (lambda: Detections(BOXES, [0.9, 0.5], [0]), r"labels must have shape \(2,\)"),
        (lambda: Detections([[1, 2, 3]], [1], [0]), r"boxes must have shape \(N, 4\), got \(1, 3\)"),
        (lambda: Detections(BOXES, [1, 1], [0, 0], np.zeros((1, 4, 4))), r"masks must have shape \(2, height, width\)"),
        (lambda: GroundTruth(BOXES, [0, 0], crowd=[True]), r"crowd must have shape \(2,\)"),
        (lambda: GroundTruth(BOXES, [0, 0], areas_px=[1.0]), r"areas_px must have shape \(2,\)"),
        (lambda: GroundTruth(BOXES, [0, 0], masks=np.zeros((2, 4))), r"masks must have shape"),
        (
            lambda: Sample("a", np.zeros((4, 4), np.uint8)),
            r"image must be uint8 \(height, width, 3\), got uint8 \(4, 4\)",
        ),
        (lambda: Sample("a", np.zeros((4, 4, 3), np.float32)), r"got float32"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(make, message):
    """At once, and not at their first use; expected and found are in the message."""
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("kind", [Detections, GroundTruth])
def test_empty_is_an_ordinary_case(kind):
    """Shapes stay what they are."""
    empty = kind.empty()
    assert len(empty) == 0
    assert empty.boxes.shape == (0, 4)
    assert len(empty[np.zeros(0, bool)]) == 0
    assert len(select_classes(empty, (), ("car",))) == 0


def test_a_selection_takes_every_part_along():
    """Scores, labels, crowds, areas and masks of the boxes that stay."""
    masks = np.arange(2)[:, None, None] * np.ones((1, 3, 3)) > 0
    found = Detections(BOXES, [0.9, 0.5], [0, 1], masks)[np.asarray([False, True])]
    assert (found.scores.tolist(), found.labels.tolist(), found.masks.all()) == ([0.5], [1], True)
    truth = GroundTruth(BOXES, [0, 1], [False, True], [7.0, 8.0], masks)[1:]
    assert (truth.crowd.tolist(), truth.areas_px.tolist(), truth.masks.all()) == ([True], [8.0], True)


def test_a_sample_knows_its_size():
    """Height and width are those of the array."""
    sample = Sample("a", np.zeros((4, 6, 3), np.uint8))
    assert (sample.height, sample.width, sample.target) == (4, 6, None)


@given(box_sets(), st.data())
def test_classes_meet_by_name(boxes, data):
    """Whatever number each side gives them; what the other side does not know drops out."""
    classes = ("person", "car", "bus")
    labels = data.draw(st.lists(st.integers(0, 2), min_size=len(boxes), max_size=len(boxes)))
    wanted = data.draw(st.permutations(["car", "bus", "dog"]))
    chosen = select_classes(Detections(boxes, np.ones(len(boxes)), labels), classes, wanted)
    names = [classes[label] for label in labels if classes[label] != "person"]
    assert [wanted[label] for label in chosen.labels] == names
    np.testing.assert_array_equal(chosen.boxes, boxes[[classes[label] != "person" for label in labels]])
