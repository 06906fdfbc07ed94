"""Masks as polygons that fill to the same pixels, for formats without run lengths."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detq.datasets.annotations import Points

__all__ = ["join_rings", "trace_mask"]

Vertex = tuple[int, int]


def trace_mask(mask: NDArray[np.bool_]) -> list[Points]:
    """Return a mask, bool `(height, width)`, as polygons along the borders of its pixels, one for each piece.

    A hole is joined to the outline around it by an edge that is run through both ways and so encloses nothing. Filled
    by COCO's rule, the polygons give the same mask.
    """
    rings = _rings(mask)
    outer = [ring for ring in rings if _signed_area(ring) > 0]
    holes: list[list[Points]] = [[] for _ in outer]
    for ring in rings:
        if _signed_area(ring) < 0:
            holes[_owner(ring, outer)].append(ring)
    return [join_rings([ring, *inside]) for ring, inside in zip(outer, holes, strict=True)]


def join_rings(rings: Sequence[Points]) -> Points:
    """Return rings as one polygon, joined by edges from the first ring's start that are run through both ways."""
    if len(rings) == 1:
        return rings[0]
    start = rings[0][:1]
    parts = [rings[0], start]
    for ring in rings[1:]:
        parts += [ring, ring[:1], start]
    return np.concatenate(parts[:-1])  # back at the start, where a polygon ends by itself


def _rings(mask: NDArray[np.bool_]) -> list[Points]:
    """Return the closed lines between pixels inside and outside; what is inside lies to the right of each step."""
    following = _steps(mask)
    rings = []
    while following:
        start = next(iter(following))
        ring = [start]
        before, here = start, following[start].pop()
        while here != start:
            ring.append(here)
            ahead = following[here]
            step = _turn_right(before, here, ahead) if len(ahead) > 1 else 0
            before, here = here, ahead.pop(step)
            if not following[before]:
                del following[before]
        if not following[start]:
            del following[start]
        rings.append(_corners(np.asarray(ring, np.float64)))
    return rings


def _steps(mask: NDArray[np.bool_]) -> dict[Vertex, list[Vertex]]:
    padded = np.pad(mask, 1)
    here = padded[1:-1, 1:-1]
    steps: dict[Vertex, list[Vertex]] = {}
    # A pixel's four sides, clockwise on the screen: the neighbour beyond, where the side starts, where it ends.
    sides = (
        (padded[:-2, 1:-1], (0, 0), (1, 0)),
        (padded[1:-1, 2:], (1, 0), (1, 1)),
        (padded[2:, 1:-1], (1, 1), (0, 1)),
        (padded[1:-1, :-2], (0, 1), (0, 0)),
    )
    for beyond, (x1, y1), (x2, y2) in sides:
        for y, x in np.argwhere(here & ~beyond).tolist():
            steps.setdefault((x + x1, y + y1), []).append((x + x2, y + y2))
    return steps


def _turn_right(before: Vertex, here: Vertex, ahead: Sequence[Vertex]) -> int:
    """Return which way ahead turns right, where two pixels touch at a corner: they are two pieces."""
    along = (here[0] - before[0], here[1] - before[1])
    return next(at for at, (x, y) in enumerate(ahead) if along[0] * (y - here[1]) - along[1] * (x - here[0]) > 0)


def _corners(ring: Points) -> Points:
    straight = np.all(np.roll(ring, -1, axis=0) - ring == ring - np.roll(ring, 1, axis=0), axis=1)
    return np.asarray(ring[~straight])


def _signed_area(ring: Points) -> float:
    """Return a positive number for a ring that runs clockwise on the screen, around what is inside."""
    x, y = ring.T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def _owner(hole: Points, outer: Sequence[Points]) -> int:
    """Return the smallest of the outlines that go around a hole."""
    (x1, y1), (x2, y2) = hole[:2]
    # The middle of a pixel inside the mask: half a step along, half a step to the right.
    along = np.sign([x2 - x1, y2 - y1])
    point = hole[0] + along / 2 + np.asarray([-along[1], along[0]]) / 2
    around = [number for number, ring in enumerate(outer) if _contains(ring, point)]
    return min(around, key=lambda number: _signed_area(outer[number]))


def _contains(ring: Points, point: NDArray[np.float64]) -> bool:
    x, y = ring.T
    x2, y2 = np.roll(ring, -1, axis=0).T
    crossed = (y > point[1]) != (y2 > point[1])  # only upright sides are; their x is one number
    return bool(np.count_nonzero(crossed & (np.minimum(x, x2) > point[0])) % 2)
