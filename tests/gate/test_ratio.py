"""Intervals of paired time ratios hold what they promise, whatever the machine does meanwhile."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detq.gate.ratio import autocorrelation_time, median_ratio, quantile_ratio, sign_interval, widen_to

FLOATS = st.floats(-1e6, 1e6)
TIMES = st.lists(st.floats(0.1, 1e4), min_size=1, max_size=40)


def correlated(rng, count, memory):
    """A series in which each value remembers the one before: AR(1) with variance 1."""
    values = rng.normal(size=count)
    for place in range(1, count):
        values[place] = memory * values[place - 1] + math.sqrt(1 - memory**2) * values[place]
    return values


@given(st.lists(FLOATS, max_size=60), st.floats(1e-6, 0.5))
def test_the_sign_interval_holds_the_median_and_two_of_the_values(values, alpha):
    """Or everything, where there are too few values."""
    low, high = sign_interval(values, alpha)
    if math.isinf(low):
        assert (low, high) == (-math.inf, math.inf)
        assert 2 * 0.5 ** len(values) > alpha * (1 - 1e-9)
    else:
        assert {low, high} <= set(values)
        assert low <= np.median(values) <= high


@pytest.mark.parametrize("count", [6, 7, 10, 20, 35, 50, 100])
def test_the_sign_interval_has_the_ranks_of_the_binomial_distribution(count):
    """Against a sum of exact fractions: the largest rank whose two tails together stay below alpha."""
    alpha = 0.05
    tails = [2 * sum(math.comb(count, k) for k in range(rank)) / 2**count for rank in range(count // 2 + 1)]
    rank = max(rank for rank, tail in enumerate(tails) if tail <= alpha)
    assert sign_interval(range(1, count + 1), alpha) == (rank, count + 1 - rank)


def test_thousands_of_values_neither_overflow_nor_lose_the_median():
    """C(5000, 2500) is beyond any float."""
    low, high = sign_interval(np.arange(5000.0), 1e-4)
    assert 2350 < low < 2499.5 < high < 2650


@given(TIMES, st.floats(0.2, 5))
def test_a_constant_factor_is_found_exactly(times, factor):
    """Images differ by a factor of thousands; paired, that cancels."""
    ratio = median_ratio(np.multiply(times, factor), times, times, 0.05)
    assert ratio.estimate == pytest.approx(factor)
    assert ratio.floor == 1
    assert ratio.pairs == len(times)
    assert ratio.low <= ratio.estimate * (1 + 1e-12)
    assert ratio.high >= ratio.estimate * (1 - 1e-12)


@given(TIMES, st.floats(0.5, 2))
def test_swapping_the_two_processes_of_the_base_changes_nothing(times, factor):
    """And what they differ by is the noise floor, which widens the interval on both sides."""
    other = np.multiply(times, factor)
    ratio = median_ratio(times, times, other, 0.05)
    assert ratio == median_ratio(times, other, times, 0.05)
    assert ratio.floor == pytest.approx(max(factor, 1 / factor))
    assert ratio.low <= ratio.estimate / ratio.floor * (1 + 1e-9)


@pytest.mark.parametrize("bad", [([], [], []), ([1], [1, 2], [1]), ([0.0], [1], [1]), ([math.inf], [1], [1])])
def test_times_that_are_none_are_refused(bad):
    """No image, unpaired ones, zero and infinite times."""
    with pytest.raises(ValueError, match=r"image|length|above 0"):
        median_ratio(*bad, 0.05)


def test_the_autocorrelation_time_grows_with_memory_and_is_one_for_independent_values():
    """(1 + r) / (1 - r) for an AR(1): 3 at 0.5, 9 at 0.8."""
    rng = np.random.default_rng(0)
    mean = {
        memory: np.mean([autocorrelation_time(correlated(rng, 400, memory)) for _ in range(40)])
        for memory in (0.0, 0.5, 0.8)
    }
    assert mean[0.0] < 1.4
    assert 2 < mean[0.5] < 4.5
    assert 6 < mean[0.8] < 13
    assert autocorrelation_time(range(5)) == 1


@pytest.mark.parametrize("memory", [0.0, 0.6])
def test_the_interval_of_the_median_misses_as_rarely_as_promised(memory):
    """250 simulated runs of the same code, independent and with a machine that remembers: some 5 % miss 1."""
    rng = np.random.default_rng(1)
    missed = 0
    for _ in range(250):
        images = np.exp(rng.normal(4, 0.3, 100))
        head, base, control = (images * np.exp(0.05 * correlated(rng, 100, memory)) for _ in range(3))
        ratio = median_ratio(head, base, control, 0.05)
        missed += not ratio.low * ratio.floor <= 1 <= ratio.high / ratio.floor
    assert missed <= 20


def test_without_batches_the_same_simulation_would_miss_far_too_often(monkeypatch):
    """What the batches are for."""
    monkeypatch.setattr("detq.gate.ratio.autocorrelation_time", lambda _values: 1.0)
    with pytest.raises(AssertionError):
        test_the_interval_of_the_median_misses_as_rarely_as_promised(0.6)


def test_what_is_far_slower_is_decided_on_48_images_beside_a_busy_neighbour_too():
    """So few batches would remain of ratios that hang together for long that no interval could be had of them."""
    rng = np.random.default_rng(5)
    for _ in range(20):
        head, base, control = (np.exp(0.1 * correlated(rng, 48, 0.95)) for _ in range(3))
        assert median_ratio(5 * head, base, control, 0.0002).low > 1


def test_the_bootstrap_of_a_quantile_is_paired_and_misses_as_rarely_as_promised():
    """Images differ by 30 % while processes differ by 3 %: unpaired, a p90 would be known to a tenth only."""
    rng = np.random.default_rng(2)
    missed, widths = 0, []
    for _ in range(30):
        images = np.exp(rng.normal(4, 0.3, 200))
        head, base, control = (images * np.exp(0.03 * rng.normal(size=200)) for _ in range(3))
        ratio = quantile_ratio(head, base, control, 0.9, 0.05)
        missed += not ratio.low * ratio.floor <= 1 <= ratio.high / ratio.floor
        widths.append(math.log(ratio.high / ratio.low) / 2 - math.log(ratio.floor))
    assert missed <= 4
    assert np.median(widths) < 0.04


def test_the_bootstrap_of_many_pairs_takes_some_megabytes_whatever_their_number(monkeypatch):
    """A detector of half a millisecond gives 30 000 pairs in three minutes: all draws at once would be a gigabyte."""
    monkeypatch.setattr("detq.gate.ratio.REPLICATES", 80)
    times = np.exp(np.random.default_rng(6).normal(size=(3, 50_000)))
    tracemalloc.start()
    try:
        ratio = quantile_ratio(*times, 0.9, 0.05)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert ratio.low < 1 < ratio.high
    assert peak < 60e6


def test_widening_stretches_both_sides_as_a_normal_interval_would():
    """1.96 standard errors become 3.29."""
    low, high = widen_to(1.0, 0.0, 3.0, 0.001)
    assert (1 - low, high - 1) == pytest.approx((3.2905 / 1.96, 2 * 3.2905 / 1.96), rel=1e-4)
    assert widen_to(1.0, 0.0, 3.0, 0.05) == (0.0, 3.0)
