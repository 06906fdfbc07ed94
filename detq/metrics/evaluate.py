"""Every accuracy figure of a comparison in one JSON-ready dictionary: what `detq run` stores and `detq eval` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detq.errors import unknown_name
from detq.metrics import report2024
from detq.metrics.bootstrap import Interval, paired_difference
from detq.metrics.coco import AP_METRICS, coco_evaluate, paired_ap_difference
from detq.metrics.matching import MatchingScores, precision_recall_f1
from detq.metrics.overlap import have_masks
from detq.types import Detections, GroundTruth

__all__ = ["DIFFERENCE_METRICS", "MASK_METRICS", "choose_report_class", "evaluate"]

MASK_METRICS = tuple(f"mask_{name}" for name in AP_METRICS)
"""The differences of mask AP, where there is any."""

DIFFERENCE_METRICS = (*report2024.METRICS, *AP_METRICS)


def choose_report_class(classes: Sequence[str], wanted: str | None = None) -> str | None:
    """Return the one class that the report's metrics are about: `wanted`, else "car", else the only class.

    Returns:
        None where there are several classes, none of them "car", and nothing was asked for.

    Raises:
        UnknownNameError: `wanted` is no class.
    """
    if wanted is not None:
        if wanted not in classes:
            raise unknown_name("class", wanted, classes)
        return wanted
    if "car" in classes:
        return "car"
    return classes[0] if len(classes) == 1 else None


def evaluate(
    predictions: Mapping[str, Sequence[Detections]],
    truths: Sequence[GroundTruth],
    classes: Sequence[str],
    *,
    reference: str | None = "fp32",
    score: float = report2024.SCORE_THRESHOLD,
    iou: float = report2024.IOU_THRESHOLD,
    report_class: str | None = None,
    replicates: int = 1000,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Return the accuracy of each variant, and how it differs from the reference's.

    Args:
        predictions: for each variant one `Detections` for each image, labels as indices into `classes`.
        truths: the same images in the same order.
        classes: the classes to evaluate.
        reference: the variant that the others are compared with; without it there are no differences.
        score: least score for the report's metrics and the matching, in [0, 1]. AP takes all detections.
        iou: least IoU for the same, in [0, 1].
        report_class: the class of the report's metrics; see `choose_report_class`.
        replicates: bootstrap draws for each difference.
        seed: decides the draws.

    Returns:
        For each variant, ready for JSON:

        * "images": their number;
        * "report_class": a name, or None where no class was chosen;
        * "report": value of each of the report's metrics, None without a class or without images;
        * "coco": value of each field of `CocoResult`, None where undefined;
        * "masks": the same for masks; None where the variant or the truths have none;
        * "matching": the thresholds, counts, precision, recall and f1 over all classes;
        * "difference": for each of `DIFFERENCE_METRICS`, and of `MASK_METRICS` where there are masks, "estimate",
          "low", "high" of variant − reference, or None where undefined; the whole of it None for the reference itself,
          or without one.

    Raises:
        UnknownNameError: `report_class` is no class.
        ValueError: a variant has another number of images, or labels outside `classes`.
    """
    chosen = choose_report_class(classes, report_class)
    result: dict[str, dict[str, Any]] = {}
    images: dict[str, NDArray[np.float64]] = {}
    masked = _with_masks(predictions, truths)
    for variant, found in predictions.items():
        coco = coco_evaluate(found, truths, classes)
        if chosen is not None and truths:
            images[variant] = report2024.dataset_metrics(
                found, truths, list(classes).index(chosen), score=score, iou=iou
            )
        result[variant] = {
            "images": len(truths),
            "report_class": chosen,
            "report": _means(images.get(variant)),
            "coco": asdict(coco),
            "masks": asdict(coco_evaluate(found, truths, classes, masks=True)) if variant in masked else None,
            "matching": _matching(precision_recall_f1(found, truths, score=score, iou=iou), score, iou),
            "difference": None,
        }
    for variant, entry in result.items():
        if reference in result and variant != reference:
            pair = predictions[reference], predictions[variant]
            ap = paired_ap_difference(*pair, truths, classes, replicates=replicates, seed=seed)
            if {reference, variant} <= masked:
                of_masks = paired_ap_difference(*pair, truths, classes, masks=True, replicates=replicates, seed=seed)
                ap |= {f"mask_{name}": found for name, found in of_masks.items()}
            report = _report_differences(images.get(reference), images.get(variant), replicates, seed)
            entry["difference"] = {
                name: None if found is None else asdict(found) for name, found in (report | ap).items()
            }
    return result


def _with_masks(predictions: Mapping[str, Sequence[Detections]], truths: Sequence[GroundTruth]) -> frozenset[str]:
    """Return the variants whose masks can be judged; one that found nothing is among them if another one is."""
    if not have_masks(truths):
        return frozenset()
    known = {variant for variant, found in predictions.items() if have_masks(found)}
    silent = {variant for variant, found in predictions.items() if not any(map(len, found))}
    return frozenset(known | silent if known else ())


def _means(images: NDArray[np.float64] | None) -> dict[str, float | None]:
    if images is None:
        return dict.fromkeys(report2024.METRICS)
    return dict(zip(report2024.METRICS, images.mean(axis=0).tolist(), strict=True))


def _matching(scores: MatchingScores, score: float, iou: float) -> dict[str, float | int | None]:
    quality = {"precision": scores.precision, "recall": scores.recall, "f1": scores.f1}
    return {"score": score, "iou": iou, **asdict(scores), **quality}


def _report_differences(
    reference: NDArray[np.float64] | None, variant: NDArray[np.float64] | None, replicates: int, seed: int
) -> dict[str, Interval | None]:
    if reference is None or variant is None:
        return dict.fromkeys(report2024.METRICS)
    return {
        name: paired_difference(reference[:, column], variant[:, column], replicates=replicates, seed=seed)
        for column, name in enumerate(report2024.METRICS)
    }
