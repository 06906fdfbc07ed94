"""The learning rate at each step: linear warm-up, then half a cosine down to a hundredth of the base rate."""

from __future__ import annotations

import math

__all__ = ["FLOOR", "learning_rate", "total_steps"]

FLOOR = 0.01
"""The last step's learning rate as a share of the base rate."""


def learning_rate(step: int, *, base: float, warmup: int, total: int) -> float:
    """Return the learning rate of `step`, which counts from 0.

    Args:
        step: in [0, total).
        base: the highest rate, reached when the warm-up ends.
        warmup: steps of linear growth from `base / warmup`; 0 for none.
        total: steps in all.

    Returns:
        A rate in (0, base].
    """
    if step < warmup:
        return base * (step + 1) / warmup
    progress = (step - warmup) / max(1, total - 1 - warmup)
    return base * (FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def total_steps(*, images: int, batch_size: int, epochs: float | None, steps: int | None) -> int:
    """Return how many steps a training has: `steps`, or as many as show each of `images` `epochs` times."""
    if steps is not None:
        return steps
    return max(1, math.ceil((epochs or 0) * images / batch_size))
