"""How the range of an int8 activation is chosen from what calibration images showed of it.

Every observer keeps a histogram of all values; they differ in what they make of it. An affine range always contains
zero: padding, and what an activation function cuts off, must stay exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor
from torchao.quantization.pt2e import HistogramObserver

__all__ = ["CHOICES", "RangeObserver", "least_squares", "percentile", "whole"]

PERCENT = 99.99
"""Of the values that a percentile's range holds."""

STEPS = 64
"""How many ends `least_squares` tries on each side."""


def whole(_histogram: Tensor, low: float, high: float, _levels: int) -> tuple[float, float]:
    """Return the range of everything that was seen."""
    return low, high


def percentile(histogram: Tensor, low: float, high: float, _levels: int) -> tuple[float, float]:
    """Return the least range that leaves out at most half of 0.01 % of the values on either side.

    Args:
        histogram: float `(bins,)`, counts between `low` and `high`.
        low: least value.
        high: greatest value.
    """
    share = histogram.double().cumsum(0) / histogram.sum()
    edges = torch.linspace(low, high, len(histogram) + 1, dtype=torch.float64)
    outside = (1 - PERCENT / 100) / 2
    first = int(torch.searchsorted(share, outside, right=True))
    last = int(torch.searchsorted(share, 1 - outside))
    return float(edges[first]), float(edges[min(last + 1, len(histogram))])


def least_squares(histogram: Tensor, low: float, high: float, levels: int) -> tuple[float, float]:
    """Return the range whose quantization error has the least mean square: rounding inside, clipping outside.

    Rounding errors are uniform, so a value inside costs step² / 12; one outside costs its squared distance from the
    end. Zero is a level of its own and costs nothing: after an activation function a large share of the values are
    zero. Both ends are moved towards zero in `STEPS` even steps, and all pairs are tried.

    Args:
        histogram: float `(bins,)`, counts between `low` and `high`.
        low: least value.
        high: greatest value.
        levels: how many values int8 can tell apart.
    """
    edges = torch.linspace(low, high, len(histogram) + 1, dtype=torch.float64)
    low, high = min(low, 0.0), max(high, 0.0)
    centres, counts = (edges[1:] + edges[:-1]) / 2, histogram.double().clone()
    fractions = torch.arange(1, STEPS + 1, dtype=torch.float64) / STEPS
    lows = low * fractions if low < 0 else torch.zeros(1, dtype=torch.float64)
    highs = high * fractions if high > 0 else torch.zeros(1, dtype=torch.float64)
    clipped_low = (counts * (lows[:, None] - centres).clamp(min=0) ** 2).sum(1)
    clipped_high = (counts * (centres - highs[:, None]).clamp(min=0) ** 2).sum(1)
    counts[(edges[:-1] <= 0) & (edges[1:] >= 0)] = 0
    below = (counts * (centres < lows[:, None])).sum(1)
    above = (counts * (centres > highs[:, None])).sum(1)
    inside = counts.sum() - below[:, None] - above
    step = (highs - lows[:, None]) / (levels - 1)
    error = clipped_low[:, None] + clipped_high + inside * step**2 / 12
    row, column = divmod(int(error.argmin()), len(highs))
    return float(lows[row]), float(highs[column])


Choice = Callable[[Tensor, float, float, int], tuple[float, float]]

CHOICES: Mapping[str, Choice] = MappingProxyType({"mse": least_squares, "minmax": whole, "percentile": percentile})
"""Observer -> how it chooses."""


class RangeObserver(HistogramObserver):  # type: ignore[misc]  # torchao has no types
    """torchao's running histogram with a choice of ranges."""

    def __init__(self, *, choice: str = "mse", **settings: object) -> None:
        """Make an observer.

        Args:
            choice: one of `CHOICES`.
            settings: see `HistogramObserver`.
        """
        super().__init__(**settings)
        self.choice = choice

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """Return scale, float32 `(1,)`, and zero point, int64 `(1,)`.

        Raises:
            ValueError: it has seen no value.
        """
        low, high = float(self.min_val), float(self.max_val)
        if low > high:
            raise ValueError("an observer has seen no value")
        low, high = CHOICES[self.choice](self.histogram, low, high, self.quant_max - self.quant_min + 1)
        low, high = min(low, 0.0), max(high, 0.0)
        scale = max((high - low) / (self.quant_max - self.quant_min), float(self.eps))
        zero = round(self.quant_min - low / scale)
        zero = min(max(zero, self.quant_min), self.quant_max)
        return torch.tensor([scale]), torch.tensor([zero])
