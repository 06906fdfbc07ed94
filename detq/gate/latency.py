"""The paired gate's first kind of evidence: how long an image takes, and which stage slowed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from detq.gate.decision import decide
from detq.gate.drift import drift
from detq.gate.evidence import Evidence, Verdict
from detq.gate.ratio import Ratio, median_ratio, quantile_ratio
from detq.gate.tolerances import Tolerances
from detq.gate.trial import Trial

__all__ = ["P99_PAIRS", "judge_latency", "slowest_stage", "speed_drift"]

P99_PAIRS = 500
"""With fewer images than this, the 99th percentile is one of the five largest times: it says nothing."""

P90_PAIRS = 50


def judge_latency(trial: Trial, alpha: float, tolerances: Tolerances) -> list[Evidence]:
    """Return what is to be said about the median, the 90th and, from 500 pairs on, the 99th percentile.

    Args:
        trial: with at least one measured image.
        alpha: the probability with which each interval may miss.
        tolerances: how much each may grow.
    """
    times = trial.head.times_ms, trial.base.times_ms, trial.control.times_ms
    pairs = len(times[0])
    found = [_evidence(trial, "median", 0.5, median_ratio(*times, alpha), tolerances.paired_median)]
    for name, quantile, least, tolerance in (
        ("p90", 0.90, P90_PAIRS, tolerances.paired_p90),
        ("p99", 0.99, P99_PAIRS, tolerances.paired_p99),
    ):
        if pairs >= least:
            found.append(_evidence(trial, name, quantile, quantile_ratio(*times, quantile, alpha), tolerance))
    return found


def _evidence(trial: Trial, name: str, quantile: float, ratio: Ratio, tolerance: float) -> Evidence:
    now, first, second = (float(np.quantile(side.times_ms, quantile)) / 1e3 for _, side in trial.sides())
    change, low, high = ratio.estimate - 1, ratio.low - 1, ratio.high - 1
    verdict = decide(change, low, high, tolerance)
    return Evidence(
        "latency",
        name,
        trial.variant,
        verdict,
        now,
        math.sqrt(first * second),
        change,
        tolerance,
        _detail(trial, name, verdict, ratio, tolerance),
        low,
        high,
    )


def _detail(trial: Trial, name: str, verdict: Verdict, ratio: Ratio, tolerance: float) -> str:
    if verdict in {Verdict.PASS, Verdict.IMPROVEMENT}:
        return ""
    found = f"{name} {ratio.estimate - 1:+.1%}, interval {_span(ratio)}, over {ratio.pairs} pairs"
    if verdict is Verdict.REGRESSION:
        stage = slowest_stage(trial)
        return found if stage is None else f"{found}; {stage}"
    if ratio.floor - 1 > tolerance:
        return (
            f"{found}; two processes of the base's own code differed by {ratio.floor - 1:.1%}: the machine is busy or "
            "throttled; run again when it is quiet"
        )
    return f"{found}: not decided when the time was up; give it a longer --budget or more --images"


def _span(ratio: Ratio) -> str:
    if math.isinf(ratio.high):
        return "unknown"
    return f"{ratio.low - 1:+.1%} to {ratio.high - 1:+.1%}"


def slowest_stage(trial: Trial) -> str | None:
    """Return the stage that takes more of the additional time than any other, in words, or None where it is unknown.

    Each stage's difference is the median over images of head's time minus the mean of the base's two processes.
    """
    names = {stage for side in (trial.head, trial.base) for row in side.stages_ms for stage in row}
    if not names:
        return None
    series = {stage: [_stage(side.stages_ms, stage) for _, side in trial.sides()] for stage in sorted(names)}
    differences = {
        stage: float(np.median(head - (base + control) / 2)) for stage, (head, base, control) in series.items()
    }
    worst = max(differences, key=lambda stage: differences[stage])
    before, after = (float(np.median(values)) for values in (series[worst][1], series[worst][0]))
    return f"most of it in {worst}: {before:.1f} → {after:.1f} ms"


def _stage(rows: Sequence[Mapping[str, float]], stage: str) -> NDArray[np.float64]:
    return np.asarray([row.get(stage, 0.0) for row in rows])


def speed_drift(trial: Trial) -> tuple[float, str]:
    """Return by what factor the base's own code was slower in one part of the measurement than in the others.

    It is the machine that did that; the ratio between commits hardly feels it. What an image costs is taken out where
    it was visited more than once. See `detq.gate.drift`.
    """
    logs = np.log([trial.base.times_ms, trial.control.times_ms]).mean(axis=0)
    images = np.asarray(trial.images)
    for image in np.unique(images):
        visits = images == image
        if visits.sum() > 1:
            logs[visits] -= np.median(logs[visits])
        elif len(images) > len(np.unique(images)):
            logs[visits] = 0.0  # of images visited again, nothing is known of this one
    return drift(logs)
