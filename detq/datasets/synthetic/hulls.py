"""Convex hulls of many small sets of points at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detq.datasets.synthetic.camera import Doubles

__all__ = ["convex_hulls"]

_CLEARLY = 1e-6
"""Twice the area, in square pixels, of a triangle whose corners are not in a line."""


def convex_hulls(sets: Sequence[Doubles]) -> list[Doubles]:
    """Return the corners of the convex hull of each set, in order around it.

    Andrew's monotone chain. Points that lie clearly above the line between their neighbours leave the lower chains of
    all sets at the same time, again and again until there is none, which is much cheaper than a loop over the points.
    Only where points are left that are almost in a line does the loop decide, as rounding wants it.

    Args:
        sets: float64 `(N, 2)` each, with at least three points that are not in a line.
    """
    if not sets:
        return []
    points = np.concatenate(sets)
    owner = np.repeat(np.arange(len(sets)), [len(points) for points in sets])
    # NumPy sorts complex numbers by x, then y, faster than it sorts by two keys; and few small numbers, stably, faster.
    order = np.argsort(points[:, 0] + 1j * points[:, 1])
    order = order[np.argsort(owner[order].astype(np.uint16), kind="stable")]
    points, owner = points[order], owner[order]
    # The upper chain is the lower one of the points in reverse order.
    chain = np.concatenate([2 * owner, 2 * owner[::-1] + 1])
    x, y = (np.concatenate([points[:, k], points[::-1, k]]) for k in range(2))
    x, y, chain, unsure = _lower_chains(x, y, chain)
    # Where a chain ends, the other one of its set begins.
    inner = np.flatnonzero(np.append(chain[:-1] == chain[1:], False))
    inner = inner[np.argsort(chain[inner], kind="stable")]
    corners = np.stack([x[inner], y[inner]], axis=1)
    ends = np.cumsum(np.bincount(chain[inner] // 2, minlength=len(sets))).tolist()
    hulls = [corners[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    for number in {number // 2 for number in unsure}:
        hulls[number] = _hull(hulls[number])
    return hulls


def _lower_chains(
    x: Doubles, y: Doubles, chain: NDArray[np.int64]
) -> tuple[Doubles, Doubles, NDArray[np.int64], list[int]]:
    """Return what is left of the chains, and the numbers of those with points almost in a line."""
    while True:
        ax, bx, cx, ay, by, cy = x[:-2], x[1:-1], x[2:], y[:-2], y[1:-1], y[2:]
        between = (chain[:-2] == chain[1:-1]) & (chain[1:-1] == chain[2:])
        turn = np.where(between, (bx - ax) * (cy - ay) - (by - ay) * (cx - ax), np.inf)
        keep = np.ones(len(x), np.bool_)
        keep[1:-1] = turn > -_CLEARLY
        if keep.all():
            return x, y, chain, chain[1:-1][turn < _CLEARLY].tolist()
        x, y, chain = x[keep], y[keep], chain[keep]


def _hull(points: Doubles) -> Doubles:
    ordered = sorted(map(tuple, points.tolist()))
    return np.asarray(_half_hull(ordered)[:-1] + _half_hull(ordered[::-1])[:-1], np.float64)


def _half_hull(ordered: list[tuple[float, ...]]) -> list[tuple[float, ...]]:
    chain: list[tuple[float, ...]] = []
    for x, y in ordered:
        while len(chain) > 1:
            (ax, ay), (bx, by) = chain[-2], chain[-1]
            if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                break
            chain.pop()
        chain.append((x, y))
    return chain
