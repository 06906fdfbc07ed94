"""Latency against a saved baseline: an interval from two separate runs, and the control between them."""

from __future__ import annotations

import numpy as np
import pytest

from detq.baseline import Times
from detq.baseline.times import common_images, paired_rounds
from detq.bench.rounds import undecided_against
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


def test_each_interval_is_of_order_statistics_for_half_of_the_error_probability():
    """Of 18 images the 4th and the 15th miss the median with 1.5 %, the 5th and the 14th with 6 %: more than 2.5 %.

    The control's widens the interval on both sides; times of images that only one run has are not looked at.
    """
    before, spread = Times(tuple("abcdefghijklmnopqrst"), ((1.0,) * 20,), (1.0,) * 20), range(1, 19)
    slower = Times(before.images, ((*(1 + k / 100 for k in spread), 9.0, 9.0),), before.control_s)
    item = judged(slower, before, images=18, alpha=0.05)["median"]
    assert (item.low, item.high) == (pytest.approx(0.04), pytest.approx(0.15))
    drifted = Times(before.images, before.rounds_s, (*(0.905 + k / 100 for k in spread), 9.0, 9.0))
    item = judged(drifted, before, images=18, alpha=0.05)["median"]
    assert (item.low, item.high) == (pytest.approx(1 / 1.055 - 1), pytest.approx(1 / 0.945 - 1))


def test_what_is_faster_only_as_far_as_the_machine_was_passes():
    """12 % faster, where the control was 3 % faster: no regression either way, and no improvement beyond doubt."""
    before = Times(tuple("abcdefghijklmnopqr"), ((0.1,) * 18,), (0.01,) * 18)
    now = Times(before.images, ((0.088,) * 18,), (0.0097,) * 18)
    assert judged(now, before, images=18)["median"].verdict is Verdict.PASS


@pytest.mark.parametrize(("images", "rounds", "names"), [(40, 1, 1), (50, 1, 2), (50, 9, 2), (50, 10, 3)])
def test_p90_needs_48_times_of_both_runs_and_p99_needs_500(images, rounds, names):
    """The 99th percentile of fewer is one of the largest five."""
    rng = np.random.default_rng(3)
    now, before = (simulate(rng, rounds=count, images=images) for count in (10, rounds))
    found = judged(now, before, images=images)
    assert list(found) == ["median", "p90", "p99"][:names]
    assert [item.tolerance for item in found.values()] == [0.1, 0.2, 0.4][:names], "each has its own"


@pytest.mark.parametrize(("name", "quantile"), [("p90", 0.9), ("p99", 0.99)])
def test_a_slower_tail_fails_while_the_median_is_as_it_was(name, quantile):
    """One image in eight takes three times as long: p90 and p99 say so."""
    rng = np.random.default_rng(4)
    before = simulate(rng, rounds=8)
    rows = np.array(simulate(rng, rounds=8).rounds_s)
    rows[:, ::8] *= 3
    found = judged(Times(before.images, tuple(map(tuple, rows)), before.control_s), before)
    assert found["median"].verdict is Verdict.PASS
    assert found[name].verdict is Verdict.REGRESSION
    logarithms = np.log([rows, before.rounds_s]).reshape(2, -1)
    slower, was = np.quantile(logarithms, quantile, axis=1)
    assert found[name].change == pytest.approx(np.exp(slower - was) - 1, rel=1e-3)
    wrong_half_the_time = judged(Times(before.images, tuple(map(tuple, rows)), before.control_s), before, alpha=1.0)
    assert wrong_half_the_time[name].low > found[name].low


def test_times_are_paired_by_image_and_round_and_a_round_that_ended_early_counts_as_far_as_it_went():
    """A baseline of one round is compared with the first round alone: medians of rounds have shorter tails."""
    two = Times(("a", "b", "c"), ((1.0, 2.0, 3.0), (5.0,)))
    assert two.medians(3) == (3.0, 2.0, 3.0)
    assert Times(("a",), ((1.0,), (2.0,), (9.0,))).medians(1) == (2.0,)
    assert paired_rounds(two, Times(("a", "b"), ((7.0, 8.0), (9.0, 6.0))), 2) == ((1.0, 2.0, 5.0), (7.0, 8.0, 9.0))
    assert paired_rounds(two, Times(("a", "b", "c"), ((7.0, 8.0, 9.0),)), 3) == ((1.0, 2.0, 3.0), (7.0, 8.0, 9.0))
    longer, shorter = Times(("a", "b"), ((1.0, 2.0), (3.0, 4.0))), Times(("a", "b"), ((5.0, 6.0), (7.0,)))
    assert paired_rounds(longer, shorter, 2) == ((1.0, 2.0, 3.0), (5.0, 6.0, 7.0))


def test_images_are_common_up_to_the_first_that_is_another():
    """A baseline of other images is not compared on what happens to stand at the same place."""
    assert common_images(("a", "b", "x", "d"), ("a", "b", "c", "d", "e")) == 2
    assert common_images(("x", "b"), ("a", "b")) == 0


def test_a_variant_is_measured_again_while_its_comparison_is_undecided(make):
    """Five of 18 images are as fast as ever, which is doubt enough where looks share the error probability out.

    With the variant's own tolerance, on another machine class, or with other images, more rounds would decide nothing.
    """
    entry, rows = make.entry(images=18), ((0.1,) * 5 + (0.13,) * 13,)
    times = Times(entry.images, rows, (0.01,) * 18)

    def ask(*, times=times, variant=entry.variant, look=1, alpha=0.2, same_class=True, tolerances=None):
        choice = make.choice(entry, same_class=same_class)
        return undecided_against(choice, tolerances or Tolerances(), alpha)(variant, times, look)

    assert ask()
    assert not ask(alpha=0.4)
    assert ask(alpha=0.4, look=2)
    assert not ask(same_class=False)
    assert not ask(tolerances=Tolerances(variants={entry.variant: Tolerances(latency=0.5)}))
    assert not ask(variant="another")
    assert not ask(times=Times(("other", *entry.images[1:]), rows, times.control_s))
