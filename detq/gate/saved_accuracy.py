"""Accuracy against a saved baseline: what was found in the same images, compared image by image.

The same code finds the same in the same images, to the last digit on one machine. A graph that is quantized anew need
not: a range that differs in its last digit rounds some activations to the next level, and a few objects near a
threshold come and go. What that comes to is what the bootstrap over images says of any change.
"""

from __future__ import annotations

from detq.baseline.entry import MATCHES, Entry, Matches
from detq.gate.accuracy import AP_FIGURES, REPLICATES, accuracy_evidence
from detq.gate.evidence import KEPT, Evidence, Verdict
from detq.gate.tolerances import Tolerances
from detq.metrics.bootstrap import Interval, paired_difference, paired_share_difference
from detq.metrics.coco import average_precision, difference_of_plans
from detq.metrics.curves import AveragePrecisionPlan, plan_of
from detq.metrics.report2024 import METRICS

__all__ = ["SAVED_ACCURACY_TESTS", "judge_saved_accuracy", "new_figure", "not_there", "saved_ap"]

SAVED_ACCURACY_TESTS = len(AP_FIGURES) * len(MATCHES) + len(METRICS) + 1
"""Figures of one variant that have an interval, at most: what the probability of a false alarm is shared among."""

MORE = "take more --detq-images, in the baseline too"


def judge_saved_accuracy(
    now: Entry, before: Entry, images: int, tolerances: Tolerances, *, alpha: float, record: str
) -> list[Evidence]:
    """Return what is to be said about AP and AP50, of masks too, the report's metrics, and what is kept of fp32's.

    Args:
        now: this run's.
        before: the baseline's.
        images: how many first images both have, 1 or more.
        tolerances: how much each may fall.
        alpha: the probability with which each interval may miss.
        record: the command that records the baseline.
    """
    if not (before.metrics or now.metrics or before.matches or now.matches):
        detail = "weights that mean nothing: accuracy is not judged"
        return [Evidence("accuracy", "AP", now.variant, Verdict.INCONCLUSIVE, detail=detail)]
    found = []
    for prefix in MATCHES:
        found += _precisions(now, before, prefix, images, tolerances.ap, alpha, record)
    found += _kept(now, before, images, tolerances.kept, alpha, record)
    for name, values in before.metrics.items():
        if name not in now.metrics:
            found.append(_gone(name, now, record))
            continue
        old, new = values[:images], now.metrics[name][:images]
        interval = paired_difference(old, new, replicates=REPLICATES)
        found.append(_evidence(now, name, sum(new) / images, interval, alpha, tolerances.metrics))
    return found


def saved_ap(entry: Entry) -> float | None:
    """Return the AP of boxes on all of an entry's images; None where nobody recorded it or nothing is to be found."""
    matches = entry.matches.get("")
    return None if matches is None else average_precision(_plan(matches, matches))["AP"]


def new_figure(kind: str, name: str, now: Entry, record: str) -> Evidence:
    """Return what is to be said about a figure that an older baseline does not have."""
    return Evidence(kind, name, now.variant, Verdict.INCONCLUSIVE, detail=not_there(name, record))


def not_there(what: str, record: str) -> str:
    """Return the sentence for it."""
    return f"{what} is not in the baseline, which an older detq wrote; record it with `{record}`"


def _gone(name: str, now: Entry, record: str) -> Evidence:
    detail = f"this run has no {name}; accept it with `{record}`"
    return Evidence("accuracy", name, now.variant, Verdict.MISSING, detail=detail)


def _precisions(  # noqa: PLR0917  # a part of `judge_saved_accuracy`
    now: Entry, before: Entry, prefix: str, images: int, tolerance: float, alpha: float, record: str
) -> list[Evidence]:
    """Compare AP and AP50 of boxes, or of masks; nothing to say of masks that neither run has."""
    names = [f"{prefix}{figure}" for figure in AP_FIGURES]
    pair = now.matches.get(prefix), before.matches.get(prefix)
    if pair[1] is None:
        return [new_figure("accuracy", name, now, record) for name in names if pair[0] is not None or not prefix]
    if pair[0] is None:
        return [_gone(name, now, record) for name in names]
    first, second = pair[0][:images], pair[1][:images]
    plan, old = _plan(first, second), _plan(second, first)
    values = average_precision(plan)
    if values["AP"] is None:
        detail = "no image has an object to find: it is not judged"
        return [Evidence("accuracy", name, now.variant, Verdict.INCONCLUSIVE, detail=detail) for name in names]
    # Most variants find exactly what they found before, and a thousand draws of nothing are nothing.
    intervals = dict.fromkeys(AP_FIGURES, NOTHING) if _same(plan, old) else _intervals(plan, old)
    return [
        _evidence(now, name, values[figure] or 0.0, intervals[figure], alpha, tolerance)
        for name, figure in zip(names, AP_FIGURES, strict=True)
    ]


NOTHING = Interval(0.0, 0.0, 0.0)


def _intervals(now: AveragePrecisionPlan, before: AveragePrecisionPlan) -> dict[str, Interval]:
    found = difference_of_plans(before, now, replicates=REPLICATES)
    return {figure: found[figure] or NOTHING for figure in AP_FIGURES}


def _plan(matches: Matches, other: Matches) -> AveragePrecisionPlan:
    """Return the plan of `matches`, with as many classes as they or `other` have."""
    labels = {label for images in (matches, other) for image in images for label in image}
    return plan_of(matches, max(labels, default=0) + 1)


def _same(first: AveragePrecisionPlan, second: AveragePrecisionPlan) -> bool:
    import numpy as np

    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in vars(first))


def _kept(  # noqa: PLR0917  # a part of `judge_saved_accuracy`
    now: Entry, before: Entry, images: int, tolerance: float, alpha: float, record: str
) -> list[Evidence]:
    """Compare the shares of what fp32 of the same run finds; nothing to say where it found nothing."""
    if before.reference_found and not now.reference_found:
        return [_gone(KEPT, now, record)]
    if now.reference_found and not before.reference_found:
        return [new_figure("accuracy", KEPT, now, record)]
    old, new = ((one.reference_kept[:images], one.reference_found[:images]) for one in (before, now))
    if not (sum(old[1]) and sum(new[1])):
        return []
    interval = paired_share_difference(old, new, replicates=REPLICATES)
    return [_evidence(now, KEPT, sum(new[0]) / sum(new[1]), interval, alpha, tolerance)]


def _evidence(  # noqa: PLR0917  # read at three places, all in this module
    now: Entry, name: str, value: float, interval: Interval, alpha: float, tolerance: float
) -> Evidence:
    return accuracy_evidence(now.variant, name, value, interval, 0.0, alpha, tolerance, more=MORE)
