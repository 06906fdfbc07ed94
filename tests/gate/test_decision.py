"""What an interval comes to, and that repeated looks at many figures raise no false alarms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detq.gate import Verdict
from detq.gate.decision import decide, look_alpha, shared_alpha
from detq.gate.evidence import verdict_of
from detq.gate.ratio import median_ratio


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 0.5))
def test_only_a_change_beyond_tolerance_whose_interval_excludes_none_fails(change, below, above, tolerance):
    """And only one that is surely within tolerance, or surely better, passes."""
    low, high = change - below, change + above
    verdict = decide(change, low, high, tolerance)
    assert verdict.fails == (low > 0 and change > tolerance)
    if verdict is Verdict.PASS:
        assert high <= tolerance
    if verdict is Verdict.IMPROVEMENT:
        assert high < 0
        assert change < -tolerance


def test_what_is_no_number_never_passes():
    """In figures with noise, and in those without."""
    nothing = float("nan")
    assert decide(nothing, nothing, nothing, 0.03) is verdict_of(nothing, 0.03) is Verdict.INCONCLUSIVE


def test_all_looks_together_use_up_no_more_than_their_alpha():
    """However often one looks."""
    assert sum(look_alpha(look, 0.05) for look in range(1, 10_000)) == pytest.approx(0.05, rel=1e-3)
    assert shared_alpha(10) == pytest.approx(0.005)


@pytest.mark.parametrize("call", [lambda: look_alpha(0, 0.05), lambda: shared_alpha(0)])
def test_there_is_no_look_before_the_first_and_no_run_without_tests(call):
    """A mistake of the caller's."""
    with pytest.raises(ValueError, match=r"from 1|at least one"):
        call()


def gate(rng, slowdown, *, tests=10, rounds=5, images=32, tolerance=0.03):
    """Return the verdict of a simulated gate: noise of 5 % an image, 0.5 % a process, looks after 1, 2, 4, … rounds."""
    processes = rng.normal(0, 0.005, 3) + np.asarray([np.log1p(slowdown), 0, 0])
    times: list[list[float]] = [[], [], []]
    for look in range(1, rounds + 1):
        count = images * 2 ** max(0, look - 2)
        for place, process in enumerate(processes):
            times[place] += np.exp(process + rng.normal(0, 0.05, count)).tolist()
        ratio = median_ratio(*times, look_alpha(look, shared_alpha(tests)))
        verdict = decide(ratio.estimate - 1, ratio.low - 1, ratio.high - 1, tolerance)
        if verdict is not Verdict.INCONCLUSIVE:
            return verdict
    return Verdict.INCONCLUSIVE


def test_a_simulated_gate_is_quiet_on_noise_and_loud_on_a_slowdown():
    """The same code never fails in 60 runs; 5 % is caught in most, 10 % in all."""
    rng = np.random.default_rng(3)
    verdicts = {slow: [gate(rng, slow) for _ in range(runs)] for slow, runs in ((0.0, 60), (0.05, 30), (0.1, 30))}
    assert sum(verdict.fails for verdict in verdicts[0.0]) == 0
    assert sum(verdict is Verdict.PASS for verdict in verdicts[0.0]) > 40
    assert sum(verdict.fails for verdict in verdicts[0.05]) >= 18
    assert all(verdict.fails for verdict in verdicts[0.1])
