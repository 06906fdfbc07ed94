"""A machine that changes its speed while it measures: it throttled, or was given other work.

What is the same work from beginning to end tells: the base's own code, or a fixed piece of arithmetic. It is cut into
parts, and a part counts where a rank-sum test with its normal approximation (Conover, "Practical Nonparametric
Statistics", 3rd ed. 1999, section 5.1) tells it from the rest.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["drift", "drift_words"]

PARTS = ("the first third", "the middle third", "the last third")
LEAST_PART = 8
DRIFT_SIGMAS = 3.3
DRIFT = 1.15
"""A smaller factor is not worth a word."""


def drift(logs: ArrayLike) -> tuple[float, str]:
    """Return by what factor the same work took longer in one part of a measurement than in the others.

    Args:
        logs: logarithms of the times in the order in which they were measured, `(N,)`.

    Returns:
        The factor, the median of the part over that of the rest, 1 where no part stands out; and which part, in words.
    """
    values = np.asarray(logs, np.float64)
    worst, place = 0.0, ""
    ranks = np.argsort(np.argsort(values, kind="stable"), kind="stable") + 1.0
    for part, rows in zip(PARTS, np.array_split(np.arange(len(values)), len(PARTS)), strict=True):
        inside, outside = values[rows], np.delete(values, rows)
        if min(len(inside), len(outside)) < LEAST_PART:
            continue
        mean, spread = len(inside) * (len(values) + 1) / 2, len(inside) * len(outside) * (len(values) + 1) / 12
        change = float(np.median(inside) - np.median(outside))
        if abs(ranks[rows].sum() - mean) > DRIFT_SIGMAS * math.sqrt(spread) and abs(change) > abs(worst):
            worst, place = change, part
    return math.exp(worst), place


def drift_words(factor: float, part: str) -> str:
    """Return what is to be said of a `drift`, after what it happened to; nothing where it is small.

    >>> drift_words(1.3, "the last third")
    'took 30% more time in the last third of the measurement than in the rest: the machine throttled, or did other work'
    >>> drift_words(1.05, "the last third")
    ''
    """
    if 1 / DRIFT < factor < DRIFT:
        return ""
    more = "more" if factor > 1 else "less"
    return (
        f"took {abs(factor - 1):.0%} {more} time in {part} of the measurement than in the rest: the machine throttled, "
        "or did other work"
    )
