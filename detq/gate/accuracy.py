"""The paired gate's second kind of evidence: what is found in the same images, compared image by image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detq.gate.decision import decide
from detq.gate.evidence import KEPT, Evidence, Verdict
from detq.gate.ratio import widen_to
from detq.gate.tolerances import Tolerances
from detq.gate.trial import Trial
from detq.metrics.agreement import kept_by_image
from detq.metrics.bootstrap import Interval, paired_difference, paired_share_difference
from detq.metrics.coco import paired_ap_difference
from detq.metrics.evaluate import choose_report_class
from detq.metrics.report2024 import METRICS, dataset_metrics
from detq.types import Detections, GroundTruth

__all__ = ["AP_FIGURES", "REPLICATES", "Labelled", "accuracy_evidence", "accuracy_tests", "judge_accuracy"]

AP_FIGURES = ("AP", "AP50")
MASK = "mask "
"""What stands before a figure's name where masks are compared instead of boxes."""

REPLICATES = 1000


@dataclass(frozen=True)
class Labelled:
    """The images as they were annotated.

    Attributes:
        classes: names of labels.
        truths: one for each image; None where nobody labelled them.
        masks: every object has an instance mask.
    """

    classes: tuple[str, ...]
    truths: Sequence[GroundTruth] | None
    masks: bool = False


def accuracy_tests(*, masks: bool) -> int:
    """Return how many intervals `judge_accuracy` takes of one variant: the error probability is shared among them."""
    return len(AP_FIGURES) * (1 + masks) + len(METRICS) + 1


def judge_accuracy(
    trial: Trial, labelled: Labelled, reference: Sequence[Detections], alpha: float, tolerances: Tolerances
) -> list[Evidence]:
    """Return what is to be said about AP, AP50, the report's four metrics, and the fp32 detections kept.

    Args:
        trial: with detections of each image.
        labelled: the same images.
        reference: the base's fp32 detections of them.
        alpha: the probability with which each interval may miss.
        tolerances: how much each may fall.
    """
    if not trial.meaningful:
        detail = "weights that mean nothing: accuracy is not judged"
        return [Evidence("accuracy", "AP", trial.variant, Verdict.INCONCLUSIVE, detail=detail)]
    found = [_kept(trial, reference, alpha, tolerances.kept)]
    if labelled.truths is not None:
        found = [
            *_average_precision(trial, labelled, alpha, tolerances.ap),
            *_mask_precision(trial, labelled, alpha, tolerances.ap),
            *_report(trial, labelled, alpha, tolerances.metrics),
            *found,
        ]
    return [item for item in found if item is not None]


def _mask_precision(trial: Trial, labelled: Labelled, alpha: float, tolerance: float) -> list[Evidence]:
    """Return the same of masks, where the base finds any and the images are labelled with them."""
    has = {name: all(found.masks is not None for found in side.detections) for name, side in trial.sides()}
    if not (labelled.masks and has["base"] and has["control"]):
        return []
    if not has["head"]:
        detail = "the base finds masks, and here there are none"
        return [Evidence("accuracy", f"{MASK}AP", trial.variant, Verdict.MISSING, detail=detail)]
    return _average_precision(trial, labelled, alpha, tolerance, masks=True)


def _average_precision(
    trial: Trial, labelled: Labelled, alpha: float, tolerance: float, *, masks: bool = False
) -> list[Evidence]:
    from detq.metrics.coco import coco_evaluate

    truths, classes = labelled.truths or (), labelled.classes
    before, prefix = trial.base.detections, MASK if masks else ""
    now = coco_evaluate(trial.head.detections, truths, classes, masks=masks)
    differences = paired_ap_difference(
        before, trial.head.detections, truths, classes, masks=masks, replicates=REPLICATES
    )
    noise = paired_ap_difference(before, trial.control.detections, truths, classes, masks=masks, replicates=1)
    found = []
    for figure in AP_FIGURES:
        name = f"{prefix}{figure}"
        interval, floor, value = differences[figure], noise[figure], getattr(now, figure)
        if interval is None or floor is None or value is None:
            detail = "no image has an object to find: accuracy is not judged"
            found.append(Evidence("accuracy", name, trial.variant, Verdict.INCONCLUSIVE, detail=detail))
        else:
            found.append(accuracy_evidence(trial.variant, name, value, interval, abs(floor.estimate), alpha, tolerance))
    return found


def _report(trial: Trial, labelled: Labelled, alpha: float, tolerance: float) -> list[Evidence]:
    chosen = choose_report_class(labelled.classes)
    if chosen is None or not labelled.truths:
        return []
    label = labelled.classes.index(chosen)
    rows = {name: dataset_metrics(side.detections, labelled.truths, label) for name, side in trial.sides()}
    found = []
    for column, name in enumerate(METRICS):
        head, base, control = (rows[side][:, column] for side in ("head", "base", "control"))
        interval = paired_difference(base, head, replicates=REPLICATES)
        floor = abs(float((control - base).mean()))
        found.append(accuracy_evidence(trial.variant, name, float(head.mean()), interval, floor, alpha, tolerance))
    return found


def _kept(trial: Trial, reference: Sequence[Detections], alpha: float, tolerance: float) -> Evidence | None:
    """Compare the shares of the base's fp32 detections that the two sides find; None where there are none at all."""
    counted = [kept_by_image(reference, side.detections) for side in (trial.base, trial.head, trial.control)]
    base, head, control = (np.asarray(kept, np.float64) for _, kept in counted)
    total = np.asarray(counted[0][0], np.float64)
    if not total.sum():
        return None
    interval = paired_share_difference((base, total), (head, total), replicates=REPLICATES)
    floor = abs(float((control - base).sum() / total.sum()))
    now = float(head.sum() / total.sum())
    return accuracy_evidence(trial.variant, KEPT, now, interval, floor, alpha, tolerance)


def accuracy_evidence(  # noqa: PLR0917  # read at few places
    variant: str,
    name: str,
    now: float,
    interval: Interval,
    floor: float,
    alpha: float,
    tolerance: float,
    *,
    more: str = "give it more --images",
) -> Evidence:
    """Turn head − base, with its 95 % interval, into evidence, where falling is what is worse.

    Args:
        variant: id.
        name: the figure.
        now: head's.
        interval: of head − base.
        floor: how far two processes of the base's own code differed.
        alpha: the probability with which the interval may miss.
        tolerance: how much the figure may fall.
        more: what may decide what is not decided.
    """
    # What floating point makes of sums over the same images is no change.
    estimate, low, high = (round(value, 9) for value in (interval.estimate, interval.low, interval.high))
    low, high = widen_to(estimate, min(low, estimate), max(high, estimate), alpha)
    change, worst, best = 0.0 - estimate, 0.0 - (low - floor), 0.0 - (high + floor)
    verdict = decide(change, best, worst, tolerance)
    detail = ""
    if verdict is Verdict.REGRESSION:
        detail = f"{name} {now - estimate:.4f} → {now:.4f}, interval of the fall {best:+.4f} to {worst:+.4f}"
    elif verdict is Verdict.INCONCLUSIVE:
        detail = f"{name} {now - estimate:.4f} → {now:.4f}: too few images to tell chance from loss; {more}"
    return Evidence(
        "accuracy", name, variant, verdict, now, now - estimate, change, tolerance, detail, low=best, high=worst
    )
