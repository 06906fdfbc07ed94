"""Latency against a saved baseline: an interval from two separate runs, and the control between them."""

from __future__ import annotations

import numpy as np
import pytest

from detq.baseline import Times
from detq.baseline.times import paired_rounds
from detq.gate import Tolerances, Verdict
from detq.gate.saved import judge_saved_latency, more_rounds_help

ALPHA = 0.05 / 6


def simulate(rng, *, slower=1.0, machine=1.0, rounds=1, images=64, noise=0.05):
    """A run of images that differ by content, with noise of its own, on a machine that slows everything alike."""
    content = 0.1 * np.exp(np.random.default_rng(1).normal(0, 0.3, images))
    times = content * slower * machine * np.exp(rng.normal(0, noise, (rounds, images)))
    control = 0.01 * machine * np.exp(rng.normal(0, noise, images))
    return Times(tuple(map(str, range(images))), tuple(map(tuple, times)), tuple(control))


def judged(now, before, *, images=64, alpha=ALPHA):
    found = judge_saved_latency("v", now, before, images, Tolerances(), alpha)
    return {item.name: item for item in found}


def simulated_verdict(rng, **what):
    now, before = simulate(rng, images=47, **what), simulate(rng, images=47)
    return judged(now, before, images=47)["median"].verdict


def test_equal_code_hardly_ever_fails_and_slower_code_is_caught_whatever_the_machine_did():
    """In 60 simulated pairs of runs each; 25 % show also where the machine drifted by 5 %."""
    rng = np.random.default_rng(0)
    verdicts = {
        (slower, machine): [simulated_verdict(rng, slower=slower, machine=machine) for _ in range(60)]
        for slower, machine in ((1.0, 1.0), (1.0, 1.3), (1.2, 1.0), (1.25, 1.05))
    }
    assert Verdict.REGRESSION not in verdicts[1.0, 1.0]
    assert verdicts[1.0, 1.0].count(Verdict.PASS) >= 30
    assert Verdict.REGRESSION not in verdicts[1.0, 1.3]
    assert verdicts[1.2, 1.0].count(Verdict.REGRESSION) >= 57
    assert verdicts[1.25, 1.05].count(Verdict.REGRESSION) >= 57


def test_the_interval_holds_the_true_ratio_as_often_as_it_promises():
    """Without drift, over 300 simulated pairs of runs: at most 5 % of intervals for 5 % miss."""
    rng = np.random.default_rng(1)
    missed = 0
    for _ in range(300):
        now, before = simulate(rng, slower=1.07, images=47), simulate(rng, images=47)
        item = judged(now, before, images=47, alpha=0.05)["median"]
        missed += not item.low <= 0.07 <= item.high
    assert missed <= 15


def test_more_rounds_narrow_the_interval_and_want_of_images_cannot_be_mended_by_them():
    """What is left is the noise of the baseline's own round."""
    rng = np.random.default_rng(2)
    before = simulate(rng)
    one, nine = (judged(simulate(rng, rounds=count), before)["median"] for count in (1, 9))
    assert nine.high - nine.low < one.high - one.low
    few = judge_saved_latency("v", simulate(rng, rounds=9, images=5), before, 5, Tolerances(), ALPHA)
    assert [item.verdict for item in few] == [Verdict.INCONCLUSIVE]
    assert "too few images for an interval; give it more --detq-images" in few[0].detail
    assert not more_rounds_help(few)


def test_the_interval_reaches_from_all_of_the_controls_change_to_nothing():
    """Half the images took 8 % longer and half 60 %: without the control's 10 % that would be beyond doubt."""
    before = Times(tuple("abcdefghijklmnopqr"), ((0.1,) * 18,), (0.01,) * 18)
    for control_s, verdict, low in ((0.01, Verdict.REGRESSION, 0.08), (0.011, Verdict.INCONCLUSIVE, 1.08 / 1.1 - 1)):
        now = Times(before.images, ((0.108, 0.16) * 9,), (control_s,) * 18)
        item = judged(now, before, images=18)["median"]
        assert item.verdict is verdict
        assert item.low == pytest.approx(low)


@pytest.mark.parametrize(("images", "rounds", "names"), [(40, 1, 1), (50, 1, 2), (50, 9, 2), (50, 10, 3)])
def test_p90_needs_48_times_of_both_runs_and_p99_needs_500(images, rounds, names):
    """The 99th percentile of fewer is one of the largest five."""
    rng = np.random.default_rng(3)
    now, before = (simulate(rng, rounds=count, images=images) for count in (10, rounds))
    assert list(judged(now, before, images=images)) == ["median", "p90", "p99"][:names]


@pytest.mark.parametrize("name", ["p90", "p99"])
def test_a_slower_tail_fails_while_the_median_is_as_it_was(name):
    """One image in eight takes three times as long: p90 and p99 say so."""
    rng = np.random.default_rng(4)
    before = simulate(rng, rounds=8)
    rows = np.array(simulate(rng, rounds=8).rounds_s)
    rows[:, ::8] *= 3
    found = judged(Times(before.images, tuple(map(tuple, rows)), before.control_s), before)
    assert found["median"].verdict is Verdict.PASS
    assert found[name].verdict is Verdict.REGRESSION
    wrong_half_the_time = judged(Times(before.images, tuple(map(tuple, rows)), before.control_s), before, alpha=1.0)
    assert wrong_half_the_time[name].low > found[name].low


def test_times_are_paired_by_image_and_round_and_a_round_that_ended_early_counts_as_far_as_it_went():
    """A baseline of one round is compared with the first round alone: medians of rounds have shorter tails."""
    two = Times(("a", "b", "c"), ((1.0, 2.0, 3.0), (5.0,)))
    assert two.medians(3) == (3.0, 2.0, 3.0)
    assert paired_rounds(two, Times(("a", "b"), ((7.0, 8.0), (9.0, 6.0))), 2) == ((1.0, 2.0, 5.0), (7.0, 8.0, 9.0))
    assert paired_rounds(two, Times(("a", "b", "c"), ((7.0, 8.0, 9.0),)), 3) == ((1.0, 2.0, 3.0), (7.0, 8.0, 9.0))
    longer, shorter = Times(("a", "b"), ((1.0, 2.0), (3.0, 4.0))), Times(("a", "b"), ((5.0, 6.0), (7.0,)))
    assert paired_rounds(longer, shorter, 2) == ((1.0, 2.0, 3.0), (5.0, 6.0, 7.0))
