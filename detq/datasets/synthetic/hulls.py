"""Convex hulls of many small sets of points at once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detq.datasets.synthetic.camera import Doubles
from detq.datasets.synthetic.mesh import Parts

__all__ = ["convex_hulls", "silhouettes"]

Spots = NDArray[np.complex128]
_CLEARLY = 1e-6
"""Twice the area, in square pixels, of a triangle whose corners are not in a line."""


def silhouettes(pictures: Sequence[tuple[Doubles, Parts, bool]]) -> list[list[Doubles]]:
    """Return the convex polygons that bodies cover in a picture, all at once, which is much cheaper than one by one.

    Args:
        pictures: of each body, its points `(V, 2)`, its convex parts as in `Mesh`, and whether it is flat: its parts
            are polygons already.
    """
    spots = [pixels[corners] for pixels, (corners, _), _ in pictures]
    solid = [(points, sizes) for points, (_, (_, sizes), flat) in zip(spots, pictures, strict=True) if not flat]
    sets = np.concatenate([np.zeros((0, 2)), *(points for points, _ in solid)])
    hulls = iter(convex_hulls(sets, [size for _, sizes in solid for size in sizes]))
    return [
        [points[end - size : end] for size, end in zip(sizes, itertools.accumulate(sizes), strict=True)]
        if flat
        else list(itertools.islice(hulls, len(sizes)))
        for points, (_, (_, sizes), flat) in zip(spots, pictures, strict=True)
    ]


def convex_hulls(points: Doubles, sizes: Sequence[int]) -> list[Doubles]:
    """Return the corners of the convex hull of each set of points, in order around it.

    Andrew's monotone chain. Points that lie clearly above the line between their neighbours leave the lower chains of
    all sets at the same time, again and again until there is none, which is much cheaper than a loop over the points.
    Only where points are left that are almost in a line does the loop decide, as rounding wants it.

    Args:
        points: float64 `(V, 2)`, one set after the other.
        sizes: how many points each set has, at least three that are not in a line.
    """
    if not sizes:
        return []
    owner = np.repeat(np.arange(len(sizes)), sizes)
    # NumPy sorts complex numbers by x, then y, faster than it sorts by two keys; and few small numbers, stably, faster.
    spots = points[:, 0] + 1j * points[:, 1]
    order = np.argsort(spots)
    order = order[np.argsort(owner[order].astype(np.uint16), kind="stable")]
    spots, owner = spots[order], owner[order]
    # The upper chain is the lower one of the points in reverse order.
    chain = np.concatenate([2 * owner, 2 * owner[::-1] + 1])
    spots, chain, unsure = _lower_chains(np.concatenate([spots, spots[::-1]]), chain)
    # Where a chain ends, the other one of its set begins.
    inner = np.flatnonzero(np.append(chain[:-1] == chain[1:], False))
    inner = inner[np.argsort(chain[inner], kind="stable")]
    corners = spots[inner].view(np.float64).reshape(-1, 2)
    ends = np.cumsum(np.bincount(chain[inner] // 2, minlength=len(sizes))).tolist()
    hulls = [corners[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    for number in {number // 2 for number in unsure}:
        hulls[number] = _hull(hulls[number])
    return hulls


def _lower_chains(spots: Spots, chain: NDArray[np.int64]) -> tuple[Spots, NDArray[np.int64], list[int]]:
    """Return what is left of the chains, and the numbers of those with points almost in a line."""
    while True:
        to_next, to_last = spots[1:-1] - spots[:-2], spots[2:] - spots[:-2]
        turn = to_next.real * to_last.imag - to_next.imag * to_last.real
        ends = chain[:-2] != chain[2:]
        keep = np.ones(len(spots), np.bool_)
        np.logical_or(turn > -_CLEARLY, ends, out=keep[1:-1])
        if keep.all():
            return spots, chain, chain[1:-1][(turn < _CLEARLY) & ~ends].tolist()
        spots, chain = spots[keep], chain[keep]


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
