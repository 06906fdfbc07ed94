"""What the synthetic renderer computes for many things at once, against slow and simple ways to get the same."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from detq.datasets.synthetic import traffic_camera
from detq.datasets.synthetic.enlarge import bands, enlarged
from detq.datasets.synthetic.hulls import convex_hulls
from detq.datasets.synthetic.raster import convex_runs, find_pixels, find_spans

PICTURES = sorted((Path(__file__).parent / "golden_pictures").glob("*.png"))

whole_points = st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=3, max_size=12)


def turn(a, b, c):
    """Twice the area of a triangle, positive where it turns left."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def in_a_line(points):
    return all(turn(a, b, c) == 0 for a, b, c in itertools.combinations(points, 3))


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_pictures_are_the_same_on_every_machine(path):
    """Rain, night, dusk and sunshine are as they were when recorded: no value differs by more than 2 levels."""
    seed, index = (int(part) for part in path.stem.split("-")[1:])
    now = traffic_camera(index + 1, seed, (160, 88)).load(index).image.astype(int)
    assert np.abs(now - np.asarray(Image.open(path)).astype(int)).max() <= 2


def test_there_are_pictures_to_compare_with():
    """The comparison above has not lost its files."""
    assert len(PICTURES) == 4


@given(sets=st.lists(whole_points.filter(lambda points: not in_a_line(points)), min_size=1, max_size=4))
def test_hulls_have_every_point_on_their_left_and_only_true_corners(sets):
    """Whatever else is computed beside it, a hull turns left at each of its corners and has all points inside."""
    hulls = convex_hulls(np.concatenate(sets).astype(np.float64), [len(points) for points in sets])
    assert len(hulls) == len(sets)
    for points, hull in zip(sets, hulls, strict=True):
        corners = [tuple(corner) for corner in hull.tolist()]
        assert set(corners) <= set(points)
        assert corners[0] == min(points)
        for k, (a, b) in enumerate(itertools.pairwise([*corners, corners[0]])):
            assert turn(a, b, [*corners, *corners][k + 2]) > 0
            assert all(turn(a, b, point) >= 0 for point in points)


def test_no_sets_have_no_hulls():
    """An empty scene is an ordinary case."""
    assert convex_hulls(np.zeros((0, 2)), []) == []


@given(points=whole_points.filter(lambda points: not in_a_line(points)), size=st.tuples(*[st.integers(1, 9)] * 2))
def test_a_polygon_covers_the_pixels_whose_centres_are_inside(points, size):
    """A pixel is covered where its centre is inside, not where it is outside; exact in sixteenths of a pixel."""
    (hull,) = convex_hulls(np.asarray(points, np.float64) * 11, [len(points)])
    owners = np.zeros((size[1], size[0]), np.uint8)
    for _, start, end in zip(*convex_runs(hull.astype(np.int64), [len(hull)], size), strict=True):
        owners.reshape(-1)[start:end] = 7
    edges = list(itertools.pairwise([*hull.tolist(), hull.tolist()[0]]))
    for row, column in itertools.product(range(size[1]), range(size[0])):
        sides = [turn(a, b, (16 * column + 8, 16 * row + 8)) for a, b in edges]
        if min(sides) > 0:
            assert owners[row, column] == 7
        elif min(sides) < 0:
            assert owners[row, column] == 0


SQUARE = np.asarray([[0.0, 0.0], [80.0, 0.0], [80.0, 80.0], [0.0, 80.0]])
"""Four pixels wide in a frame of 64 × 36, twentieths of the reference."""


def test_nearer_bodies_cover_those_behind_them():
    """Where two overlap, the nearer one, which comes later, is seen; one left out hides nothing."""
    spans = find_spans([[SQUARE], [np.add(SQUARE, (40, 0))]], (64, 36))
    owners = spans.owners([1, 2])
    assert owners[:4, :8].tolist() == [[1, 1, 2, 2, 2, 2, 0, 0]] * 4
    assert np.count_nonzero(owners) == 24
    assert find_pixels(owners, 1, (0.0, 0.0, 1280.0, 720.0)) == ((0, 0, 2, 4), 8)
    assert find_pixels(owners, 3, (0.0, 0.0, 1280.0, 720.0)) is None
    assert find_pixels(spans.owners([1, None]), 1, (0.0, 0.0, 1280.0, 720.0)) == ((0, 0, 4, 4), 16)


def test_a_body_outside_the_frame_covers_nothing():
    """Above, below and beside the frame there are no pixels, and no error."""
    for away in ((-900, 0), (2000, 0), (0, -900), (0, 2000)):
        spans = find_spans([[np.add(SQUARE, away)]], (64, 36))
        assert spans.count(0) == 0
        assert not spans.owners([1]).any()


@given(places=st.lists(st.tuples(st.integers(-90, 1290), st.integers(-90, 730)), min_size=1, max_size=5))
def test_a_bodys_pixels_are_counted_once_each(places):
    """Parts that overlap, touch, or lie outside the frame: as many pixels as are painted, which may be none."""
    spans = find_spans([[SQUARE], [np.add(SQUARE, place) for place in places]], (64, 36))
    assert spans.count(1) == np.count_nonzero(spans.owners([None, 1]))


@given(
    levels=arrays(np.uint8, st.tuples(st.sampled_from([1, 3]), st.integers(1, 9), st.integers(1, 9))),
    factors=st.tuples(st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 4])),
    odd=st.booleans(),
)
def test_enlarging_is_pillows(levels, factors, odd):
    """One picture or three, by whole factors or not, each level is the one that Pillow's own filter gives."""
    _, height, width = levels.shape
    size = (width * factors[0] + odd, height * factors[1] + odd)
    parts = list(enlarged(levels, size))
    expected = [np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR)) for picture in levels]
    assert [row for rows, _ in parts for row in range(size[1])[rows]] == list(range(size[1]))
    assert np.array_equal(np.concatenate([part for _, part in parts], axis=1), expected)
    assert np.array_equal(np.concatenate([part for _, part in enlarged(levels[0], size)]), expected[0])


@given(height=st.integers(1, 3000), values=st.integers(1, 30000), multiple=st.sampled_from([1, 2, 4]))
def test_bands_cover_each_row_once(height, values, multiple):
    """In order, without gaps, and starting at multiples, so that no enlarged row is torn from its neighbours."""
    rows = [row for band in bands(height, values, multiple) for row in range(height)[band]]
    assert rows == list(range(height))
    assert all(band.start % multiple == 0 for band in bands(height, values, multiple))
