"""Convex hulls of many small sets of points at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detq.datasets.synthetic.camera import Doubles

__all__ = ["convex_hulls"]


def convex_hulls(sets: Sequence[Doubles]) -> list[Doubles]:
    """Return the corners of the convex hull of each set, in order around it.

    Andrew's monotone chain, in which every point that lies above the line between its neighbours leaves the lower chain
    at the same time, again and again until none does: a few rounds over all sets instead of a loop over the points.

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
    # Of equal points neither is between its neighbours: one has to go first.
    new = np.ones(len(points), np.bool_)
    new[1:] = (owner[1:] != owner[:-1]) | (points[1:] != points[:-1]).any(axis=1)
    points, owner = points[new], owner[new]
    # The upper chain is the lower one of the points in reverse order.
    chain = np.concatenate([2 * owner, 2 * owner[::-1] + 1])
    x, y = (np.concatenate([points[:, k], points[::-1, k]]) for k in range(2))
    x, y, chain = _lower_chains(x, y, chain)
    # Where a chain ends, the other one of its set begins.
    inner = np.flatnonzero(np.append(chain[:-1] == chain[1:], False))
    inner = inner[np.argsort(chain[inner], kind="stable")]
    corners = np.stack([x[inner], y[inner]], axis=1)
    ends = np.cumsum(np.bincount(chain[inner] // 2, minlength=len(sets))).tolist()
    return [corners[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _lower_chains(x: Doubles, y: Doubles, chain: NDArray[np.int64]) -> tuple[Doubles, Doubles, NDArray[np.int64]]:
    while True:
        ax, bx, cx, ay, by, cy = x[:-2], x[1:-1], x[2:], y[:-2], y[1:-1], y[2:]
        between = (chain[:-2] == chain[1:-1]) & (chain[1:-1] == chain[2:])
        keep = np.ones(len(x), np.bool_)
        keep[1:-1] = ~between | ((bx - ax) * (cy - ay) - (by - ay) * (cx - ax) > 0)
        if keep.all():
            return x, y, chain
        x, y, chain = x[keep], y[keep], chain[keep]
