"""Masks as polygons, against pycocotools."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from detq.convert.tracing import join_rings, trace_mask
from tests.convert.conftest import oracle_mask

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning:pycocotools")

MASKS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.booleans())


def _filled(polygons, mask):
    if not polygons:
        return np.zeros_like(mask)
    return oracle_mask([ring.ravel().tolist() for ring in polygons], mask.shape[::-1])


@given(MASKS)
def test_a_mask_traced_and_filled_is_the_mask(mask):
    """Holes, islands in holes, pixels that touch at a corner; in pieces and joined to one polygon."""
    polygons = trace_mask(mask)
    np.testing.assert_array_equal(_filled(polygons, mask), mask)
    if polygons:
        np.testing.assert_array_equal(_filled([join_rings(polygons)], mask), mask)


def test_a_piece_is_a_polygon_with_its_holes():
    """Straight lines have no points between their ends."""
    mask = np.zeros((20, 30), bool)
    mask[2:12, 3:15] = True
    (square,) = trace_mask(mask)
    assert sorted(map(tuple, square)) == [(3, 2), (3, 12), (15, 2), (15, 12)]
    mask[5:8, 6:9] = False
    mask[15:17, 20:25] = True
    assert len(trace_mask(mask)) == 2
    assert len(trace_mask(np.eye(3, dtype=bool))) == 3  # what touches at a corner is apart
    assert trace_mask(np.zeros((3, 4), bool)) == []


def test_a_hole_goes_with_the_ring_right_around_it():
    """A ring in the hole of a ring."""
    mask = np.zeros((20, 20), bool)
    for edge in range(4):
        mask[edge * 2 : 20 - edge * 2, edge * 2 : 20 - edge * 2] = edge % 2 == 0
    assert len(trace_mask(mask)) == 2
    np.testing.assert_array_equal(_filled(trace_mask(mask), mask), mask)
