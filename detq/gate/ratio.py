"""How much slower one process is than another that ran the same images in turns: the ratio and its interval.

Everything is computed on the logarithm of paired ratios, so that twice as slow and twice as fast are equally far from
equal. docs/gate.md says why each method was chosen; the sources are

* the exact interval of a median by the sign test: Conover, "Practical Nonparametric Statistics", 3rd ed. 1999, 3.2;
* batches of consecutive values against autocorrelation: Law, "Simulation Modeling and Analysis", 5th ed. 2015, 9.5.3,
  with the autocorrelation time by Geyer, "Practical Markov Chain Monte Carlo", Statistical Science 7 (1992), 3.3;
* the bootstrap of blocks, for other quantiles: Kuensch, The Annals of Statistics 17 (1989), 1217-1241;
* two processes of the same code as the noise floor: Kalibera and Jones, "Rigorous Benchmarking in Reasonable Time",
  ISMM 2013: what one start of a process adds (memory layout, pages) does not average out within that process.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Ratio", "autocorrelation_time", "median_ratio", "quantile_ratio", "sign_interval", "widen_to"]

REPLICATES = 1000

_NUMBERS = 1_000_000
"""How many numbers of a bootstrap are in memory at once, for each process."""

LEAST_BATCHES = 16
"""With fewer, the sign test has no interval for the error probabilities that a run with many figures leaves to each:
what became five times as slow beside a busy neighbour would not be decided."""

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Ratio:
    """Head's time over base's, with an interval for a chosen error probability.

    Attributes:
        estimate: above 1 where head is slower.
        low: the lower end of the interval, noise floor included; 0 where there are too few pairs for one.
        high: the upper end, noise floor included; infinite where there are too few pairs for one.
        floor: how far two processes of the base's own code differed, as a ratio of at least 1.
        pairs: how many images it is taken over.
    """

    estimate: float
    low: float
    high: float
    floor: float
    pairs: int


def median_ratio(head_ms: ArrayLike, base_ms: ArrayLike, control_ms: ArrayLike, alpha: float) -> Ratio:
    """Return the median over images of head's time divided by the geometric mean of the base's two processes.

    Args:
        head_ms: milliseconds of each image in the order in which they were measured, `(N,)`, N ≥ 1, above 0.
        base_ms: the same images in the first process of the base.
        control_ms: the same images in its second process.
        alpha: the probability with which the interval may miss, in (0, 1).

    Raises:
        ValueError: no image, different lengths, or a time that is not a finite number above 0.
    """
    head, base, control = _logarithms(head_ms, base_ms, control_ms)
    ratios = head - (base + control) / 2
    floor = abs(float(np.median(control - base)))
    centre = float(np.median(ratios))
    low, high = sign_interval(_batch_medians(ratios, _batch_length(ratios)), alpha)
    return _ratio(centre, min(low, centre), max(high, centre), floor, len(ratios))


def quantile_ratio(
    head_ms: ArrayLike, base_ms: ArrayLike, control_ms: ArrayLike, quantile: float, alpha: float, *, seed: int = 0
) -> Ratio:
    """Return head's quantile divided by that of the base, whose two processes are taken together; see `median_ratio`.

    The interval is the normal one around the logarithm, with the standard error of a bootstrap that draws blocks of
    consecutive images, the same for all processes.

    Args:
        head_ms: milliseconds of each image, `(N,)`.
        base_ms: the same images in the first process of the base.
        control_ms: the same images in its second process.
        quantile: in (0, 1).
        alpha: the probability with which the interval may miss, in (0, 1).
        seed: decides the draws.

    Raises:
        ValueError: no image, different lengths, or a time that is not a finite number above 0.
    """
    head, base, control = _logarithms(head_ms, base_ms, control_ms)
    length = _batch_length(head - (base + control) / 2)
    rng = np.random.default_rng(seed)
    drawn = np.concatenate(
        [
            _quantile(head[rows], quantile) - (_quantile(base[rows], quantile) + _quantile(control[rows], quantile)) / 2
            for rows in _block_draws(len(head), length, rng)
        ]
    )
    whole = [float(_quantile(values[None], quantile)[0]) for values in (head, base, control)]
    centre, floor = whole[0] - (whole[1] + whole[2]) / 2, abs(whole[1] - whole[2])
    half = NormalDist().inv_cdf(1 - alpha / 2) * float(drawn.std(ddof=1)) if len(head) > 1 else math.inf
    return _ratio(centre, centre - half, centre + half, floor, len(head))


def sign_interval(values: ArrayLike, alpha: float) -> tuple[float, float]:
    """Return the interval between two order statistics that misses the median with probability at most `alpha`.

    It is exact for independent values of any distribution. Too few of them give (-inf, inf): with `alpha` 0.05 that
    is fewer than 6.

    >>> sign_interval([1, 2, 3, 4, 5, 6], 0.05), sign_interval([1, 2, 3, 4, 5], 0.05)
    ((1.0, 6.0), (-inf, inf))
    """
    ordered = np.sort(np.asarray(values, np.float64))
    count = len(ordered)
    # In logarithms: for thousands of values C(n, k) is beyond any float.
    terms = [(math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)) for k in range(count // 2 + 1)]
    tail = np.cumsum(np.exp(np.asarray(terms) - count * math.log(2)))
    rank = int(np.count_nonzero(tail[: count // 2 + count % 2] <= alpha / 2 * (1 + 1e-12)))
    if rank == 0:
        return -math.inf, math.inf
    return float(ordered[rank - 1]), float(ordered[count - rank])


def autocorrelation_time(values: ArrayLike) -> float:
    """Return after how many values a series says something new, at least 1: Geyer's initial positive sequence.

    Ranks stand for the values, so that a single outlier decides nothing. Fewer than 20 values cannot tell, and give 1.
    """
    series = np.asarray(values, np.float64)
    count = len(series)
    if count < 20:
        return 1.0
    ranks = np.argsort(np.argsort(series, kind="stable"), kind="stable") - (count - 1) / 2
    size = 1 << (2 * count - 1).bit_length()
    spectrum = np.abs(np.fft.rfft(ranks, size)) ** 2
    correlations = np.fft.irfft(spectrum, size)[:count]
    correlations = correlations / correlations[0]
    total = -1.0
    for lag in range(0, count - 1, 2):
        pair = float(correlations[lag] + correlations[lag + 1])
        if pair <= 0:
            break
        total += 2 * pair
    return max(1.0, total)


def widen_to(estimate: float, low: float, high: float, alpha: float, *, given: float = 0.05) -> tuple[float, float]:
    """Return the ends of an interval for `given` stretched away from the estimate as a normal one would be for `alpha`.

    A bootstrap's percentiles far out in the tail rest on a handful of draws; its 95 % do not.
    """
    normal = NormalDist()
    factor = normal.inv_cdf(1 - alpha / 2) / normal.inv_cdf(1 - given / 2)
    return estimate - (estimate - low) * factor, estimate + (high - estimate) * factor


def _logarithms(*series_ms: ArrayLike) -> list[Doubles]:
    found = [np.asarray(series, np.float64) for series in series_ms]
    if any(series.shape != found[0].shape or series.ndim != 1 for series in found):
        raise ValueError(f"paired times must be vectors of one length, got {[series.shape for series in found]}")
    if not len(found[0]):
        raise ValueError("a ratio needs at least one image, got none")
    if not all(np.all(np.isfinite(series) & (series > 0)) for series in found):
        raise ValueError("times must be finite and above 0 ms")
    return [np.log(series) for series in found]


def _batch_length(values: Doubles) -> int:
    """Return how many consecutive values to take together, so that what is left of their correlation does not matter.

    Twice the autocorrelation time: with once, intervals for 5 % still missed 11 % of simulated runs. A time below 1.5
    is what independent values show by chance, and at least `LEAST_BATCHES` remain.
    """
    time = autocorrelation_time(values)
    return 1 if time < 1.5 else max(1, min(math.ceil(2 * time), len(values) // LEAST_BATCHES))


def _batch_medians(values: Doubles, length: int) -> Doubles:
    """Return the medians of consecutive batches; values left over at the end go into the last one."""
    count = max(1, len(values) // length)
    return np.asarray([np.median(batch) for batch in np.array_split(values, count)])


def _block_draws(count: int, length: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Yield REPLICATES draws, as many at once as take some megabytes: a fast detector has 100 000 images an hour."""
    together = max(1, _NUMBERS // count)
    for done in range(0, REPLICATES, together):
        yield np.asarray([_block_draw(count, length, rng) for _ in range(min(together, REPLICATES - done))])


def _block_draw(count: int, length: int, rng: np.random.Generator) -> NDArray[np.int64]:
    starts = rng.integers(count, size=-(-count // length))
    return np.asarray(((starts[:, None] + np.arange(length)) % count).ravel()[:count])


def _quantile(rows: Doubles, quantile: float) -> Doubles:
    return np.asarray(np.quantile(rows, quantile, axis=-1))


def _ratio(centre: float, low: float, high: float, floor: float, pairs: int) -> Ratio:
    return Ratio(math.exp(centre), math.exp(low - floor), math.exp(high + floor), math.exp(floor), pairs)
