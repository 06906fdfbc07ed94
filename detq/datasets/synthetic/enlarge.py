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


def enlarged(levels: NDArray[np.uint8], size: tuple[int, int]) -> Iterator[tuple[slice, Wide]]:
    """Give pictures at a larger size: what `Image.resize` with its bilinear filter makes of each.

    Args:
        levels: `(..., height, width)`, grey pictures or the colours of one.
        size: (width, height) in pixels.

    Yields:
        rows, and their levels as uint16 `(..., rows, width)`, from top to bottom.
    """
    factor = next((f for f in _FACTORS if (f * levels.shape[-1], f * levels.shape[-2]) == size), 1)
    # Pillow, too, widens first, and rounds before it goes on to the rows. Whole factors need no general filter.
    wide = _resized(levels, size) if factor == 1 else _widened(levels.astype(np.uint16), factor)
    for rows in bands(size[1], wide.size // wide.shape[-2], factor):
        if factor == 1:
            yield rows, wide[..., rows, :]
        else:
            wanted = np.arange(rows.start // factor - 1, rows.stop // factor + 1)
            yield rows, _heightened(wide.take(wanted, axis=-2, mode="clip"), factor)


def _resized(levels: NDArray[np.uint8], size: tuple[int, int]) -> Wide:
    pictures = [Image.fromarray(picture) for picture in levels.reshape(-1, *levels.shape[-2:])]
    resized = [np.asarray(picture.resize(size, Image.Resampling.BILINEAR), np.uint16) for picture in pictures]
    return np.stack(resized).reshape(*levels.shape[:-2], *resized[0].shape)


def _widened(levels: Wide, factor: int) -> Wide:
    """Make `factor` columns of each."""
    left, right = (
        np.concatenate(parts, axis=-1)
        for parts in ((levels[..., :1], levels[..., :-1]), (levels[..., 1:], levels[..., -1:]))
    )
    high = np.empty((*levels.shape, factor), np.uint16)
    _go_over(left, levels, right, [high[..., k] for k in range(factor)])
    high >>= np.uint16(factor.bit_length())
    return high.reshape(*levels.shape[:-1], -1)


def _heightened(levels: Wide, factor: int) -> Wide:
    """Make `factor` rows of each but the first and the last."""
    middle = levels[..., 1:-1, :]
    high = np.empty((*middle.shape[:-1], factor, middle.shape[-1]), np.uint16)
    _go_over(levels[..., :-2, :], middle, levels[..., 2:, :], [high[..., k, :] for k in range(factor)])
    high >>= np.uint16(factor.bit_length())
    return high.reshape(*middle.shape[:-2], -1, middle.shape[-1])


def _go_over(before: Wide, middle: Wide, after: Wide, out: list[Wide]) -> None:
    """Fill in what lies evenly between the middles of neighbours, times twice as many as there are, and a half."""
    factor = len(out)
    # How far off the middle each is, counted in parts of which a neighbour has twice the factor.
    for off in range(1, factor, 2):
        mixed = middle * np.uint16(2 * factor - off)
        mixed += np.uint16(factor)
        for side, other in ((-off, before), (off, after)):
            np.add(mixed, other if off == 1 else other * np.uint16(off), out=out[(side + factor - 1) // 2])
