"""Pasting masks: torchvision's pixels, in a tenth of its time."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torchvision.models.detection.roi_heads import paste_masks_in_image

from detq.masks import paste_masks
from detq.masks.paste import _sample, _stretch

SIZE = (90, 70)


def _probabilities(count: int, seed: int = 0, side: int = 28) -> np.ndarray:
    """Round blobs with noise, as a mask head gives them."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side]
    logits = side / 3 - np.hypot(y - side / 2, x - side / 2) + rng.normal(0, 1, (count, side, side))
    return (1 / (1 + np.exp(-logits))).astype(np.float32)


def _torchvision(probabilities: np.ndarray, boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    pasted = paste_masks_in_image(torch.from_numpy(probabilities)[:, None], torch.from_numpy(boxes), size)
    return (pasted >= 0.5)[:, 0].numpy()


@st.composite
def _touching_boxes(draw: st.DrawFn) -> list[float]:
    """Boxes that share a pixel with the image, most of them reaching out of it: torchvision cannot paste others."""
    x1, y1 = draw(st.floats(-150, SIZE[1] - 2, width=32)), draw(st.floats(-150, SIZE[0] - 2, width=32))
    x2 = draw(st.floats(max(x1, 1.0), 400, width=32))
    y2 = draw(st.floats(max(y1, 1.0), 400, width=32))
    return [x1, y1, x2, y2]


@settings(max_examples=60)
@given(st.lists(_touching_boxes(), max_size=4), st.integers(0, 99), st.sampled_from([1, 2, 7, 28]))
@example([[0.0, 0.0, 70.0, 90.0]], 0, 28)
@example([[10.0, 10.0, 10.0, 10.0]], 0, 28)
@example([[-3000.0, -2000.0, 5000.0, 4000.0]], 0, 28)
def test_pasted_masks_are_torchvisions_to_the_pixel(rows, seed, side):
    """Inside the image, across its border, tiny and much larger than it."""
    boxes, probabilities = np.asarray(rows, np.float32).reshape(-1, 4), _probabilities(len(rows), seed, side)
    np.testing.assert_array_equal(paste_masks(probabilities, boxes, SIZE), _torchvision(probabilities, boxes, SIZE))


def test_a_probability_of_exactly_the_threshold_belongs_to_the_object():
    """As in torchvision's evaluation and in Detectron2's."""
    half, boxes = np.full((1, 28, 28), 0.5, np.float32), np.asarray([[10, 10, 38, 38]], np.float32)
    assert (
        paste_masks(half, boxes, SIZE).sum() > 600
    )  # of 28 × 28; the last bit of the others is another way of rounding


@pytest.mark.parametrize("box", [[-50, 10, -20, 30], [100, 10, 130, 30], [10, -80, 30, -40], [10, 95, 30, 120]])
def test_a_box_outside_the_image_has_an_empty_mask(box):
    """torchvision raises an error there, because its slices do not fit."""
    assert not paste_masks(_probabilities(1), np.asarray([box], np.float32), SIZE).any()


def test_torchs_threads_are_left_as_they_were():
    """Pasting uses one, whatever the caller uses."""
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        paste_masks(_probabilities(2), np.asarray([[0, 0, 60, 60]] * 2, np.float32), SIZE)
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


def test_no_masks_are_an_ordinary_case():
    """The shape says of what size they would have been."""
    assert paste_masks(np.zeros((0, 28, 28)), np.zeros((0, 4)), SIZE).shape == (0, *SIZE)


@pytest.mark.parametrize("side", [1e6, 1e12, float("inf")])
def test_a_gigantic_box_costs_no_more_than_the_image(side):
    """Its middle covers the image, whatever its size: here a cell of ones."""
    box = np.asarray([[-side, -side, side, side]], np.float32)
    ones = np.ones((1, 28, 28), np.float32)
    assert paste_masks(ones, box, SIZE).all()
    assert not paste_masks(ones * 0, box, SIZE).any()


@settings(max_examples=30)
@given(st.integers(1, 3000), st.integers(-2000, 69), st.sampled_from([2, 3]))
def test_beyond_all_bounds_only_the_visible_pixels_are_computed(length, start, axis):
    """Their values are those of the whole, up to rounding."""
    values = torch.from_numpy(_probabilities(1, side=9))[None]
    whole = _stretch(values, axis, (start, start + length - 1), 70)
    first, last = max(start, 0), min(start + length, 70)
    if first < last:
        torch.testing.assert_close(_sample(values, axis, length, first - start, last - first), whole)


def test_a_hundred_masks_of_a_large_photo_are_pasted_ten_times_as_fast_as_torchvision_does():
    """The same masks, the same pixels, in the same run; the best of a few tries, because machines are busy."""
    rng, size = np.random.default_rng(0), (1365, 2048)
    sides = rng.uniform(20, 500, (100, 2))
    corners = rng.uniform(0, 1, (100, 2)) * (np.asarray(size[::-1]) - sides)
    boxes = np.concatenate([corners, corners + sides], axis=1).astype(np.float32)
    probabilities = _probabilities(100)

    def seconds(paste):
        start = time.perf_counter()
        result = paste(probabilities, boxes, size)
        return time.perf_counter() - start, result

    slow, expected = seconds(_torchvision)
    tries = [seconds(paste_masks) for _ in range(3)]
    assert min(took for took, _ in tries) * 10 <= slow
    assert all(np.array_equal(pasted, expected) for _, pasted in tries)
