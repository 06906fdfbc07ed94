"""Box arithmetic in NumPy: areas, intersections, IoU, conversions.

Inside detq a set of boxes is always float32, shape `(N, 4)`, `xyxy`, in pixels of the upright image, `N = 0` included.
Other conventions (COCO's `xywh`, YOLO's normalized `cxcywh`) are converted at the file boundary by the functions here.
Coordinates are continuous: a box from 10 to 12 is 2 pixels wide (as in torchvision and COCO; no `+ 1`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "as_boxes",
    "box_area",
    "box_intersection",
    "box_iou",
    "clip_boxes",
    "cxcywhn_to_xyxy",
    "xywh_to_xyxy",
    "xyxy_to_xywh",
]

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


def as_boxes(boxes: ArrayLike) -> Floats:
    """Return `boxes` as a float32 array of shape `(N, 4)`; an empty sequence becomes `(0, 4)`.

    Raises:
        ValueError: any other shape.
    """
    array = np.asarray(boxes, dtype=np.float32)
    if array.size == 0:
        return np.zeros((0, 4), np.float32)
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"boxes must have shape (N, 4), got {array.shape}")
    return array


def box_area(boxes: ArrayLike) -> Doubles:
    """Return the area of each box in square pixels, float64 `(N,)`. Reversed corners count as area 0."""
    wide = as_boxes(boxes).astype(np.float64)
    sides = np.maximum(wide[:, 2:] - wide[:, :2], 0.0)
    return np.asarray(sides[:, 0] * sides[:, 1])


def box_intersection(a: ArrayLike, b: ArrayLike) -> Doubles:
    """Return the area in square pixels that every box in `a` shares with every box in `b`, float64 `(N, M)`."""
    first, second = as_boxes(a).astype(np.float64), as_boxes(b).astype(np.float64)
    top_left = np.maximum(first[:, None, :2], second[None, :, :2])
    bottom_right = np.minimum(first[:, None, 2:], second[None, :, 2:])
    sides = np.maximum(bottom_right - top_left, 0.0)
    return np.asarray(sides[..., 0] * sides[..., 1])


def box_iou(a: ArrayLike, b: ArrayLike) -> Doubles:
    """Return the intersection over union of every box in `a` with every box in `b`.

    Computed in float64, so that float32 extremes neither overflow nor cancel. Two boxes of zero area have IoU 0, also
    with themselves: there is nothing that they share.

    Args:
        a: boxes, xyxy, `(N, 4)`.
        b: boxes, xyxy, `(M, 4)`.

    Returns:
        float64 `(N, M)`, each value in [0, 1]; `(N, 0)` and `(0, M)` where a side is empty.
    """
    shared = box_intersection(a, b)
    union = box_area(a)[:, None] + box_area(b)[None, :] - shared
    # Not `shared / union`: where both areas are 0 that is 0 / 0. Rounding is monotonic, so nothing comes out above 1.
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def clip_boxes(boxes: ArrayLike, width: int, height: int) -> Floats:
    """Return `boxes` with every corner moved into an image of `width` × `height` pixels."""
    limits = np.asarray([width, height, width, height], np.float32)
    return np.asarray(np.clip(as_boxes(boxes), np.float32(0), limits))


def xywh_to_xyxy(boxes: ArrayLike) -> Floats:
    """Convert COCO's `x, y, width, height` (pixels) to xyxy."""
    array = as_boxes(boxes)
    return np.concatenate([array[:, :2], array[:, :2] + array[:, 2:]], axis=1)


def xyxy_to_xywh(boxes: ArrayLike) -> Floats:
    """Convert xyxy to COCO's `x, y, width, height` (pixels)."""
    array = as_boxes(boxes)
    return np.concatenate([array[:, :2], array[:, 2:] - array[:, :2]], axis=1)


def cxcywhn_to_xyxy(boxes: ArrayLike, width: int, height: int) -> Floats:
    """Convert YOLO's `cx, cy, w, h`, normalized to [0, 1], to xyxy in pixels of a `width` × `height` image."""
    array = as_boxes(boxes).astype(np.float64)
    centre, half = array[:, :2], array[:, 2:] / 2
    scale = np.asarray([width, height], np.float64)
    return np.concatenate([(centre - half) * scale, (centre + half) * scale], axis=1).astype(np.float32)
