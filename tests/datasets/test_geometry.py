"""The one policy for boxes in files."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detq.datasets.geometry import fit_boxes, turn_upright
from detq.errors import DataError
from tests.strategies import box_sets


def _fit(*boxes, size=(100, 50)):
    return fit_boxes(list(boxes), size, lambda row: f"a.txt, line {row + 1}")


def test_rounding_is_clipped():
    """Up to a pixel, or 0.1 % of the side in large images."""
    fitted, solid = _fit([-1, -0.5, 101, 51])
    np.testing.assert_array_equal(fitted, [[0, 0, 100, 50]])
    assert solid.all()
    assert _fit([0, 0, 4004, 10], size=(4000, 3000))[0][0, 2] == 4000


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ([0, 0, 101.5, 10], "a box inside the image of 100 × 50 pixels, found the corners 0, 0, 101.5, 10"),
        ([-2, 0, 10, 10], "a box inside the image"),
        ([0, 60, 10, 70], "a box inside the image"),
        ([20, 0, 10, 10], "x_min ≤ x_max and y_min ≤ y_max, found the corners 20, 0, 10, 10"),
        ([float("nan"), 0, 10, 10], "finite numbers, found the corners nan, 0, 10, 10"),
        ([0, 0, float("inf"), 10], "finite numbers"),
        ([0, 0, 1e300, 10], "a box inside the image"),
    ],
)
def test_more_than_rounding_is_a_sentence(box, expected):
    """Where it stands, expected, found, and what to do."""
    with pytest.raises(DataError) as caught:
        _fit([1, 1, 2, 2], box)
    message = str(caught.value)
    assert message.startswith(f"a.txt, line 2: expected {expected}")
    assert message.endswith("; correct or delete the line")


def test_boxes_without_an_area_are_told_apart():
    """Also those that only clipping leaves without one."""
    _, solid = _fit([5, 5, 5, 9], [5, 5, 9, 9], [-0.8, 5, -0.2, 9])
    np.testing.assert_array_equal(solid, [False, True, False])


def test_no_boxes_fit_too():
    """Empty is an ordinary case."""
    fitted, solid = _fit()
    assert fitted.shape == (0, 4)
    assert solid.shape == (0,)


@given(box_sets(limit=1000), st.integers(1, 8))
def test_turning_keeps_sides_and_stays_inside(boxes, orientation):
    """Whatever way the camera was held."""
    turned = turn_upright(boxes, (1000, 1000), orientation)
    assert (turned >= 0).all()
    assert (turned <= 1000).all()
    sides, expected = (np.sort(each[:, 2:] - each[:, :2], axis=1) for each in (turned, boxes))
    np.testing.assert_allclose(sides, expected, atol=2e-4)
