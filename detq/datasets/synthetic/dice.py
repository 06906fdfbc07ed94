"""Random numbers that are the same on every machine and with every version of NumPy."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np

__all__ = ["Dice"]

Choice = TypeVar("Choice")
_BLOCK = 256


def _blocks(bits: np.random.PCG64) -> Iterator[list[float]]:
    while True:
        # Each block is used up from its end.
        words = bits.random_raw((2, _BLOCK))[:, ::-1] >> np.uint64(11)
        yield (words * 2.0**-53).reshape(-1).tolist()


class Dice:
    """A stream of random numbers, determined by a few non-negative integers.

    It draws raw 64-bit words from PCG64, whose stream NumPy guarantees, and turns them into numbers with exact
    arithmetic. `numpy.random.Generator`'s own distributions are allowed to change between versions of NumPy.
    """

    def __init__(self, *entropy: int) -> None:
        blocks = _blocks(np.random.PCG64(np.random.SeedSequence(entropy)))
        # A scene takes some 1500 numbers: a method written in Python would cost several times as much.
        self.unit: Callable[[], float] = itertools.chain.from_iterable(blocks).__next__
        """Return a number in [0, 1)."""

    def uniform(self, low: float, high: float) -> float:
        """Return a number in [low, high)."""
        return low + (high - low) * self.unit()

    def integer(self, low: int, high: int) -> int:
        """Return a whole number from `low` to `high`, both included."""
        return low + int(self.unit() * (high - low + 1))

    def chance(self, probability: float) -> bool:
        """Return True with this probability."""
        return self.unit() < probability

    def pick(self, choices: Sequence[Choice]) -> Choice:
        """Return one of `choices`, each as likely as the others."""
        return choices[self.integer(0, len(choices) - 1)]

    def weighted(self, choices: Sequence[tuple[Choice, float]]) -> Choice:
        """Return one of the first members of `choices`, as likely as its weight, the second member, says."""
        left = self.unit() * math.fsum([weight for _, weight in choices])
        for choice, weight in choices:
            left -= weight
            if left < 0:
                return choice
        return choices[-1][0]

    def sign(self) -> int:
        """Return -1 or 1."""
        return 1 if self.chance(0.5) else -1

    def jitter(self, colour: Sequence[float], spread: float) -> tuple[float, float, float]:
        """Return an RGB `colour` with its brightness, and a little its hue, moved by up to `spread` levels."""
        unit, width = self.unit, 2 * spread
        shift = width * unit() - spread
        red, green, blue = [level + shift + (width * unit() - spread) / 4 for level in colour]
        return _capped(red), _capped(green), _capped(blue)


def _capped(level: float) -> float:
    return 0.0 if level < 0 else 255.0 if level > 255 else level
