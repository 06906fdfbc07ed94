"""One-to-one matching in COCO's order, and the precision, recall and F1 that follow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detq.boxes import box_iou
from detq.metrics.matching import Match, match_image, precision_recall_f1
from detq.metrics.overlap import crowd_iou
from detq.types import Detections, GroundTruth
from tests.metrics.scenes import evaluation

CAR = [0, 0, 100, 100]
SHIFTED = [10, 0, 110, 100]  # IoU 9/11 with CAR
FAR = [500, 500, 600, 600]


def test_each_truth_is_found_once_by_the_best_scored_prediction():
    """The duplicate has the larger IoU, but comes second."""
    found = Detections([CAR, SHIFTED], [0.8, 0.9], [0, 0])
    assert match_image(found, GroundTruth([CAR], [0])).pairs == (Match(1, 0, pytest.approx(9 / 11)),)


def test_a_prediction_takes_the_truth_that_it_overlaps_most():
    """And leaves the other one for the next prediction."""
    found = Detections([CAR, SHIFTED], [0.9, 0.8], [0, 0])
    truth = GroundTruth([SHIFTED, CAR], [0, 0])
    assert match_image(found, truth).pairs == (Match(0, 1, 1.0), Match(1, 0, 1.0))


def test_classes_do_not_match_each_other():
    """However well the boxes do."""
    assert match_image(Detections([CAR], [0.9], [1]), GroundTruth([CAR], [0])).pairs == ()


def test_predictions_below_the_score_do_not_compete():
    """Indices still are those of the arrays that were passed in."""
    found = Detections([FAR, CAR, CAR], [0.9, 0.1, 0.7], [0, 0, 0])
    assert match_image(found, GroundTruth([CAR], [0]), score=0.7).pairs == (Match(2, 0, 1.0),)


def test_an_iou_at_the_threshold_is_a_match():
    """0.5 exactly: half of a box."""
    found, truth = Detections([[0, 0, 50, 100]], [0.9], [0]), GroundTruth([CAR], [0])
    assert len(match_image(found, truth, iou=0.5).pairs) == 1
    assert len(match_image(found, truth, iou=0.51).pairs) == 0


def test_predictions_in_a_crowd_are_neither_right_nor_wrong():
    """Any number of them; a free object comes first."""
    found = Detections([[10, 10, 20, 20], [30, 30, 40, 40], FAR, FAR], [0.9, 0.8, 0.75, 0.7], [0, 0, 0, 0])
    truth = GroundTruth([CAR, FAR], [0, 0], [True, False])
    matches = match_image(found, truth)
    assert matches.ignored == (0, 1)
    assert matches.pairs == (Match(2, 1, 1.0),)
    scores = precision_recall_f1([found], [truth], score=0.5, iou=0.5)
    assert (scores.true_positives, scores.false_positives, scores.false_negatives) == (1, 1, 0)


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.5, 0.65, 0.9]), st.booleans())
def test_matches_are_one_to_one_of_one_class_and_at_or_above_the_threshold(seed, iou, whole):
    """And their IoU is the boxes' own."""
    (truth,), (found,) = evaluation(seed, 1, 2, whole=whole)
    pairs = match_image(found, truth, iou=iou, score=0.2).pairs
    assert len({pair.prediction for pair in pairs}) == len({pair.truth for pair in pairs}) == len(pairs)
    for pair in pairs:
        assert found.labels[pair.prediction] == truth.labels[pair.truth]
        assert found.scores[pair.prediction] >= 0.2
        assert pair.iou == box_iou(found.boxes[[pair.prediction]], truth.boxes[[pair.truth]]) >= iou


@given(st.integers(0, 2**32 - 1))
def test_the_counts_add_up(seed):
    """Without crowds every prediction is right or wrong and every object found or missed."""
    truths, found = evaluation(seed, 3, 2, crowd=0)
    scores = precision_recall_f1(found, truths, score=0.5, iou=0.5)
    assert scores.true_positives + scores.false_positives == sum((item.scores >= 0.5).sum() for item in found)
    assert scores.true_positives + scores.false_negatives == sum(map(len, truths))


def test_precision_recall_and_f1_of_two_right_one_wrong_and_two_missed():
    """2/3, 2/4 and their harmonic mean."""
    found = Detections([CAR, FAR, [700, 0, 800, 50]], [0.9, 0.9, 0.9], [0, 0, 0])
    truth = GroundTruth([CAR, FAR, [0, 200, 50, 250], [0, 300, 50, 350]], [0, 0, 0, 0])
    scores = precision_recall_f1([found], [truth])
    assert scores.precision == pytest.approx(2 / 3)
    assert scores.recall == 0.5
    assert scores.f1 == pytest.approx(4 / 7)


@pytest.mark.parametrize(
    ("found", "truth", "expected"),
    [
        (Detections.empty(), GroundTruth.empty(), (None, None, None)),
        (Detections([CAR], [0.9], [0]), GroundTruth.empty(), (0.0, None, 0.0)),
        (Detections.empty(), GroundTruth([CAR], [0]), (None, 0.0, 0.0)),
    ],
    ids=["neither", "predictions alone", "truths alone"],
)
def test_a_share_of_nothing_is_none(found, truth, expected):
    """Not 0 and not 1: there is nothing to take it of."""
    scores = precision_recall_f1([found], [truth])
    assert (scores.precision, scores.recall, scores.f1) == expected


def test_the_iou_with_a_crowd_is_the_share_of_the_box_inside_it():
    """COCO's rule; with an ordinary object it stays the IoU, and a box of no area has 0."""
    boxes = [[50, 0, 150, 100], [10, 10, 20, 20], [5, 5, 5, 5]]
    np.testing.assert_allclose(
        crowd_iou(boxes, [CAR, CAR], np.asarray([True, False])), [[0.5, 1 / 3], [1.0, 0.01], [0.0, 0.0]]
    )
