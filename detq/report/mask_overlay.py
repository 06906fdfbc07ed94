"""Masks on a picture: translucent, so that the object shows through, with an outline that stays sharp."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detq.masks import Crop, Masks, RleMasks, as_rle

__all__ = ["paint_masks"]

FILL = 0.35
"""Share of the colour inside a mask."""

OUTLINE = 0.9
"""Share of the colour on its outline."""


def paint_masks(
    picture: NDArray[np.uint8], masks: Masks | NDArray[np.bool_], colour: tuple[int, int, int], *, zoom: int, line: int
) -> None:
    """Paint masks into a picture.

    Args:
        picture: uint8 `(height * zoom, width * zoom, 3)`, RGB; it is changed.
        masks: of an image of height × width pixels.
        colour: RGB.
        zoom: how many times the picture is larger than the image, a whole number.
        line: width of the outline in the picture's pixels.
    """
    kept = masks if isinstance(masks, Masks) else RleMasks(as_rle(masks), (masks.shape[1], masks.shape[2]))
    for crop in kept.crops():
        if crop.pixels.any():
            _paint(picture, crop, np.asarray(colour, np.float32), zoom, line)


def _paint(picture: NDArray[np.uint8], crop: Crop, colour: NDArray[np.float32], zoom: int, line: int) -> None:
    mask = crop.pixels.repeat(zoom, axis=0).repeat(zoom, axis=1)
    top, left = crop.top * zoom, crop.left * zoom
    region = picture[top : top + mask.shape[0], left : left + mask.shape[1]]
    share = np.where(mask & ~_shrunk(mask, line), np.float32(OUTLINE), np.float32(FILL))[mask][:, None]
    region[mask] = np.rint(region[mask] * (1 - share) + colour * share).astype(np.uint8)


def _shrunk(mask: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """Return the mask without its outermost pixels."""
    for _ in range(pixels):
        wide = np.pad(mask, 1)
        mask = mask & wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:]
    return mask
