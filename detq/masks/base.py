"""What all kinds of masks have in common."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from detq.masks.paste import blank_masks
from detq.masks.runs import Rle, encode_crop

__all__ = ["Crop", "Masks", "Rle", "as_rle", "full_size"]


class Crop(NamedTuple):
    """The part of an image that a mask occupies; outside of it the mask is empty.

    Attributes:
        top: the crop's first row in the image.
        left: its first column.
        pixels: bool `(h, w)`, may be empty.
    """

    top: int
    left: int
    pixels: NDArray[np.bool_]


class Masks(abc.ABC):
    """The masks of one image, in whatever form they came.

    Attributes:
        size: (height, width) of the image in pixels.
    """

    size: tuple[int, int]

    @abc.abstractmethod
    def __len__(self) -> int:
        """Return how many there are."""

    @abc.abstractmethod
    def __getitem__(self, keep: NDArray[Any] | slice) -> Self:
        """Return those that an index array, boolean mask or slice selects."""

    @abc.abstractmethod
    def crops(self) -> Iterator[Crop]:
        """Yield each mask's part of the image."""

    def full(self) -> NDArray[np.bool_]:
        """Return them at the image's size, bool `(N, height, width)`."""
        pasted = blank_masks(len(self), self.size)
        for number, (top, left, pixels) in enumerate(self.crops()):
            pasted[number, top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
        return pasted

    def rle(self) -> list[Rle]:
        """Return each as COCO's compressed run lengths."""
        return [encode_crop(pixels, (top, left), self.size) for top, left, pixels in self.crops()]


def full_size(masks: Masks | NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return masks of any kind as bool `(N, height, width)`."""
    return masks.full() if isinstance(masks, Masks) else masks


def as_rle(masks: Masks | NDArray[np.bool_]) -> list[Rle]:
    """Return masks of any kind as COCO's compressed run lengths."""
    if isinstance(masks, Masks):
        return masks.rle()
    return [encode_crop(mask, (0, 0), (masks.shape[1], masks.shape[2])) for mask in masks]
