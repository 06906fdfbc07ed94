"""Which pixel shows which object: an exact integer rasterizer for convex polygons.

Pillow's polygon filling differs between its versions by a pixel at the edges; boxes and masks must not.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detq.datasets.synthetic.camera import REFERENCE, Doubles

__all__ = ["Box", "Owners", "Spans", "convex_runs", "find_pixels", "find_spans", "tight_box"]

Owners = NDArray[np.uint8]
Whole = NDArray[np.int64]
Corners = NDArray[np.int64]
Box = tuple[int, int, int, int]
Bounds = tuple[float, float, float, float]
_SUBPIXELS = 16
_HALF = _SUBPIXELS // 2


@dataclass(frozen=True, eq=False)
class Spans:
    """The pixels that bodies cover, as runs along rows: cheap to count, and to paint more than once.

    Attributes:
        size: (width, height) of the frame in pixels.
        first: `(bodies + 1,)`, where each body's runs begin, and, last, how many runs there are.
        starts, ends: `(runs,)`, each run's first pixel and the one after its last, counted row by row from the frame's
            upper left corner.
    """

    size: tuple[int, int]
    first: list[int]
    starts: Whole
    ends: Whole

    def owners(self, numbers: Sequence[int | None]) -> Owners:
        """Return the owner of each pixel, uint8 `(height, width)`: the last body that covers it; 0 is nobody.

        Args:
            numbers: each body's, 1 to 255; None leaves it out.
        """
        width, height = self.size
        owners = np.zeros((height, width), np.uint8)
        flat = owners.reshape(-1).data
        starts, ends = self.starts.tolist(), self.ends.tolist()
        for number, (begin, stop) in zip(numbers, itertools.pairwise(self.first), strict=True):
            if number is not None:
                row = bytes([number]) * width
                for start, end in zip(starts[begin:stop], ends[begin:stop], strict=True):
                    flat[start:end] = row[: end - start]
        return owners

    def count(self, body: int) -> int:
        """Return how many pixels a body covers, were nobody in front of it."""
        begin, stop = self.first[body : body + 2]
        if begin == stop:
            return 0
        order = np.argsort(self.starts[begin:stop])
        starts, ends = self.starts[begin:stop][order], np.maximum.accumulate(self.ends[begin:stop][order])
        gaps = np.maximum(starts[1:] - ends[:-1], 0)
        return int(ends[-1] - starts[0] - gaps.sum())


def find_spans(silhouettes: Sequence[Sequence[Doubles]], size: tuple[int, int]) -> Spans:
    """Return the pixels whose centres bodies cover.

    Args:
        silhouettes: of each body, the convex polygons that it covers, in reference pixels.
        size: (width, height) of the frame in pixels.
    """
    polygons = list(itertools.chain.from_iterable(silhouettes))
    if not polygons:
        return Spans(size, [0] * (len(silhouettes) + 1), np.zeros(0, np.int64), np.zeros(0, np.int64))
    scale = np.asarray([size[0] / REFERENCE[0], size[1] / REFERENCE[1]]) * _SUBPIXELS
    corners = np.floor(np.concatenate(polygons) * scale + 0.5).astype(np.int64)
    which, starts, ends = convex_runs(corners, [len(polygon) for polygon in polygons], size)
    before = np.cumsum([0] + [len(parts) for parts in silhouettes])
    return Spans(size, np.searchsorted(which, before).tolist(), starts, ends)


def convex_runs(corners: Corners, counts: Sequence[int], size: tuple[int, int]) -> tuple[Whole, Whole, Whole]:
    """Return the pixels whose centres convex polygons cover, as runs along rows.

    Args:
        corners: `(N, 2)`, x and y in sixteenths of a pixel: the corners of all polygons, each in order around it.
        counts: how many corners each polygon has.
        size: (width, height) of the frame in pixels.

    Returns:
        of each run, polygon after polygon, which polygon's it is, its first pixel and the one after its last.
    """
    width, height = size
    polygon = np.repeat(np.arange(len(counts)), counts)
    ends = np.cumsum(counts)
    following = np.arange(1, len(corners) + 1)
    following[ends - 1] = ends - counts
    edge, row, column = _crossings(corners, corners[following], height)
    slot = polygon[edge] * height + row
    order = np.argsort(slot, kind="stable")
    slot, column = slot[order], column[order]
    heads = np.flatnonzero(np.diff(slot, prepend=-1))
    first = np.maximum(np.minimum.reduceat(column, heads), 0)
    last = np.minimum(np.maximum.reduceat(column, heads), width)
    filled = first < last
    which, rows = np.divmod(slot[heads[filled]], height)
    return which, rows * width + first[filled], rows * width + last[filled]


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
    # Bytes are searched in less time than small arrays.
    rows, columns = mask.any(axis=1).tobytes(), mask.any(axis=0).tobytes()
    top = rows.find(1)
    return None if top < 0 else (columns.find(1), top, columns.rfind(1) + 1, rows.rfind(1) + 1)
