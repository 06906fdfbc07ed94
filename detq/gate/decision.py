"""From an interval to a verdict, and how the probability of a false alarm is shared out over a whole run."""

from __future__ import annotations

from detq.gate.evidence import Verdict

__all__ = ["ALPHA", "decide", "look_alpha", "shared_alpha"]

ALPHA = 0.05
"""The probability that a run of the same code against itself fails by chance in any of its figures, at most."""


def decide(change: float, low: float, high: float, tolerance: float) -> Verdict:
    """Return what a change with its interval comes to, positive being worse.

    It is a regression only where the interval excludes no change at all **and** the change is larger than the
    tolerance, and a pass only where the interval excludes a change larger than the tolerance. What is neither is
    inconclusive: more measurements may decide it.

    >>> decide(0.05, 0.01, 0.09, 0.03), decide(0.05, -0.01, 0.11, 0.03), decide(0.0, -0.01, 0.01, 0.03)
    (<Verdict.REGRESSION: 'regression'>, <Verdict.INCONCLUSIVE: 'inconclusive'>, <Verdict.PASS: 'pass'>)
    """
    if low > 0 and change > tolerance:
        return Verdict.REGRESSION
    if high < 0 and change < -tolerance:
        return Verdict.IMPROVEMENT
    return Verdict.PASS if high <= tolerance else Verdict.INCONCLUSIVE


def shared_alpha(tests: int, alpha: float = ALPHA) -> float:
    """Return the error probability of one of `tests` intervals, so that all hold together with 1 - `alpha`.

    Bonferroni's: it needs no independence, which figures of the same images do not have, and gives intervals that can
    be printed, which Holm's step-down does not (Dunn, Journal of the American Statistical Association 56 (1961), 52).

    Raises:
        ValueError: no test.
    """
    if tests < 1:
        raise ValueError(f"expected at least one test, got {tests}")
    return alpha / tests


def look_alpha(look: int, alpha: float) -> float:
    """Return the error probability that the interval of the `look`-th look at growing data may use, from 1.

    alpha / (k (k + 1)) adds up to `alpha` over any number of looks, so that stopping as soon as something is decided
    raises no false alarms (an alpha spending function, Lan and DeMets, Biometrika 70 (1983), 659-663; the union bound
    makes it valid for any dependence between looks).

    >>> [round(look_alpha(look, 0.06), 4) for look in (1, 2, 3)]
    [0.03, 0.01, 0.005]

    Raises:
        ValueError: the first look is number 1.
    """
    if look < 1:
        raise ValueError(f"looks are counted from 1, got {look}")
    return alpha / (look * (look + 1))
