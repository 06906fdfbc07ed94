"""Box arithmetic: what IoU, areas and conversions promise, and that torchvision agrees."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detq.boxes import (
    as_boxes,
    box_area,
    box_intersection,
    box_iou,
    clip_boxes,
    cxcywhn_to_xyxy,
    xywh_to_xyxy,
    xyxy_to_xywh,
)
from tests.strategies import box_sets

LARGEST = float(np.finfo(np.float32).max)
SMALLEST = float(np.finfo(np.float32).smallest_subnormal)

whole_boxes = box_sets().map(np.floor)
extremes = st.lists(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=4, max_size=4), max_size=5
).map(lambda rows: np.asarray(rows, np.float32).reshape(-1, 4))


@given(box_sets(), box_sets())
def test_iou_has_a_row_for_each_first_and_a_column_for_each_second_box(a, b):
    """Empty sets are ordinary: (0, M), (N, 0) and (0, 0)."""
    assert box_iou(a, b).shape == box_intersection(a, b).shape == (len(a), len(b))
    assert box_iou(a, b).dtype == np.float64


@given(extremes, extremes)
def test_iou_stays_within_0_and_1_for_any_finite_float32_whatever_the_order_of_corners(a, b):
    """Reversed, denormal and the largest coordinates give neither NaN nor a warning."""
    ious = box_iou(a, b)
    assert np.isfinite(ious).all()
    assert ((ious >= 0) & (ious <= 1)).all()


@given(extremes, extremes)
def test_iou_is_symmetric(a, b):
    """Which set comes first does not matter, to the last bit."""
    np.testing.assert_array_equal(box_iou(a, b), box_iou(b, a).T)


@given(box_sets(min_side=0.125))
def test_a_box_has_iou_1_with_itself(boxes):
    """Exactly 1, so that a threshold of 1 can be met."""
    sides = boxes[:, 2:] > boxes[:, :2]
    np.testing.assert_array_equal(np.diag(box_iou(boxes, boxes))[sides.all(axis=1)], 1.0)


@given(whole_boxes, whole_boxes, st.integers(-10_000, 10_000))
def test_iou_does_not_change_when_both_move(a, b, by):
    """Whole pixels are exact in float32, so the result is the same to the last bit."""
    np.testing.assert_array_equal(box_iou(a + np.float32(by), b + np.float32(by)), box_iou(a, b))


@given(whole_boxes, whole_boxes, st.sampled_from([2.0**-40, 0.5, 4.0, 2.0**40]))
def test_iou_does_not_change_when_both_scale(a, b, by):
    """A power of two is exact."""
    np.testing.assert_array_equal(box_iou(a * np.float32(by), b * np.float32(by)), box_iou(a, b))


@given(box_sets(max_size=4, min_side=1.0))
def test_the_iou_of_a_box_inside_another_is_the_ratio_of_their_areas(boxes):
    """The inner quarter of each box has IoU 1/4 with it, up to the rounding of its corners."""
    centre = (boxes[:, :2].astype(np.float64) + boxes[:, 2:]) / 2
    half = (boxes[:, 2:].astype(np.float64) - boxes[:, :2]) / 4
    inner = np.concatenate([centre - half, centre + half], axis=1)
    big = box_area(boxes) > 1
    np.testing.assert_allclose(np.diag(box_iou(boxes, inner))[big], 0.25, rtol=2e-3)


@pytest.mark.parametrize(
    "other",
    [[10, 0, 20, 10], [0, 10, 10, 20], [10, 10, 20, 20], [5, 5, 5, 5], [5, 0, 5, 10]],
    ids=["side", "edge", "corner", "point inside", "line inside"],
)
def test_boxes_that_only_touch_or_have_no_area_share_nothing(other):
    """Their IoU is 0, and no division by zero is reported."""
    assert box_iou([[0, 0, 10, 10]], [other]) == 0


def test_two_equal_boxes_of_no_area_have_iou_0():
    """There is nothing that they share."""
    assert box_iou([[3, 3, 3, 3]], [[3, 3, 3, 3]]) == 0


@pytest.mark.parametrize(
    "box",
    [
        [0, 0, SMALLEST, SMALLEST],
        [-LARGEST, -LARGEST, LARGEST, LARGEST],
        [0, 0, SMALLEST, LARGEST],
        [16777214, 0, 16777216, 1],
    ],
    ids=["smallest", "largest", "thinnest", "where float32 has whole numbers only"],
)
def test_extreme_boxes_keep_iou_1_with_themselves(box):
    """Float64 inside: no underflow to 0, no overflow to infinity."""
    assert box_iou([box], [box]) == 1.0
    assert np.isfinite(box_area([box])).all()


@given(box_sets(), box_sets())
def test_iou_and_area_are_torchvisions(a, b):
    """The oracle, in float64; it has NaN where both areas are 0."""
    torch, ops = pytest.importorskip("torch"), pytest.importorskip("torchvision.ops")
    first, second = torch.as_tensor(a, dtype=torch.float64), torch.as_tensor(b, dtype=torch.float64)
    np.testing.assert_allclose(box_iou(a, b), np.nan_to_num(ops.box_iou(first, second).numpy()), rtol=1e-12)
    np.testing.assert_allclose(box_area(a), ops.box_area(first).numpy(), rtol=1e-12)


@given(box_sets())
def test_conversions_are_torchvisions(boxes):
    """Both ways between xyxy, xywh and normalized centres."""
    torch, ops = pytest.importorskip("torch"), pytest.importorskip("torchvision.ops")
    there = ops.box_convert(torch.as_tensor(boxes), "xyxy", "xywh")
    np.testing.assert_array_equal(xyxy_to_xywh(boxes), there.numpy())
    np.testing.assert_array_equal(xywh_to_xyxy(there.numpy()), ops.box_convert(there, "xywh", "xyxy").numpy())
    centres = ops.box_convert(torch.as_tensor(boxes), "xyxy", "cxcywh").numpy()
    back = cxcywhn_to_xyxy(centres / np.asarray([640, 480, 640, 480], np.float32), 640, 480)
    np.testing.assert_allclose(back, boxes, rtol=1e-5, atol=1e-3)


def test_reversed_corners_have_area_0():
    """Not the product of two negative sides."""
    assert box_area([[10, 10, 0, 0]]) == 0


@given(box_sets(limit=2000.0))
def test_clipped_boxes_lie_in_the_image_and_boxes_inside_stay(boxes):
    """640 × 480: x up to 640, y up to 480."""
    clipped = clip_boxes(boxes, 640, 480)
    assert (clipped >= 0).all()
    assert (clipped <= [640, 480, 640, 480]).all()
    np.testing.assert_array_equal(clip_boxes(clipped, 640, 480), clipped)


@pytest.mark.parametrize("empty", [[], (), np.zeros((0, 4)), np.zeros(0)], ids=["list", "tuple", "(0, 4)", "(0,)"])
def test_no_boxes_have_four_columns(empty):
    """Whatever nothing is written as."""
    assert as_boxes(empty).shape == (0, 4)
    assert as_boxes(empty).dtype == np.float32


@pytest.mark.parametrize("shape", [(4,), (2, 5), (1, 2, 4)])
def test_another_shape_is_refused(shape):
    """With the shape that was found."""
    with pytest.raises(ValueError, match=r"shape \(N, 4\), got"):
        as_boxes(np.ones(shape))
