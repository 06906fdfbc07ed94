"""Intervals for paired measurements: images are drawn with replacement, and both variants see the same draw.

Two variants are compared on the same images, so what an image contributes to both cancels. That is why the interval of
a difference or ratio is taken here, image by image, and never from two intervals side by side (Efron and Tibshirani,
"An Introduction to the Bootstrap", 1993, chapter 13: the percentile interval).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "CONFIDENCE",
    "Interval",
    "draw_weights",
    "paired_difference",
    "paired_share_difference",
    "paired_speedup",
    "percentile_interval",
]

CONFIDENCE = 0.95

# Draws are made in blocks of about this many numbers: 32 MB, whatever the number of images.
_BLOCK = 4_000_000

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % confidence interval.

    Attributes:
        estimate: the value on the images as they are.
        low: the lower end of the interval.
        high: the upper end of the interval.
    """

    estimate: float
    low: float
    high: float


def percentile_interval(estimate: float, replicates: ArrayLike) -> Interval:
    """Return `estimate` with the central 95 % of its bootstrap `replicates`, `(R,)`; NaN ones are left out."""
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.nanpercentile(np.asarray(replicates, np.float64), [tail, 100 - tail])
    return Interval(float(estimate), float(low), float(high))


def paired_speedup(
    reference_ms: ArrayLike, candidate_ms: ArrayLike, *, seed: int = 0, replicates: int = 2000
) -> Interval:
    """Return how many times faster the candidate is: the median over images of reference time / candidate time.

    Args:
        reference_ms: milliseconds for each image, `(N,)`, N ≥ 1, above 0.
        candidate_ms: the same images in the same order.
        seed: decides the draws.
        replicates: how many times the images are drawn.

    Returns:
        Above 1 where the candidate is faster.

    Raises:
        ValueError: no image, different lengths, or a time that is not a finite number above 0.
    """
    reference, candidate = _paired(reference_ms, candidate_ms)
    if not (np.all(reference > 0) and np.all(candidate > 0)):
        raise ValueError("times must be above 0 ms")
    return _interval(reference / candidate, _medians, seed, replicates)


def paired_difference(reference: ArrayLike, candidate: ArrayLike, *, seed: int = 0, replicates: int = 2000) -> Interval:
    """Return the mean over images of candidate − reference; `(N,)` each, N ≥ 1, finite.

    Raises:
        ValueError: no image, different lengths, or a value that is not finite.
    """
    before, after = _paired(reference, candidate)
    return _interval(after - before, _means, seed, replicates)


def paired_share_difference(
    before: tuple[ArrayLike, ArrayLike], after: tuple[ArrayLike, ArrayLike], *, seed: int = 0, replicates: int = 2000
) -> Interval:
    """Return the difference of two shares of all objects in the images: after - before, each a part over a whole.

    Args:
        before: how many objects count in each image, `(N,)`, and of how many, `(N,)`.
        after: the same of the other variant, in the same images.
        seed: decides the draws.
        replicates: how many times the images are drawn; a draw without any object says nothing.

    Raises:
        ValueError: there is no object at all in one of the two.
    """
    parts = [np.asarray(values, np.float64) for pair in (before, after) for values in pair]
    if not (parts[1].sum() and parts[3].sum()):
        raise ValueError("a share needs at least one object, got none")

    def difference(weights: NDArray[np.int64]) -> float:
        sums = [float(weights @ part) for part in parts]
        return sums[2] / sums[3] - sums[0] / sums[1] if sums[1] and sums[3] else float("nan")

    images = len(parts[0])
    draws = [difference(weights) for weights in draw_weights(images, replicates, seed)]
    return percentile_interval(difference(np.ones(images, np.int64)), draws)


def draw_weights(images: int, replicates: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Yield `replicates` times how often each of `images` is drawn: int64 `(images,)`, summing to `images`."""
    rng = np.random.default_rng(seed)
    for _ in range(replicates):
        yield np.bincount(rng.integers(images, size=images), minlength=images)


def _paired(reference: ArrayLike, candidate: ArrayLike) -> tuple[Doubles, Doubles]:
    first, second = np.asarray(reference, np.float64), np.asarray(candidate, np.float64)
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(f"paired values must be two vectors of one length, got {first.shape} and {second.shape}")
    if len(first) == 0:
        raise ValueError("an interval needs at least one image, got none")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("paired values must be finite")
    return first, second


def _medians(rows: Doubles) -> Doubles:
    return np.asarray(np.median(rows, axis=1))


def _means(rows: Doubles) -> Doubles:
    return np.asarray(rows.mean(axis=1))


def _interval(values: Doubles, statistic: Callable[[Doubles], Doubles], seed: int, replicates: int) -> Interval:
    rng = np.random.default_rng(seed)
    rows = max(1, _BLOCK // len(values))
    blocks = [
        statistic(values[rng.integers(len(values), size=(min(rows, replicates - done), len(values)))])
        for done in range(0, replicates, rows)
    ]
    return percentile_interval(float(statistic(values[None])[0]), np.concatenate(blocks))
