"""Paired intervals: what they estimate, that they are reproducible, and that they cover."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detq.metrics.bootstrap import (
    Interval,
    draw_weights,
    paired_difference,
    paired_share_difference,
    paired_speedup,
)

times = st.lists(st.floats(0.1, 1e4), min_size=1, max_size=30)


def test_the_speedup_is_the_median_of_the_images_own_ratios():
    """Above 1 where the candidate is faster; one slow image does not decide it."""
    found = paired_speedup([100, 200, 9000], [50, 100, 10_000])
    assert found.estimate == 2.0
    assert found.low == pytest.approx(0.9)
    assert found.high == 2.0


@given(times)
def test_a_variant_compared_with_itself_is_exactly_as_fast_and_as_good(values):
    """No interval around 1 or 0: every replicate gives it."""
    assert paired_speedup(values, values, replicates=20) == Interval(1.0, 1.0, 1.0)
    assert paired_difference(values, values, replicates=20) == Interval(0.0, 0.0, 0.0)


def test_one_seed_gives_one_interval_and_another_seed_another():
    """So that a stored result can be computed again."""
    rng = np.random.default_rng(1)
    a, b = rng.uniform(1, 2, 50), rng.uniform(1, 2, 50)
    assert paired_speedup(a, b, seed=3) == paired_speedup(a, b, seed=3) != paired_speedup(a, b, seed=4)
    assert paired_difference(a, b, seed=3) == paired_difference(a, b, seed=3) != paired_difference(a, b, seed=4)


def test_the_blocks_in_which_draws_are_made_do_not_show(monkeypatch):
    """Memory is bounded by drawing in blocks; the generator runs on through them."""
    rng = np.random.default_rng(2)
    a, b = rng.uniform(1, 2, 40), rng.uniform(1, 2, 40)
    whole = paired_difference(a, b)
    monkeypatch.setattr("detq.metrics.bootstrap._BLOCK", 100)
    assert paired_difference(a, b) == whole


def test_the_interval_of_a_mean_is_that_of_the_normal_approximation():
    """With many images: estimate ± 1.96 standard errors of the paired differences."""
    rng = np.random.default_rng(0)
    a = rng.normal(10, 5, 2000)
    b = a + rng.normal(0.1, 1, 2000)
    found = paired_difference(a, b)
    error = (b - a).std() / np.sqrt(2000)
    assert found.estimate == pytest.approx((b - a).mean())
    assert found.low == pytest.approx(found.estimate - 1.96 * error, abs=0.1 * error)
    assert found.high == pytest.approx(found.estimate + 1.96 * error, abs=0.1 * error)


def test_about_95_of_100_intervals_hold_the_truth():
    """Coverage, on skewed data of 60 images."""
    rng = np.random.default_rng(5)
    held = 0
    for trial in range(200):
        found = paired_difference(np.zeros(60), rng.exponential(1.0, 60) - 1.0, seed=trial, replicates=500)
        held += found.low <= 0 <= found.high
    assert 0.88 <= held / 200 <= 0.99


def test_weights_say_how_often_each_image_is_drawn():
    """As many draws as images, and the same ones for a seed."""
    drawn = list(draw_weights(7, 5, seed=1))
    assert [weights.sum() for weights in drawn] == [7] * 5
    assert all(weights.shape == (7,) and (weights >= 0).all() for weights in drawn)
    np.testing.assert_array_equal(drawn, list(draw_weights(7, 5, seed=1)))


@pytest.mark.parametrize(
    ("reference", "candidate", "message"),
    [
        ([], [], "at least one image"),
        ([1.0], [1.0, 2.0], "one length"),
        ([1.0, float("nan")], [1.0, 1.0], "finite"),
        ([0.0], [1.0], "above 0"),
    ],
    ids=["empty", "unequal", "NaN", "zero"],
)
def test_times_that_give_no_ratio_are_refused(reference, candidate, message):
    """Instead of an interval of NaN."""
    with pytest.raises(ValueError, match=message):
        paired_speedup(reference, candidate)


def test_the_difference_of_two_shares_is_that_of_all_objects_and_its_interval_reaches_what_images_differ_by():
    """An image with many objects counts as many times; images that all lost one in four leave nothing to chance."""
    whole = np.asarray([1.0, 2, 3, 30])
    found = paired_share_difference((whole, whole), (whole - [0, 0, 3, 0], whole), replicates=200)
    assert found.estimate == pytest.approx(-3 / 36)
    assert found.low < found.estimate <= found.high == 0
    even = paired_share_difference((whole, whole), (whole * 0.75, whole), replicates=200)
    assert (even.estimate, even.low, even.high) == pytest.approx((-0.25, -0.25, -0.25))
    other_wholes = paired_share_difference(([1, 1], [2, 2]), ([1, 1], [1, 1]), replicates=50)
    assert vars(other_wholes) == {"estimate": 0.5, "low": 0.5, "high": 0.5}


def test_a_share_of_nothing_is_refused_and_a_draw_without_objects_says_nothing():
    """The one image with objects is not in every draw."""
    with pytest.raises(ValueError, match="at least one object"):
        paired_share_difference(([0, 0], [0, 0]), ([0, 0], [1, 0]))
    found = paired_share_difference(([1, 0], [1, 0]), ([0, 0], [1, 0]), replicates=50)
    assert vars(found) == {"estimate": -1.0, "low": -1.0, "high": -1.0}
