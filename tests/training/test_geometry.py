"""Flips, crops and borders: boxes and masks go where the pixels go."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from detq.boxes import box_area
from detq.training.augment import augment, sample_rng
from detq.training.geometry import LEAST_SIDE_PX, LEAST_VISIBLE, crop, drop_degenerate, flip, pad
from detq.types import GroundTruth

WIDTH, HEIGHT = 40, 30


@st.composite
def scenes(draw, *, masks=True):
    """An image with up to four objects, each a rectangle of its own value in an otherwise dark image."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    boxes, stacked = [], []
    for number in range(draw(st.integers(0, 4))):
        x1, y1 = draw(st.integers(0, WIDTH - 2)), draw(st.integers(0, HEIGHT - 2))
        x2, y2 = draw(st.integers(x1 + 1, WIDTH)), draw(st.integers(y1 + 1, HEIGHT))
        mask = np.zeros((HEIGHT, WIDTH), np.bool_)
        mask[y1:y2, x1:x2] = True
        image[mask] = 50 * (number + 1)
        boxes.append([x1, y1, x2, y2])
        stacked.append(mask)
    truth = GroundTruth(
        np.asarray(boxes, np.float32).reshape(-1, 4),
        np.zeros(len(boxes), np.int64),
        masks=np.asarray(stacked, np.bool_).reshape(-1, HEIGHT, WIDTH) if masks else None,
    )
    return image, truth


@st.composite
def windows(draw):
    """A window of at least a pixel inside the image: left, top, right, bottom."""
    left, top = draw(st.integers(0, WIDTH - 1)), draw(st.integers(0, HEIGHT - 1))
    return left, top, draw(st.integers(left + 1, WIDTH)), draw(st.integers(top + 1, HEIGHT))


def _box_of(mask):
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


def _assert_boxes_frame_masks(truth):
    for box, mask in zip(truth.boxes, truth.masks, strict=True):
        assert box.tolist() == _box_of(mask)


@given(scenes())
def test_flipping_twice_gives_the_image_and_its_objects_back(scene):
    """The flip is an involution, exactly."""
    image, truth = scene
    twice, objects = flip(*flip(image, truth))
    assert np.array_equal(twice, image)
    assert np.array_equal(objects.boxes, truth.boxes)
    assert np.array_equal(objects.masks, truth.masks)


@given(scenes())
def test_masks_and_boxes_move_together_when_an_image_is_flipped(scene):
    """Each box still frames its mask."""
    _assert_boxes_frame_masks(flip(*scene)[1])


@given(scenes(), windows())
def test_a_crop_keeps_visible_objects_with_boxes_around_their_masks_inside_the_window(scene, window):
    """Objects that keep 30 % of their box stay; their boxes are clipped, nothing is outside."""
    image, truth = scene
    left, top, right, bottom = window
    cut, objects = crop(image, truth, window)
    assert cut.shape == (bottom - top, right - left, 3)
    assert objects.masks.shape[1:] == cut.shape[:2]
    _assert_boxes_frame_masks(objects)
    inside = np.maximum(
        np.minimum(truth.boxes[:, 2:], [right, bottom]) - np.maximum(truth.boxes[:, :2], [left, top]), 0
    ).prod(axis=1)
    assert len(objects) == np.count_nonzero(inside >= LEAST_VISIBLE * box_area(truth.boxes))


@given(scenes(), st.integers(0, 9), st.integers(0, 9))
def test_a_border_shifts_objects_by_its_width(scene, x, y):
    """The pixels below a mask are the same as before."""
    image, truth = scene
    canvas, objects = pad(image, truth, (WIDTH + 9, HEIGHT + 9), (x, y))
    assert canvas.shape == (HEIGHT + 9, WIDTH + 9, 3)
    _assert_boxes_frame_masks(objects)
    for before, after in zip(truth.masks, objects.masks, strict=True):
        assert np.array_equal(image[before], canvas[after])


def test_boxes_without_width_or_height_are_dropped_and_the_rest_stays():
    """torchvision refuses to train on them; an image without boxes passes."""
    truth = GroundTruth(np.asarray([[3, 3, 3, 9], [1, 1, 5, 1.5], [2, 2, 6, 6]], np.float32), np.arange(3))
    assert drop_degenerate(truth).labels.tolist() == [2]
    assert len(drop_degenerate(GroundTruth.empty())) == 0


@given(scenes(), st.integers(0, 10_000))
def test_augmented_boxes_stay_inside_the_image_and_frame_their_masks(scene, position):
    """Whatever is drawn, no box is degenerate or outside, and an image never grows by more than 1.6."""
    image, truth = augment(*scene, sample_rng(0, 0, position))
    height, width = image.shape[:2]
    assert image.dtype == np.uint8
    assert width <= 1.6 * WIDTH + 1
    assert (truth.boxes >= 0).all()
    assert (truth.boxes <= [width, height, width, height]).all()
    assert (truth.boxes[:, 2:] - truth.boxes[:, :2] >= LEAST_SIDE_PX).all()
    assert truth.masks.shape == (len(truth), height, width)
    _assert_boxes_frame_masks(truth)


@given(scenes(masks=False), st.integers(0, 100))
def test_an_image_with_objects_keeps_at_least_one_if_any_is_large_enough(scene, position):
    """A crop that would lose every object is not made, so that images with objects do not turn into background."""
    before = drop_degenerate(scene[1])
    after = augment(*scene, sample_rng(1, 2, position))[1]
    assert bool(len(after)) == bool(len(before))
