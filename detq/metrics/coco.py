"""COCO's AP and AR by faster-coco-eval, and how AP changes from one variant to another, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detq.masks import as_rle
from detq.metrics.bootstrap import Interval, draw_weights, percentile_interval
from detq.metrics.curves import AveragePrecisionPlan, average_precision_plan, average_precisions
from detq.metrics.overlap import mask_areas
from detq.types import Detections, GroundTruth

__all__ = [
    "AP_METRICS",
    "CocoResult",
    "average_precision",
    "coco_evaluate",
    "difference_of_plans",
    "paired_ap_difference",
]

AP_METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")


@dataclass(frozen=True)
class CocoResult:
    """COCO's twelve numbers for boxes or masks, each in [0, 1], or None where there is nothing to find.

    Attributes:
        AP: average precision, mean over IoU 0.50, 0.55, … 0.95 and over classes.
        AP50: at IoU 0.5.
        AP75: at IoU 0.75.
        APs: AP of objects below 32² px.
        APm: AP of objects from 32² to 96² px.
        APl: AP of objects above 96² px.
        AR1: average recall with one detection an image and class.
        AR10: with ten.
        AR100: with a hundred.
        ARs: AR100 of objects below 32² px.
        ARm: AR100 of objects from 32² to 96² px.
        ARl: AR100 of objects above 96² px.
    """

    AP: float | None
    AP50: float | None
    AP75: float | None
    APs: float | None
    APm: float | None
    APl: float | None
    AR1: float | None
    AR10: float | None
    AR100: float | None
    ARs: float | None
    ARm: float | None
    ARl: float | None


def coco_evaluate(
    detections: Sequence[Detections], truths: Sequence[GroundTruth], classes: Sequence[str], *, masks: bool = False
) -> CocoResult:
    """Return COCO's box metrics, or its mask metrics.

    Args:
        detections: one for each image, labels as indices into `classes`; the best 100 of each class count.
        truths: the same images in the same order.
        classes: the classes to evaluate; one without objects is left out of every mean, as COCO does.
        masks: compare masks instead of boxes (COCO's `iouType="segm"`). An object's size class is that of `areas_px`.

    Raises:
        ValueError: unequal lengths, or a label that is no index into `classes`.
    """
    _check(detections, truths, classes)
    if not any(len(truth) for truth in truths):
        return CocoResult(*[None] * 12)
    from faster_coco_eval import COCOeval_faster

    truth, found = _datasets(detections, truths, classes, masks=masks)
    evaluation = COCOeval_faster(truth, found, "segm" if masks else "bbox", print_function=_quiet)
    evaluation.evaluate()
    evaluation.accumulate()
    return _summary(
        np.asarray(evaluation.eval["precision"], np.float64), np.asarray(evaluation.eval["recall"], np.float64)
    )


def paired_ap_difference(
    reference: Sequence[Detections],
    candidate: Sequence[Detections],
    truths: Sequence[GroundTruth],
    classes: Sequence[str],
    *,
    masks: bool = False,
    replicates: int = 1000,
    seed: int = 0,
) -> dict[str, Interval | None]:
    """Return candidate − reference of each of `AP_METRICS` with its 95 % interval; None where nothing is to be found.

    Images are drawn with replacement, both variants on the same draw. An image drawn twice counts twice.

    Args:
        reference: detections of the variant to compare with, one for each image.
        candidate: detections of the other variant.
        truths: the same images in the same order.
        classes: the classes to evaluate.
        masks: compare masks instead of boxes.
        replicates: number of draws.
        seed: decides the draws.

    Raises:
        ValueError: unequal lengths, or a label that is no index into `classes`.
    """
    plans = []
    for detections in (reference, candidate):
        _check(detections, truths, classes)
        plans.append(average_precision_plan(detections, truths, len(classes), masks=masks))
    return difference_of_plans(plans[0], plans[1], replicates=replicates, seed=seed)


def difference_of_plans(
    reference: AveragePrecisionPlan, candidate: AveragePrecisionPlan, *, replicates: int = 1000, seed: int = 0
) -> dict[str, Interval | None]:
    """Return the same of images that were matched before; without size classes of AP, AP50 and AP75 alone."""
    images = len(reference.truths)

    def difference(weights: NDArray[np.int64]) -> NDArray[np.float64]:
        before, after = (_average(average_precisions(plan, weights)) for plan in (reference, candidate))
        return after - before

    estimate = difference(np.ones(images, np.int64))
    if not images or np.isnan(estimate).all():
        return dict.fromkeys(AP_METRICS)
    draws = np.stack([difference(weights) for weights in draw_weights(images, replicates, seed)])
    return {
        name: None if np.isnan(value) else percentile_interval(value, draws[:, column])
        for column, (name, value) in enumerate(zip(AP_METRICS, estimate, strict=False))
    }


def average_precision(plan: AveragePrecisionPlan) -> dict[str, float | None]:
    """Return `AP_METRICS` of a plan's images, as far as it has size classes; None where nothing is to be found."""
    values = _average(average_precisions(plan, np.ones(len(plan.truths), np.int64)))
    return {name: None if np.isnan(value) else float(value) for name, value in zip(AP_METRICS, values, strict=False)}


def _check(detections: Sequence[Detections], truths: Sequence[GroundTruth], classes: Sequence[str]) -> None:
    if len(detections) != len(truths):
        raise ValueError(f"detections must be one for each of {len(truths)} images, got {len(detections)}")
    items: list[Detections | GroundTruth] = [*detections, *truths]
    for item in items:
        if len(item) and not 0 <= item.labels.min() <= item.labels.max() < len(classes):
            raise ValueError(f"labels must be indices into {len(classes)} classes, got {item.labels}")


def _datasets(
    detections: Sequence[Detections], truths: Sequence[GroundTruth], classes: Sequence[str], *, masks: bool
) -> list[Any]:
    from faster_coco_eval import COCO

    annotations: list[list[dict[str, Any]]] = [[], []]
    for image, (found, truth) in enumerate(zip(detections, truths, strict=True), start=1):
        rows = zip(_xywh(truth), truth.labels.tolist(), truth.areas_px.tolist(), truth.crowd.tolist(), strict=True)
        annotations[0] += [
            {"image_id": image, "category_id": label + 1, "bbox": box, "area": area, "iscrowd": int(crowd)}
            for box, label, area, crowd in rows
        ]
        scored = zip(_xywh(found), found.labels.tolist(), found.scores.tolist(), strict=True)
        annotations[1] += [
            {"image_id": image, "category_id": label + 1, "bbox": box, "area": box[2] * box[3], "score": score}
            for box, label, score in scored
        ]
        if masks:
            _add_masks(annotations[0], truth)
            _add_masks(annotations[1], found)
            for row, area in zip(_last(annotations[1], found), mask_areas(found).tolist(), strict=True):
                row["area"] = area
    # The library asks for an image's size where it compares masks.
    sizes = [_size(*pair) if masks else {} for pair in zip(detections, truths, strict=True)]
    result = []
    for rows_of in annotations:
        data = COCO(print_function=_quiet)
        # Ids start at 1: in the library 0 also means "unmatched".
        data.dataset = {
            "images": [{"id": image, **size} for image, size in enumerate(sizes, start=1)],
            "categories": [{"id": label, "name": name} for label, name in enumerate(classes, start=1)],
            "annotations": [{"id": number, **row} for number, row in enumerate(rows_of, start=1)],
        }
        data.createIndex()
        result.append(data)
    return result


def _add_masks(rows: list[dict[str, Any]], item: Detections | GroundTruth) -> None:
    runs = [] if item.masks is None else as_rle(item.masks)
    for row, rle in zip(_last(rows, item), runs, strict=True):
        row["segmentation"] = rle


def _last(rows: list[dict[str, Any]], item: Detections | GroundTruth) -> list[dict[str, Any]]:
    return rows[len(rows) - len(item) :]


def _size(found: Detections, truth: GroundTruth) -> dict[str, int]:
    runs = [rle for item in (found, truth) if item.masks is not None for rle in as_rle(item.masks[:1])]
    height, width = runs[0]["size"] if runs else (0, 0)
    return {"height": height, "width": width}


def _xywh(found: Detections | GroundTruth) -> list[list[float]]:
    # In float64, where the difference of two float32 coordinates is exact.
    corners = found.boxes.astype(np.float64)
    rows: list[list[float]] = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1).tolist()
    return rows


