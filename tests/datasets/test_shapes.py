"""Shapes of labelling tools as polygons."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detq.datasets.annotations import shoelace_px
from detq.datasets.shapes import ellipse, labelme_polygon, via_polygon
from detq.errors import DataError

XS, YS = [4, 14, 14, 4], [2, 2, 10, 10]
SQUARE = [[4, 2], [14, 2], [14, 10], [4, 10]]


def _via(name, **fields):
    return via_polygon({"name": name, **fields}, "region 3")


def test_every_via_shape_with_an_inside_is_a_polygon():
    """Polygon, closed polyline, rect; circle and ellipse reach exactly as far as their radii."""
    assert _via("polygon", all_points_x=XS, all_points_y=YS).tolist() == SQUARE
    closed = _via("polyline", all_points_x=[*XS, 4], all_points_y=[*YS, 2])
    assert closed.tolist() == [*SQUARE, SQUARE[0]]
    assert _via("rect", x=4, y=2, width=10, height=8).tolist() == SQUARE
    circle = _via("circle", cx=20, cy=30, r=5)
    assert [*circle.min(axis=0), *circle.max(axis=0)] == [15, 25, 25, 35]
    flat = _via("ellipse", cx=20, cy=30, rx=8, ry=3)
    assert [*flat.min(axis=0), *flat.max(axis=0)] == [12, 27, 28, 33]


def test_an_ellipse_turns_clockwise_on_the_screen():
    """VIA 2's theta, in radians."""
    turned = _via("ellipse", cx=0, cy=0, rx=8, ry=3, theta=math.pi / 2)
    np.testing.assert_allclose([turned.min(axis=0), turned.max(axis=0)], [[-3, -8], [3, 8]], atol=1e-6)
    slanted = ellipse((0, 0), (10, 1), math.pi / 6)
    far = slanted[np.argmax(slanted[:, 0])]
    assert far[1] > 0  # down on the right


@given(st.floats(0.5, 3000), st.floats(0.5, 3000), st.floats(-4, 4))
def test_an_ellipse_is_near_its_polygon(rx, ry, theta):
    """A tenth of a pixel inside at most, so the area falls short by at most that much times the perimeter."""
    polygon = ellipse((50, 60), (rx, ry), theta)
    missing = math.pi * rx * ry - shoelace_px(polygon)
    assert -1e-3 * max(rx, ry) <= missing <= 0.1 * 2 * math.pi * max(rx, ry) + 1e-3


@pytest.mark.parametrize(
    ("name", "fields", "expected"),
    [
        ("point", {"cx": 1, "cy": 2}, r"expected a shape with an inside, found a point; draw it .* --skip-invalid"),
        ("polyline", {"all_points_x": XS, "all_points_y": YS}, r"found an open polyline of 4 points; draw it as a pol"),
        (
            "hexagon",
            {},
            r"expected .*name to be one of polygon, polyline, rect, circle, ellipse, point, found 'hexagon'",
        ),
        (["rect"], {}, r"found \['rect'\]"),
        (
            "polygon",
            {"all_points_x": XS},
            r"expected the lists all_points_x and all_points_y for the polygon, found the",
        ),
        ("polygon", {"all_points_x": XS, "all_points_y": YS[1:]}, r"expected as many x as y, found 4 and 3"),
        ("polygon", {"all_points_x": [*XS[1:], "4"], "all_points_y": YS}, r"finite numbers for points, found '4'"),
        (
            "rect",
            {"x": 1, "y": 2, "width": -3, "height": 4},
            r"expected a number from 0 for width of the rect, found -3",
        ),
        (
            "circle",
            {"cx": 1, "cy": None, "r": 4},
            r"expected a number for cy of the circle, found None; correct the reg",
        ),
        (
            "ellipse",
            {"cx": 1, "cy": 1, "rx": 4, "ry": 2, "theta": "x"},
            r"a number for theta of the ellipse, found 'x'",
        ),
    ],
)
def test_what_is_no_shape_is_refused_by_name(name, fields, expected):
    """Where it stands, what was expected, what was found, what to do."""
    with pytest.raises(DataError, match="region 3: .*" + expected):
        _via(name, **fields)


def test_every_labelme_shape_with_an_inside_is_a_polygon():
    """Rectangles by two opposite corners in any order, circles by their centre and a point on the rim."""
    polygon = np.asarray(SQUARE, float)
    assert labelme_polygon("polygon", polygon, "a").tolist() == SQUARE
    assert labelme_polygon("oriented_rectangle", polygon, "a").tolist() == SQUARE
    assert labelme_polygon("rectangle", np.asarray([[14.0, 2], [4, 10]]), "a").tolist() == SQUARE
    circle = labelme_polygon("circle", np.asarray([[20.0, 30], [23, 34]]), "a")
    assert [*circle.min(axis=0), *circle.max(axis=0)] == [15, 25, 25, 35]


@pytest.mark.parametrize(
    ("kind", "points", "expected"),
    [
        ("linestrip", 5, r"expected a shape with an inside, found a linestrip; draw it as a polygon, or leave"),
        ("point", 1, r"found a point;"),
        ("circle", 3, r"expected 2 points for the circle, found 3; correct the shape"),
        ("oriented_rectangle", 3, r"expected 4 points for the oriented_rectangle, found 3"),
        ("star", 3, r"expected shape_type to be one of polygon, rectangle, .*mask, point, .*found 'star'"),
    ],
)
def test_what_is_no_labelme_shape_is_refused_by_name(kind, points, expected):
    """Where it stands, what was expected, what was found, what to do."""
    with pytest.raises(DataError, match="shape 1: .*" + expected):
        labelme_polygon(kind, np.zeros((points, 2)), "shape 1")
