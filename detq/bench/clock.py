"""Replaying recorded times into pytest-benchmark.

The variants of a model are timed together, image by image, which pytest-benchmark cannot do: it times one test after
another. So each test hands it the times that its variant took, through a clock that goes forward by exactly those.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["replay", "virtual_clock"]

_now_s = [0.0]


def virtual_clock() -> float:
    """Return seconds on the clock that `replay` drives; the timer to give to `@pytest.mark.benchmark(timer=…)`."""
    return _now_s[0]


def replay(benchmark: Any, times_s: Sequence[float]) -> None:
    """Let pytest-benchmark's `benchmark` fixture measure `times_s`, one round each.

    The test must be marked with `@pytest.mark.benchmark(timer=virtual_clock)`.
    """
    left = iter(times_s)

    def step() -> None:
        # With --benchmark-cprofile there is one call more than rounds.
        _now_s[0] += next(left, 0.0)

    benchmark.pedantic(step, rounds=len(times_s))
