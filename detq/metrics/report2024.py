"""The four metrics of the 2024 car report, exactly as it computed them, quirks included.

For one image, take the IoU of every prediction with every ground truth box. Then

* prediction IoU: the mean over predictions of their largest IoU;
* ground truth IoU: the mean over ground truths of their largest IoU;
* precision: the share of predictions whose largest IoU is at least 0.65;
* recall: the number of those predictions, divided by the number of ground truths.

Two predictions of one car both count, so **recall can exceed 1**; `matching.precision_recall_f1` is the one-to-one
version. Images are averaged with equal weight, whatever they hold.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from detq.boxes import as_boxes, box_iou
from detq.types import Detections, GroundTruth

__all__ = ["IOU_THRESHOLD", "METRICS", "SCORE_THRESHOLD", "dataset_metrics", "image_metrics"]

METRICS = ("prediction_iou", "ground_truth_iou", "precision", "recall")
SCORE_THRESHOLD = 0.7
IOU_THRESHOLD = 0.65

_BOTH_EMPTY = (1.0, 1.0, 1.0, 1.0)
_NO_PREDICTIONS = (0.0, 0.0, 1.0, 0.0)
_NO_GROUND_TRUTH = (0.0, 0.0, 0.0, 1.0)


def image_metrics(
    predictions: ArrayLike, truths: ArrayLike, iou_threshold: float = IOU_THRESHOLD
) -> NDArray[np.float64]:
    """Return the four `METRICS` of one image, float64 `(4,)`.

    Without predictions and without ground truth all are 1; without predictions alone they are 0, 0, 1, 0; without
    ground truth alone 0, 0, 0, 1.

    Args:
        predictions: boxes above the score threshold, xyxy, `(N, 4)`.
        truths: boxes, xyxy, `(M, 4)`.
        iou_threshold: least IoU of a true positive, in [0, 1].

    Returns:
        The first three in [0, 1], recall in [0, N / M].
    """
    found, truth = as_boxes(predictions), as_boxes(truths)
    if not len(found) or not len(truth):
        empty = _BOTH_EMPTY if len(found) == len(truth) else _NO_GROUND_TRUTH if len(found) else _NO_PREDICTIONS
        return np.asarray(empty)
    ious = box_iou(found, truth)
    best = ious.max(axis=1)
    hits = np.count_nonzero(best >= iou_threshold)
    return np.asarray([best.mean(), ious.max(axis=0).mean(), hits / len(found), hits / len(truth)])


def dataset_metrics(
    detections: Sequence[Detections],
    truths: Sequence[GroundTruth],
    label: int,
    *,
    score: float = SCORE_THRESHOLD,
    iou: float = IOU_THRESHOLD,
) -> NDArray[np.float64]:
    """Return the four `METRICS` of every image, float64 `(images, 4)`; the report's numbers are the column means.

    Crowd regions are no single objects and are left out of the ground truth.

    Args:
        detections: one for each image.
        truths: the same images in the same order.
        label: the one class that counts.
        score: least score of a prediction, in [0, 1].
        iou: least IoU of a true positive, in [0, 1].
    """
    rows = [
        image_metrics(
            found.boxes[(found.labels == label) & (found.scores >= score)],
            truth.boxes[(truth.labels == label) & ~truth.crowd],
            iou,
        )
        for found, truth in zip(detections, truths, strict=True)
    ]
    return np.asarray(rows, np.float64).reshape(-1, len(METRICS))
