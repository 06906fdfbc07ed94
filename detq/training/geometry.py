"""Flips, crops and borders of an image together with its boxes and masks: pure functions, no resampling.

Each takes and returns `(image, truth)`: uint8 `(height, width, 3)` and a `GroundTruth` in that image's pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detq.boxes import box_area, clip_boxes
from detq.masks import full_size
from detq.types import GroundTruth

__all__ = ["LEAST_SIDE_PX", "LEAST_VISIBLE", "Example", "Image", "crop", "drop_degenerate", "flip", "pad"]

Image = NDArray[np.uint8]
Example = tuple[Image, GroundTruth]

LEAST_VISIBLE = 0.3
"""An object that keeps less than this share of its box's area in a crop is dropped."""
LEAST_SIDE_PX = 1.0
"""A box with a shorter side teaches nothing: it is dropped."""


def flip(image: Image, truth: GroundTruth) -> Example:
    """Mirror left and right."""
    width = np.float32(image.shape[1])
    boxes = truth.boxes.copy()
    boxes[:, [0, 2]] = width - truth.boxes[:, [2, 0]]
    masks = None if truth.masks is None else full_size(truth.masks)[:, :, ::-1]
    return image[:, ::-1], GroundTruth(boxes, truth.labels, truth.crowd, truth.areas_px, masks)


def crop(image: Image, truth: GroundTruth, window: tuple[int, int, int, int]) -> Example:
    """Cut out `window`, (left, top, right, bottom) in pixels, and drop objects that are hardly in it.

    An object stays if at least `LEAST_VISIBLE` of its box's area, and with masks at least a pixel of it, is inside.
    """
    left, top, right, bottom = window
    offset = np.asarray([left, top, left, top], np.float32)
    boxes = clip_boxes(truth.boxes - offset, right - left, bottom - top)
    before = box_area(truth.boxes)
    share = np.divide(box_area(boxes), before, out=np.zeros_like(before), where=before > 0)
    keep = share >= LEAST_VISIBLE
    masks = None
    if truth.masks is not None:
        masks = full_size(truth.masks)[:, top:bottom, left:right]
        keep &= masks.any(axis=(1, 2))
    cut = GroundTruth(boxes, truth.labels, truth.crowd, truth.areas_px * share, masks)
    return image[top:bottom, left:right], drop_degenerate(cut[keep])


def pad(image: Image, truth: GroundTruth, size: tuple[int, int], corner: tuple[int, int]) -> Example:
    """Put the image on a canvas of its mean colour.

    Args:
        image: uint8 `(height, width, 3)`.
        truth: its objects.
        size: (width, height) of the canvas.
        corner: (x, y) of the image's upper left corner on it.
    """
    (height, width), (x, y) = image.shape[:2], corner
    # Every 8th pixel gives the mean colour closely enough.
    colour = image[::8, ::8].reshape(-1, 3).mean(axis=0).astype(np.uint8)
    canvas = np.empty((size[1], size[0], 3), np.uint8)
    canvas[:] = colour
    canvas[y : y + height, x : x + width] = image
    masks = None
    if truth.masks is not None:
        masks = np.zeros((len(truth), size[1], size[0]), np.bool_)
        masks[:, y : y + height, x : x + width] = full_size(truth.masks)
    boxes = truth.boxes + np.asarray([x, y, x, y], np.float32)
    return canvas, GroundTruth(boxes, truth.labels, truth.crowd, truth.areas_px, masks)


def drop_degenerate(truth: GroundTruth) -> GroundTruth:
    """Return `truth` without boxes whose width or height is below `LEAST_SIDE_PX`: torchvision refuses empty ones."""
    sides = truth.boxes[:, 2:] - truth.boxes[:, :2]
    return truth[np.flatnonzero(sides.min(axis=1, initial=np.inf) >= LEAST_SIDE_PX)]
