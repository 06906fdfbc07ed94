"""The 2024 report's four metrics, with the quirks that make its numbers what they are."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given

from detq.boxes import box_iou
from detq.metrics.report2024 import METRICS, dataset_metrics, image_metrics
from detq.types import Detections, GroundTruth
from tests.metrics.scenes import some_boxes
from tests.strategies import box_sets

CAR = [0, 0, 100, 100]
SHIFTED = [10, 0, 110, 100]  # IoU 9/11 with CAR
FAR = [500, 500, 600, 600]


def test_the_four_metrics_of_an_image_worked_out_by_hand():
    """Two predictions, of which one is right; two cars, of which one is seen."""
    values = image_metrics([SHIFTED, FAR], [CAR, [300, 300, 350, 350]])
    assert dict(zip(METRICS, values, strict=True)) == pytest.approx(
        {"prediction_iou": 9 / 22, "ground_truth_iou": 9 / 22, "precision": 0.5, "recall": 0.5}
    )


def test_duplicates_push_recall_over_1():
    """The report counts predictions, not cars: kept, and documented."""
    values = image_metrics([CAR, SHIFTED], [CAR])
    assert values[3] == 2.0
    assert values[2] == 1.0


@pytest.mark.parametrize(
    ("predictions", "truths", "expected"),
    [([], [], [1, 1, 1, 1]), ([], [CAR], [0, 0, 1, 0]), ([CAR], [], [0, 0, 0, 1])],
    ids=["both empty", "no predictions", "no ground truth"],
)
def test_empty_images_have_the_reports_values(predictions, truths, expected):
    """As the report defines them, one by one."""
    np.testing.assert_array_equal(image_metrics(predictions, truths), expected)


def test_an_iou_at_the_threshold_is_a_true_positive():
    """0.65 of a box, to the last bit of the division."""
    assert image_metrics([[0, 0, 65, 100]], [CAR])[2] == 1.0
    assert image_metrics([[0, 0, 64, 100]], [CAR])[2] == 0.0
    assert image_metrics([[0, 0, 64, 100]], [CAR], 0.5)[2] == 1.0


@given(box_sets(), box_sets())
def test_the_metrics_follow_from_the_iou_matrix(predictions, truths):
    """An independent formulation, box by box."""
    values = image_metrics(predictions, truths)
    if len(predictions) and len(truths):
        best = [max(row) for row in box_iou(predictions, truths).tolist()]
        columns = [max(column) for column in box_iou(predictions, truths).T.tolist()]
        hits = sum(value >= 0.65 for value in best)
        expected = [sum(best) / len(best), sum(columns) / len(columns), hits / len(best), hits / len(columns)]
        np.testing.assert_allclose(values, expected, rtol=1e-12)
    assert (values >= 0).all()
    assert (values[:3] <= 1 + 1e-12).all()


def test_only_the_class_above_the_score_counts_and_crowds_are_no_ground_truth():
    """A score of exactly 0.7 counts, also as the float32 that is a little below it."""
    found = Detections([CAR, FAR, FAR], [0.7, 0.69, 0.99], [0, 0, 1])
    truth = GroundTruth([CAR, FAR, FAR], [0, 1, 0], [False, False, True])
    np.testing.assert_array_equal(dataset_metrics([found], [truth], 0), [[1, 1, 1, 1]])


def test_every_image_has_its_row_and_no_images_have_none():
    """So that intervals can be taken over images."""
    rows = dataset_metrics([Detections.empty()] * 3, [GroundTruth.empty()] * 3, 0)
    assert rows.shape == (3, 4)
    assert dataset_metrics([], [], 0).shape == (0, 4)


def test_lists_of_unequal_length_are_refused():
    """Instead of measuring the shorter one."""
    with pytest.raises(ValueError, match="shorter"):
        dataset_metrics([Detections.empty()], [], 0)


def test_three_thousand_images_with_twenty_boxes_take_under_two_seconds():
    """CPU time, so that other processes do not count."""
    rng = np.random.default_rng(0)
    boxes = [some_boxes(rng, 20) for _ in range(3000)]
    found = [Detections(item + 2, np.full(20, 0.9), np.zeros(20)) for item in boxes]
    truths = [GroundTruth(item, np.zeros(20)) for item in boxes]
    start = time.process_time()
    dataset_metrics(found, truths, 0)
    assert time.process_time() - start < 2
