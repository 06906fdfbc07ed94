"""Pictures of detections against what is there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detq.report.labels import place_labels
from detq.report.overlay import FOUND_COLOUR, REFERENCE_COLOUR, draw_overlay, side_by_side
from detq.types import Detections, GroundTruth
from tests.strategies import box_sets

GRAY = np.full((720, 1280, 3), 128, np.uint8)
CAR = Detections([[100, 100, 300, 250]], [0.9], [0])


def _count(picture: np.ndarray, colour: tuple[int, int, int], rows: int = 720) -> int:
    """How many pixels of the picture, its legend left out, have exactly this colour."""
    return int((picture[:rows] == colour).all(axis=2).sum())


def test_detections_and_ground_truth_have_a_colour_each():
    """Both are there, in their own colour, where the box is."""
    picture = draw_overlay(GRAY, CAR, GroundTruth([[500, 300, 700, 500]], [0]), ["car"])
    assert tuple(picture[250, 200]) == FOUND_COLOUR
    assert _count(picture[:, 490:710], REFERENCE_COLOUR) > 500
    assert picture.shape[1:] == (1280, 3)
    assert picture.shape[0] > 720


@pytest.mark.parametrize("zoom", [1, 2])
def test_masks_are_translucent_with_an_outline_in_each_sides_colour(zoom):
    """The image shows through; outside of the mask nothing changes; small pictures are enlarged with their masks."""
    image = np.full((720 // zoom, 1280 // zoom, 3), 128, np.uint8)
    mask = np.zeros((1, *image.shape[:2]), np.bool_)
    mask[0, 120:180, 120:280] = True
    boxes, plain = [[100, 100, 300, 200]], draw_overlay(image, Detections.empty(), None, ["car"])
    scale = plain.shape[1] // image.shape[1]
    middle, edge, outside = ((y * scale, x * scale) for y, x in ((150, 200), (150, 120), (150, 110)))
    for found, truth, colour in (
        (Detections(boxes, [0.9], [0], mask), GroundTruth(boxes, [0]), FOUND_COLOUR),
        (Detections(boxes, [0.9], [0]), GroundTruth(boxes, [0], masks=mask), REFERENCE_COLOUR),
    ):
        picture = draw_overlay(image, found, truth, ["car"])
        for place, share in ((middle, 0.35), (edge, 0.9), (outside, 0.0)):
            np.testing.assert_allclose(picture[place], np.asarray(colour) * share + 128 * (1 - share), atol=1)


def test_a_mask_below_the_score_is_left_out():
    """As its box is."""
    mask = np.ones((1, 720, 1280), np.bool_)
    hidden = Detections([[100, 100, 300, 250]], [0.2], [0], mask)
    assert (draw_overlay(GRAY, hidden, None, ["car"])[:720] == 128).all()


def test_the_image_itself_is_left_as_it_was():
    """Drawing works on a copy, because the same image goes to every variant."""
    image = GRAY.copy()
    draw_overlay(image, CAR, None, ["car"])
    assert (image == GRAY).all()


def test_detections_below_the_score_are_left_out():
    """At 0.95 the detection of score 0.9 is not drawn, and nothing else is."""
    assert _count(draw_overlay(GRAY, CAR, None, ["car"], score_threshold=0.95), FOUND_COLOUR) == 0


def test_a_box_without_partner_is_dashed():
    """The same frame takes fewer pixels when the other side does not have it."""
    matched = draw_overlay(GRAY, CAR, GroundTruth(CAR.boxes, [0]), ["car"])
    alone = draw_overlay(GRAY, CAR, GroundTruth.empty(), ["car"])
    other = draw_overlay(GRAY, CAR, GroundTruth(CAR.boxes, [1]), ["car", "bus"])
    edge = np.s_[250:251, 100:300]
    solid, dashed, other_class = (_count(p[edge], FOUND_COLOUR, 1) for p in (matched, alone, other))
    assert dashed < 0.8 * solid
    assert other_class < 0.8 * solid


@pytest.mark.parametrize("size", [(1, 1), (40, 60), (97, 1300), (1300, 97), (2160, 3840)])
def test_any_image_size_works(size):
    """From one pixel to 4K, with and without anything on it; small ones are enlarged by a whole factor."""
    image = np.zeros((*size, 3), np.uint8)
    for found in (Detections.empty(), Detections([[0, 0, size[1], size[0]]], [1.0], [0])):
        picture = draw_overlay(image, found, GroundTruth.empty(), ["car"], title="an image with a rather long name.jpg")
        assert picture.dtype == np.uint8
        assert picture.shape[1] % size[1] == 0
        assert picture.shape[1] >= size[1]


@given(box_sets(max_size=12), st.floats(5, 80), st.floats(5, 30))
def test_labels_lie_inside_the_image(boxes, wide, high):
    """No label is cut off at a border, wherever the box is."""
    spots = place_labels(boxes, [(wide, high)] * len(boxes), 1000, 1000)
    assert spots.shape == (len(boxes), 4)
    assert (spots[:, :2] >= 0).all()
    assert (spots[:, 2:] <= 1000 + 1e-3).all()


def test_the_labels_of_neighbours_do_not_cover_each_other():
    """Four cars in a row, each narrower than its label."""
    boxes = np.asarray([[100 + 30 * k, 300, 128 + 30 * k, 330] for k in range(4)], np.float32)
    spots = place_labels(boxes, [(70, 14)] * 4, 1280, 720)
    for first in range(4):
        for second in range(first):
            low = np.maximum(spots[first, :2], spots[second, :2])
            high = np.minimum(spots[first, 2:], spots[second, 2:])
            assert (high - low).min() <= 0


def test_panels_lie_beside_each_other_or_below():
    """Wide images are stacked, tall ones set side by side; nothing is lost where sizes differ."""
    wide = np.zeros((100, 400, 3), np.uint8)
    tall = np.zeros((400, 100, 3), np.uint8)
    assert side_by_side([wide, wide]).shape == (202, 400, 3)
    assert side_by_side([tall, tall]).shape == (400, 202, 3)
    assert side_by_side([wide, np.zeros((120, 400, 3), np.uint8)]).shape == (242, 400, 3)
    with pytest.raises(ValueError, match="at least one"):
        side_by_side([])
