"""Agreement of two variants on images that nobody has labelled."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detq.metrics.agreement import agreement, kept_by_image
from detq.types import Detections
from tests.metrics.scenes import evaluation

CAR = [0, 0, 100, 100]
SHIFTED = [10, 0, 110, 100]  # IoU 9/11 with CAR
FAR = [500, 500, 600, 600]


def test_shares_iou_and_score_shift_worked_out_by_hand():
    """One of two of the reference's is found, one of one of the candidate's."""
    reference = [Detections([CAR, FAR], [0.9, 0.8], [0, 0])]
    candidate = [Detections([SHIFTED, FAR], [0.75, 0.6], [0, 0])]
    found = agreement(reference, candidate)
    assert (found.reference_detections, found.candidate_detections, found.matched) == (2, 1, 1)
    assert (found.share_matched, found.share_candidate_matched) == (0.5, 1.0)
    assert found.mean_iou == pytest.approx(9 / 11)
    assert found.score_shift == pytest.approx(-0.15)
    assert found.mean_absolute_score_shift == found.max_absolute_score_shift == pytest.approx(0.15)
    np.testing.assert_allclose(found.per_image, [1 + 2 / 11])


def test_what_is_kept_is_counted_for_each_image_at_the_score_and_iou_asked_for():
    """Of the reference's detections: what the candidate finds beside them is not counted."""
    reference = [Detections([CAR, FAR], [0.9, 0.6], [0, 0]), Detections.empty(), Detections([CAR], [0.9], [0])]
    candidate = [Detections([SHIFTED], [0.9], [0]), Detections([CAR, FAR], [0.9, 0.9], [0, 0]), Detections.empty()]
    assert kept_by_image(reference, candidate) == ([1, 0, 1], [1, 0, 0])
    assert kept_by_image(reference, candidate, score=0.5) == ([2, 0, 1], [1, 0, 0])
    assert kept_by_image(reference, candidate, iou=0.9) == ([1, 0, 1], [0, 0, 0])


def test_another_class_does_not_agree():
    """A car that became a bus is one detection lost and one too many."""
    found = agreement([Detections([CAR], [0.9], [0])], [Detections([CAR], [0.9], [1])])
    assert found.matched == 0
    np.testing.assert_array_equal(found.per_image, [2.0])


def test_images_are_ranked_by_how_much_they_differ():
    """Those that do not differ are not shown, however many were asked for."""
    one, none = Detections([CAR], [0.9], [0]), Detections.empty()
    found = agreement([one, one, one], [one, none, Detections([SHIFTED], [0.9], [0])])
    assert found.most_different(3) == [1, 2]
    assert found.most_different(1) == [1]


def test_without_detections_there_is_no_share():
    """None instead of 0 or 1, and no image differs."""
    found = agreement([Detections.empty()] * 2, [Detections.empty()] * 2)
    assert (found.share_matched, found.share_candidate_matched, found.mean_iou, found.score_shift) == (None,) * 4
    assert found.most_different(5) == []
    one_sided = agreement([Detections([CAR], [0.9], [0])], [Detections.empty()])
    assert (one_sided.share_matched, one_sided.share_candidate_matched, one_sided.mean_iou) == (0.0, None, None)
    assert agreement([], []).images == 0


@given(st.integers(0, 2**32 - 1))
def test_a_variant_agrees_with_itself_and_two_agree_either_way_on_how_many_match(seed):
    """Shares swap when the roles do."""
    _, first, second = evaluation(seed, 3, 2, variants=2)
    same = agreement(first, first, score=0.3)
    assert same.matched == same.reference_detections
    np.testing.assert_array_equal(same.per_image, 0)
    forth, back = agreement(first, second, score=0.3), agreement(second, first, score=0.3)
    assert (forth.reference_detections, forth.candidate_detections) == (
        back.candidate_detections,
        back.reference_detections,
    )


def test_the_figures_are_ready_for_json():
    """Plain numbers and None; the images stay out."""
    _, first, second = evaluation(1, 3, variants=2)
    assert "per_image" not in json.loads(json.dumps(agreement(first, second, score=0.1).to_json(), allow_nan=False))
