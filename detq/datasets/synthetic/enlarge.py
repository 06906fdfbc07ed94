"""Pillow's bilinear enlargement, to the last level, in bands of rows.

A band, and all that is computed from it, stays in the processor's cache, where arithmetic with whole pictures waits for
the memory.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["bands", "enlarged"]

Wide = NDArray[np.uint16]
_FACTORS = (2, 4)
_BAND = 1 << 17


def bands(height: int, row_values: int, multiple: int = 1) -> Iterator[slice]:
    """Cut a picture's rows into bands of some 130,000 values, each (but the last) a multiple of so many rows."""
    step = max(_BAND // (row_values * multiple), 1) * multiple
    return (slice(top, min(top + step, height)) for top in range(0, height, step))


def enlarged(image: Image.Image, size: tuple[int, int]) -> Iterator[tuple[slice, Wide]]:
    """Give a grey picture at a larger size: what `Image.resize` with its bilinear filter makes of it.

    Args:
        image: mode L.
        size: (width, height) in pixels.

    Yields:
        rows, and their levels as uint16 `(rows, width)`, from top to bottom.
    """
    width, height = size
    factor = next((factor for factor in _FACTORS if image.height * factor == height), 1)
    # Pillow, too, widens first, and rounds before it goes on to the rows. Whole factors need no general filter there.
    levels = np.asarray(image.resize((width, height // factor), Image.Resampling.BILINEAR))
    for rows in bands(height, width, factor):
        if factor == 1:
            yield rows, levels[rows].astype(np.uint16)
        else:
            yield rows, _heightened(levels, factor, slice(rows.start // factor, rows.stop // factor))


def _heightened(levels: NDArray[np.uint8], factor: int, rows: slice) -> Wide:
    """Make `factor` rows of each row: between the middles of two of them levels go over evenly."""
    wanted = np.arange(rows.start - 1, rows.stop + 1)
    near = levels.take(wanted, axis=0, mode="clip").astype(np.uint16)
    middle = near[1:-1]
    high = np.empty((len(middle), factor, middle.shape[1]), np.uint16)
    # How far off the row's middle a new row is, counted in parts of which the row has twice the factor.
    for off in range(1, factor, 2):
        mixed = middle * np.uint16(2 * factor - off)
        mixed += np.uint16(factor)
        for side, other in ((-off, near[:-2]), (off, near[2:])):
            np.add(mixed, other if off == 1 else other * np.uint16(off), out=high[:, (side + factor - 1) // 2])
    high >>= np.uint16(factor.bit_length())
    return high.reshape(-1, middle.shape[1])
