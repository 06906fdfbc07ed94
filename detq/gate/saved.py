"""Latency against a saved baseline: the ratio of two separate runs, and what the machine did in between.

Image by image this run's time is divided by the baseline's, so that what an image contains cancels. What the machine
did between the two runs does not: a fixed piece of arithmetic, the control, was timed beside every image of both, and
nobody knows how much of its change the detector felt. So the interval reaches from "all of it" to "nothing".
"""

from __future__ import annotations

import math
import statistics

from detq.baseline.times import Times, paired_rounds
from detq.gate.decision import decide
from detq.gate.evidence import Evidence, Verdict
from detq.gate.latency import P99_PAIRS
from detq.gate.ratio import Ratio, median_ratio, quantile_ratio
from detq.gate.tolerances import Tolerances

__all__ = ["P90_PAIRS", "SAVED_LATENCY_TESTS", "judge_saved_latency", "more_rounds_help"]

SAVED_LATENCY_TESTS = 3
"""Figures of one variant that have an interval: what the probability of a false alarm is shared among."""

P90_PAIRS = 48
"""With fewer times than this, the 90th percentile is one of the four largest: it says little."""

NOTHING = Ratio(1.0, 1.0, 1.0, 1.0, 0)


def judge_saved_latency(  # noqa: PLR0917  # read at two places
    variant: str, now: Times, before: Times, images: int, tolerances: Tolerances, alpha: float
) -> list[Evidence]:
    """Return what is to be said about the median and, where there are enough times, the 90th and 99th percentile.

    Args:
        variant: id.
        now: this run's.
        before: the baseline's.
        images: how many first images both have, 1 or more.
        tolerances: how much each may grow.
        alpha: the probability with which each interval may miss. Half of it is for the control's own interval.
    """
    drift = _drift(now, before, images, alpha / 2)
    medians = now.medians(images), before.medians(images)
    ratio = median_ratio(medians[0], medians[1], medians[1], alpha / 2)
    pair = statistics.median(medians[0]), statistics.median(medians[1])
    found = [_evidence(variant, "median", pair, ratio, drift, tolerances.latency)]
    singles = paired_rounds(now, before, images)
    for name, quantile, least, tolerance in (
        ("p90", 0.90, P90_PAIRS, tolerances.latency_p90),
        ("p99", 0.99, P99_PAIRS, tolerances.latency_p99),
    ):
        if len(singles[0]) >= least:
            ratio = quantile_ratio(singles[0], singles[1], singles[1], quantile, alpha / 2)
            pair = _quantile(singles[0], quantile), _quantile(singles[1], quantile)
            found.append(_evidence(variant, name, pair, ratio, drift, tolerance))
    return found


def more_rounds_help(evidence: list[Evidence]) -> bool:
    """Return whether some figure is undecided that more rounds may decide; for want of images they never do."""
    return any(
        item.verdict is Verdict.INCONCLUSIVE and item.high is not None and math.isfinite(item.high) for item in evidence
    )


def _quantile(values: tuple[float, ...], quantile: float) -> float:
    import numpy as np

    return float(np.quantile(values, quantile))


def _drift(now: Times, before: Times, images: int, alpha: float) -> Ratio:
    """Return how many times longer the control took than in the baseline; 1, where one of the two had none."""
    if not now.control_s or not before.control_s:
        return NOTHING
    old = before.control_s[:images]
    return median_ratio(now.control_s[:images], old, old, alpha)


def _evidence(  # noqa: PLR0917  # read at two places, both in this module
    variant: str, name: str, pair: tuple[float, float], ratio: Ratio, drift: Ratio, tolerance: float
) -> Evidence:
    low = ratio.low / max(1.0, drift.high) - 1
    high = ratio.high / min(1.0, drift.low) - 1 if drift.low else math.inf  # too few images for the control's interval
    change, corrected = ratio.estimate - 1, ratio.estimate / drift.estimate - 1
    verdict = _both(decide(change, low, high, tolerance), decide(corrected, low, high, tolerance))
    detail = _detail(name, verdict, pair, ratio, drift, (low, high))
    return Evidence("latency", name, variant, verdict, *pair, change, tolerance, detail, low, high)


def _both(plain: Verdict, corrected: Verdict) -> Verdict:
    """Return what holds whether or not the detector felt what the control did."""
    if plain is corrected:
        return plain
    return Verdict.PASS if {plain, corrected} == {Verdict.PASS, Verdict.IMPROVEMENT} else Verdict.INCONCLUSIVE


def _detail(  # noqa: PLR0917  # a part of `_evidence`
    name: str,
    verdict: Verdict,
    pair: tuple[float, float],
    ratio: Ratio,
    drift: Ratio,
    interval: tuple[float, float],
) -> str:
    if verdict in {Verdict.PASS, Verdict.IMPROVEMENT}:
        return ""
    what = f"{name} of {ratio.pairs} times" if name != "median" else f"median of {ratio.pairs} images"
    found = f"{what} {pair[1] * 1e3:.1f} → {pair[0] * 1e3:.1f} ms ({ratio.estimate - 1:+.1%}"
    if math.isinf(interval[1]):
        return f"{found}): too few images for an interval; give it more --detq-images"
    found += f", interval {interval[0]:+.1%} to {interval[1]:+.1%})"
    if verdict is Verdict.REGRESSION:
        return found
    if not drift.low <= 1 <= drift.high:
        return (
            f"{found}; a fixed piece of arithmetic took {drift.estimate - 1:+.1%} beside it: the machine ran at "
            "another speed than when the baseline was recorded; run again when it is quiet"
        )
    return f"{found}: not decided when the time was up; a longer --detq-gate-budget, or a baseline of more images"
