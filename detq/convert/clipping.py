"""Polygons against the border of their image, and against themselves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detq.datasets.annotations import Points
from detq.datasets.outlines import open_ring

__all__ = ["clip_polygon", "filled_area_px", "meets_itself"]

# Pairs of edges looked at together, and the most points for which all pairs are looked at.
_CHUNK = 256
_MOST_POINTS = 4000
# How large areas are drawn that no formula gives, and the longest outline that is worth enlarging.
_ENLARGED_PX = 512
_LONGEST_OUTLINE_PX = 1e6


def clip_polygon(polygon: Points, size: tuple[int, int]) -> Points:
    """Return the part of a polygon inside the image, empty `(0, 2)` if there is none.

    Where several parts remain they are joined along the border, which fills to the same pixels (source: Sutherland and
    Hodgman, "Reentrant Polygon Clipping", 1974).

    Args:
        polygon: `(N, 2)` in pixels.
        size: (width, height) of the image.
    """
    kept = polygon
    for axis, limit, sign in ((0, 0.0, 1.0), (0, float(size[0]), -1.0), (1, 0.0, 1.0), (1, float(size[1]), -1.0)):
        kept = _clip_side(kept, axis, limit, sign)
    return open_ring(kept)


def _clip_side(polygon: Points, axis: int, limit: float, sign: float) -> Points:
    """Return the part of a polygon whose coordinate on `axis` is beyond `limit` in the direction of `sign`."""
    inside = sign * (polygon[:, axis] - limit) >= 0
    if inside.all() or not len(polygon):
        return polygon
    kept: list[Points] = []
    for at in range(len(polygon)):
        start, end = polygon[at - 1], polygon[at]
        if inside[at - 1] != inside[at]:
            crossing = start + (end - start) * ((limit - start[axis]) / (end[axis] - start[axis]))
            crossing[axis] = limit
            kept.append(crossing)
        if inside[at]:
            kept.append(end)
    return np.asarray(kept, np.float64).reshape(-1, 2)


def meets_itself(polygon: Points) -> bool:
    """Return whether two edges of a polygon that are no neighbours have a point in common.

    Beyond 4000 points nothing is looked at and the answer is yes: what they fill is counted then, which is right
    whether or not they do.
    """
    count = len(polygon)
    if not 4 <= count <= _MOST_POINTS:
        return count > _MOST_POINTS
    start, end = polygon, np.roll(polygon, -1, axis=0)
    numbers = np.arange(count)
    for at in range(0, count, _CHUNK):
        rows = numbers[at : at + _CHUNK]
        apart = (rows[:, None] - numbers[None, :]) % count
        strangers = (apart > 1) & (apart < count - 1)
        if bool((strangers & _have_common_point(start[rows], end[rows], start, end)).any()):
            return True
    return False


def _have_common_point(a: Points, b: Points, c: Points, d: Points) -> NDArray[np.bool_]:
    """Return, `(segments, segments)`, whether the segments from `a` to `b` and from `c` to `d` meet."""
    across = (_side(a, b, c) * _side(a, b, d) <= 0) & (_side(c, d, a) * _side(c, d, b) <= 0).T
    # For segments on one line: whether they lie beside each other.
    low, high = np.minimum(a, b)[:, None, :], np.maximum(a, b)[:, None, :]
    near = (low <= np.maximum(c, d)[None]) & (np.minimum(c, d)[None] <= high)
    return np.asarray(across & near.all(axis=2))


def _side(start: Points, end: Points, points: Points) -> NDArray[np.float64]:
    """Return, `(segments, points)`, on which side of each segment's line a point lies, by its sign."""
    along = (end - start)[:, None, :]
    to = points[None, :, :] - start[:, None, :]
    return np.asarray(np.sign(along[..., 0] * to[..., 1] - along[..., 1] * to[..., 0]))


def filled_area_px(rings: Sequence[Points]) -> float:
    """Return the area that polygons fill together by COCO's rule, in pixels.

    What lies inside an even number of times is outside, in one polygon; what lies in several polygons counts once. The
    area is counted in an enlarged picture, unless the outlines are so long that drawing it would take minutes.
    """
    from faster_coco_eval.core import mask as coco_mask

    points = np.concatenate(rings)
    low = points.min(axis=0)
    longest = float(np.ptp(points, axis=0).max())
    outline = sum(float(np.abs(ring - np.roll(ring, 1, axis=0)).sum()) for ring in rings)
    scale = min(_ENLARGED_PX / max(longest, 1e-3), _LONGEST_OUTLINE_PX / max(outline, 1e-3), 64.0)
    scale = max(scale, 1.0)
    width, height = (int(side) for side in np.ceil(np.ptp(points, axis=0) * scale) + 2)
    runs = coco_mask.frPyObjects([((ring - low) * scale + 1).ravel().tolist() for ring in rings], height, width)
    return float(coco_mask.area(coco_mask.merge(runs))) / scale**2
