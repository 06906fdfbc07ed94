"""How much detections overlap truths: by their boxes or by their masks, with COCO's rule for crowd regions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detq.boxes import as_boxes, box_area, box_intersection, box_iou
from detq.masks import Rle, as_rle
from detq.types import Detections, GroundTruth

__all__ = ["crowd_iou", "crowd_mask_iou", "have_masks", "mask_areas"]


def crowd_iou(boxes: NDArray[np.float32], truths: NDArray[np.float32], crowd: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return COCO's IoU, float64 `(N, M)`: with a crowd region it is the share of the *box* that lies in the region.

    Args:
        boxes: predictions, xyxy, `(N, 4)`.
        truths: xyxy, `(M, 4)`.
        crowd: bool `(M,)`.
    """
    ious = box_iou(boxes, truths)
    if crowd.any():
        areas = box_area(boxes)[:, None]
        shared = box_intersection(boxes, as_boxes(truths)[crowd])
        ious[:, crowd] = np.divide(shared, areas, out=np.zeros_like(shared), where=areas > 0)
    return ious


def crowd_mask_iou(found: Detections, truth: GroundTruth) -> NDArray[np.float64]:
    """Return COCO's IoU of masks, float64 `(N, M)`; with a crowd region it is the share of the prediction in it.

    Computed by faster-coco-eval from run lengths; no mask is decoded.

    Raises:
        ValueError: masks of images of different sizes.
    """
    if not len(found) or not len(truth):
        return np.zeros((len(found), len(truth)))
    from faster_coco_eval.core import mask as coco_mask

    if found.masks is None or truth.masks is None:
        raise ValueError("masks must be there on both sides")
    runs = as_rle(found.masks), as_rle(truth.masks)
    sizes = {tuple(rle["size"]) for rle in (*runs[0], *runs[1])}
    if len(sizes) > 1:
        raise ValueError(f"masks of one image must be of one size, got {sorted(sizes)}")
    return np.asarray(coco_mask.iou(*runs, truth.crowd.tolist()), np.float64).reshape(len(found), len(truth))


def mask_areas(found: Detections) -> NDArray[np.float64]:
    """Return the number of pixels of each mask, float64 `(N,)`."""
    runs: Sequence[Rle] = [] if found.masks is None else as_rle(found.masks)
    if not runs:
        return np.zeros(0)
    from faster_coco_eval.core import mask as coco_mask

    return np.asarray(coco_mask.area(runs), np.float64)


def have_masks(items: Sequence[Detections] | Sequence[GroundTruth]) -> bool:
    """Return whether there are masks, and no image has objects without."""
    return any(item.masks is not None for item in items) and all(item.masks is not None for item in items if len(item))
