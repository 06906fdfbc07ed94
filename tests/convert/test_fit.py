"""One annotation made to fit its image."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detq.convert.fit import AREA, BOX, CLIPPED, CROSSING, NUDGED, OPENED, fit
from detq.datasets.annotations import Annotation, shoelace_px
from detq.datasets.outlines import encode_mask, open_ring
from detq.errors import DataError
from tests.convert.conftest import oracle_mask

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning:pycocotools")

SIZE = (40, 20)
SQUARE = ((4, 2), (14, 2), (14, 10), (4, 10))


def _drawn(*polygons, **fields):
    parts = tuple(np.asarray(points, np.float64) for points in polygons)
    return Annotation("car", 0, "via.json, image a.png, region 0", polygons=parts, **fields)


def _boxed(*box, **fields):
    return Annotation("car", 0, "a.txt, line 1", box=box, **fields)


def test_a_polygon_gets_its_box_and_its_area():
    """The box around its points, the area inside them."""
    fitted = fit(_drawn(SQUARE), SIZE)
    assert fitted.annotation.box == (4, 2, 14, 10)
    assert fitted.annotation.area_px == 80
    assert fitted.changes == ()


def test_a_polygon_that_closes_itself_is_opened():
    """It is the same polygon with or without its first point at the end, or a point twice."""
    fitted = fit(_drawn((*SQUARE, SQUARE[3], SQUARE[0])), SIZE)
    assert fitted.annotation.polygons[0].tolist() == [list(point) for point in SQUARE]
    assert fitted.changes == (OPENED,)


def test_a_polygon_that_crosses_itself_has_the_area_that_it_fills():
    """A bow tie's two halves would cancel out in the shoelace formula."""
    bow = ((2, 2), (12, 12), (12, 2), (2, 12))
    fitted = fit(_drawn(bow), SIZE)
    assert shoelace_px(np.asarray(bow, float)) == 0
    assert fitted.annotation.area_px == pytest.approx(50, rel=0.01)
    assert fitted.changes == (CROSSING,)


def test_a_polygon_that_touches_itself_is_as_good_as_any():
    """Two squares that meet in a point."""
    touching = ((2, 2), (6, 2), (6, 6), (10, 6), (10, 10), (6, 10), (6, 6), (2, 6))
    fitted = fit(_drawn(touching), SIZE)
    assert fitted.annotation.area_px == 32
    assert fitted.changes == ()


def test_parts_that_overlap_are_not_counted_twice():
    """Their area is what they fill together."""
    fitted = fit(_drawn(((0, 0), (20, 0), (20, 20), (0, 20)), ((0, 0), (20, 0), (20, 20), (0, 20))), SIZE)
    assert fitted.annotation.area_px == pytest.approx(400, rel=0.01)
    assert fitted.changes == (CROSSING,)


def test_a_scribble_of_very_many_points_is_measured_as_it_is_filled():
    """At the picture's own size: enlarged, twenty megabytes of it would take minutes and gigabytes."""
    points = np.random.default_rng(0).integers(0, 20, (100_000, 2)).astype(float)
    points[:2] = (0, 0), (39, 19)
    fitted = fit(_drawn(points), SIZE)
    assert fitted.annotation.area_px == oracle_mask([(open_ring(points) + 1).ravel().tolist()], (41, 21)).sum()
    assert fitted.changes == (OPENED, CROSSING)


@pytest.mark.parametrize(("right", "change"), [(40.5, NUDGED), (44, CLIPPED)])
def test_what_reaches_out_of_the_image_is_clipped(right, change):
    """Up to 1 px is rounding, and called so."""
    fitted = fit(_drawn(((30, 2), (right, 2), (right, 12), (30, 12))), SIZE)
    assert fitted.annotation.box == (30, 2, 40, 12)
    assert fitted.annotation.area_px == 100
    assert fitted.changes == (change,)
    boxed = fit(_boxed(30, 2, right, 12), SIZE)
    assert (boxed.annotation.box, boxed.annotation.area_px, boxed.changes) == ((30, 2, 40, 12), 100, (change,))


def test_a_part_outside_the_image_goes_and_the_rest_stays():
    """As clipping does."""
    fitted = fit(_drawn(SQUARE, ((50, 2), (60, 2), (60, 12))), SIZE)
    assert len(fitted.annotation.polygons) == 1
    assert fitted.changes == (CLIPPED,)


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (
            _drawn(((50, 2), (60, 2), (60, 12))),
            r"region 0: expected points inside the image of 40 × 20 pixels, found all of them outside, x from 50 ",
        ),
        (_boxed(50, 2, 60, 12), r"line 1: expected a box inside the image of 40 × 20 pixels, found the corners 50, 2"),
        (_boxed(9, 2, 4, 12), r"line 1: expected x_min ≤ x_max and y_min ≤ y_max, found the corners 9, 2, 4, 12"),
        (_boxed(math.nan, 2, 4, 12), r"line 1: expected finite numbers, found the corners nan, 2"),
        (
            Annotation("car", 0, "annotation id 1", runs={"size": [3, 3], "counts": [9]}),
            r"annotation id 1: expected run lengths for an image of 40 × 20 pixels, found size \[3, 3\]",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(annotation, expected):
    """Another size of the image, corners in the wrong order."""
    with pytest.raises(DataError, match=expected):
        fit(annotation, SIZE)


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        (_drawn(((4.1, 2.1), (4.2, 2.1), (4.2, 2.2))), "covers no pixel"),
        (_drawn(((4, 2), (9, 2), (14, 2))), "covers no pixel"),
        (Annotation("car", 0, "a", runs=encode_mask(np.zeros((20, 40), bool))), "covers no pixel"),
        (_boxed(4, 2, 4, 12), "box without an area"),
        (_boxed(40, 2, 40.5, 12), "box without an area"),
    ],
)
def test_what_has_no_area_is_left_out_with_the_reason(annotation, reason):
    """A few in every large data set; no detector could find them."""
    fitted = fit(annotation, SIZE)
    assert (fitted.annotation, fitted.reason) == (None, reason)


def test_areas_and_boxes_of_the_file_give_way_to_the_shapes():
    """Some tools write the box's area; those that differ are named."""
    given = _drawn(((4, 2), (14, 2), (4, 10)), area_px=80.0, box=(4.0, 2.0, 16.0, 10.0))
    fitted = fit(given, SIZE)
    assert (fitted.annotation.area_px, fitted.annotation.box) == (40, (4, 2, 14, 10))
    assert fitted.changes == (AREA, BOX)
    assert fit(_boxed(4, 2, 14, 10, area_px=33.0), SIZE).annotation.area_px == 33


def _polygons(low=-15, high=55):
    point = st.tuples(st.integers(low, high), st.integers(low, high))
    return st.lists(point, min_size=3, max_size=7).map(lambda points: np.asarray(points, np.float64))


@given(_polygons())
def test_the_area_is_what_the_polygon_fills_inside_the_image(polygon):
    """However it crosses itself or reaches out: pycocotools on a picture sixteen times as large."""
    large = oracle_mask([((polygon + 20) * 16).ravel().tolist()], (1280, 1280))[320:640, 320:960]
    try:
        fitted = fit(_drawn(polygon), SIZE).annotation
    except DataError:
        assert large.sum() <= 16 * 120
        return
    if fitted is None:
        return
    (ring,) = fitted.polygons
    assert ((ring >= 0) & (ring <= SIZE)).all()
    perimeter = np.hypot(*(ring - np.roll(ring, 1, axis=0)).T).sum()
    assert abs(fitted.area_px - large.sum() / 256) <= perimeter / 8 + 0.5