def _summary(precision: NDArray[np.float64], recall: NDArray[np.float64]) -> CocoResult:
    """Average arrays of shape (T, R, K, A, M) and (T, K, A, M), in which -1 stands for undefined."""
    curves = precision[..., -1]
    return CocoResult(
        AP=_mean(curves[..., 0]),
        AP50=_mean(curves[0, ..., 0]),
        AP75=_mean(curves[5, ..., 0]),
        APs=_mean(curves[..., 1]),
        APm=_mean(curves[..., 2]),
        APl=_mean(curves[..., 3]),
        AR1=_mean(recall[..., 0, 0]),
        AR10=_mean(recall[..., 0, 1]),
        AR100=_mean(recall[..., 0, 2]),
        ARs=_mean(recall[..., 1, 2]),
        ARm=_mean(recall[..., 2, 2]),
        ARl=_mean(recall[..., 3, 2]),
    )


def _mean(values: NDArray[np.float64]) -> float | None:
    defined = values[values > -1]
    return float(defined.mean()) if defined.size else None


def _average(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the six `AP_METRICS`, three for one size class, of precisions of shape (T, K, A); NaN where undefined."""
    # Whether a class has objects of a size does not depend on the threshold, so a mean of means is the mean.
    defined = ~np.isnan(cells)
    sums, counts = np.where(defined, cells, 0.0).sum(axis=1), defined.sum(axis=1)
    levels = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
    mean = levels.mean(axis=0)
    return np.asarray([mean[0], levels[0, 0], levels[5, 0], *mean[1:]])


def _quiet(*_: object) -> None:
    """Take the place of the library's print function."""
