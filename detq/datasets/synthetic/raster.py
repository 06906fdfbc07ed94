"""Which pixel shows which object: an exact integer rasterizer for convex polygons.

Pillow's polygon filling differs between its versions by a pixel at the edges; boxes and masks must not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from detq.datasets.synthetic.camera import REFERENCE, Doubles

__all__ = ["Box", "Owners", "count_pixels", "fill_convex", "find_pixels", "own_pixels", "tight_box"]

Owners = NDArray[np.uint8]
Whole = NDArray[np.int64]
Corners = NDArray[np.int64]
Box = tuple[int, int, int, int]
Bounds = tuple[float, float, float, float]
_SUBPIXELS = 16
_HALF = _SUBPIXELS // 2


def own_pixels(silhouettes: Iterable[tuple[int, Sequence[Doubles]]], size: tuple[int, int]) -> Owners:
    """Return the owner of each pixel, uint8 `(height, width)`; 0 is nobody.

    Args:
        silhouettes: from far to near, an owner's number (1 to 255; 0 hides what is behind) and the convex polygons,
            in reference pixels, that it covers.
        size: (width, height) of the result in pixels.
    """
    numbers: list[int] = []
    polygons: list[Doubles] = []
    for owner, parts in silhouettes:
        numbers.extend([owner] * len(parts))
        polygons.extend(parts)
    owners = np.zeros((size[1], size[0]), np.uint8)
    if polygons:
        fill_convex(owners, _to_subpixels(polygons, size), [len(polygon) for polygon in polygons], numbers)
    return owners


def fill_convex(owners: Owners, corners: Corners, counts: Sequence[int], numbers: Sequence[int]) -> None:
    """Write numbers to the pixels whose centres convex polygons cover, the later ones over the earlier ones.

    Args:
        owners: uint8 `(height, width)`, changed in place.
        corners: `(N, 2)`, x and y in sixteenths of a pixel: the corners of all polygons, each in order around it.
        counts: how many corners each polygon has.
        numbers: what to write for each.
    """
    height, width = owners.shape
    polygon = np.repeat(np.arange(len(counts)), counts)
    ends = np.cumsum(counts)
    following = np.arange(1, len(corners) + 1)
    following[ends - 1] = ends - counts
    edge, row, column = _crossings(corners, corners[following], height)
    if not len(edge):
        return
    slot = polygon[edge] * height + row
    order = np.argsort(slot, kind="stable")
    slot, column = slot[order], column[order]
    heads = np.flatnonzero(np.diff(slot, prepend=-1))
    first = np.maximum(np.minimum.reduceat(column, heads), 0)
    last = np.minimum(np.maximum.reduceat(column, heads), width)
    filled = first < last
    if not filled.any():
        return
    which, rows = np.divmod(slot[heads[filled]], height)
    starts, lengths = rows * width + first[filled], (last - first)[filled]
    # All spans at once, as steps from place to place. Where they overlap, NumPy keeps the last value, which is the
    # later polygon's.
    steps = np.ones(lengths.sum(), np.intp)
    steps[0] = starts[0]
    steps[np.cumsum(lengths[:-1])] = starts[1:] - (starts + lengths - 1)[:-1]
    places = np.cumsum(steps, out=steps)
    owners.reshape(-1)[places] = np.repeat(np.asarray(numbers, np.uint8)[which], lengths)


def _crossings(start: Corners, end: Corners, height: int) -> tuple[Whole, Whole, Whole]:
    """Return, for every edge and every row whose centre line it crosses: edge, row, first column right of it."""
    (x, y), (end_x, end_y) = start.T, end.T
    low, high = np.minimum(y, end_y), np.maximum(y, end_y)
    top = np.clip(-((_HALF - low) // _SUBPIXELS), 0, height)
    count = np.maximum(np.clip(-((_HALF - high) // _SUBPIXELS), 0, height) - top, 0)
    edge = np.repeat(np.arange(len(start)), count)
    row = np.arange(len(edge)) + (top - (np.cumsum(count) - count))[edge]
    # The column is the ceiling of (x - half) / 16 where the edge crosses the row's centre, all in whole numbers.
    rise, run = high - low, np.where(end_y > y, end_x - x, x - end_x)
    constant = (_HALF - x) * rise + y * run
    column = -((constant[edge] - (row * _SUBPIXELS + _HALF) * run[edge]) // (_SUBPIXELS * rise)[edge])
    return edge, row, column


def count_pixels(polygons: Sequence[Doubles], size: tuple[int, int]) -> int:
    """Return how many pixels of a frame of this size the union of some convex polygons covers."""
    corners = _to_subpixels(polygons, size)
    first = np.clip(corners.min(axis=0) // _SUBPIXELS, 0, size)
    width, height = (np.clip(-(-corners.max(axis=0) // _SUBPIXELS), first, size) - first).tolist()
    covered = np.zeros((height, width), np.uint8)
    counts = [len(polygon) for polygon in polygons]
    fill_convex(covered, corners - first * _SUBPIXELS, counts, [1] * len(counts))
    return int(np.count_nonzero(covered))


def _to_subpixels(polygons: Sequence[Doubles], size: tuple[int, int]) -> Corners:
    scale = np.asarray([size[0] / REFERENCE[0], size[1] / REFERENCE[1]]) * _SUBPIXELS
    scaled = np.concatenate(polygons) * scale
    return np.asarray(np.floor(scaled + 0.5), np.int64)


def find_pixels(owners: Owners, number: int, bounds: Bounds) -> tuple[Box, int] | None:
    """Return the tight box around an owner's pixels and how many there are, or None where there is none.

    Args:
        owners: uint8 `(height, width)`.
        number: the owner.
        bounds: x1, y1, x2, y2 in reference pixels, outside of which it owns nothing: looking there alone is cheap.
    """
    height, width = owners.shape
    left, right = (max(int(x * width / REFERENCE[0]) + d, 0) for x, d in ((bounds[0], -1), (bounds[2], 2)))
    top, bottom = (max(int(y * height / REFERENCE[1]) + d, 0) for y, d in ((bounds[1], -1), (bounds[3], 2)))
    mask = owners[top:bottom, left:right] == number
    box = tight_box(mask)
    if box is None:
        return None
    return (box[0] + left, box[1] + top, box[2] + left, box[3] + top), int(np.count_nonzero(mask))


def tight_box(mask: NDArray[np.bool_]) -> Box | None:
    """Return the xyxy box around a mask's True pixels (x2 and y2 one past the last), or None where there is none."""
    rows, columns = np.asarray(mask.any(axis=1)), np.asarray(mask.any(axis=0))
    if not rows.any():
        return None
    top, left = int(rows.argmax()), int(columns.argmax())
    bottom, right = len(rows) - int(rows[::-1].argmax()), len(columns) - int(columns[::-1].argmax())
    return left, top, right, bottom
