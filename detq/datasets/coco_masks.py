"""COCO's segmentations, polygons and run lengths, as boolean masks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from detq.errors import DataError
from detq.masks.runs import run_lengths, unroll

__all__ = ["decode_segmentation"]

Mask = NDArray[np.bool_]


def decode_segmentation(segmentation: Any, size: tuple[int, int], where: str) -> Mask:
    """Return a segmentation as a mask, bool `(height, width)`.

    Polygons are filled by COCO's own rule (faster-coco-eval's `frPyObjects`); run lengths, as lists or in COCO's
    compressed text, are unrolled column by column (source: cocoapi, `maskApi.c`).

    Args:
        segmentation: a list of polygons `[x1, y1, x2, y2, …]`, or `{"size": [height, width], "counts": …}`.
        size: (width, height) of the image that the annotation is for.
        where: the words that say where it stands, for messages.

    Raises:
        DataError: it is neither, or does not fit the image.
    """
    width, height = size
    if isinstance(segmentation, list) and segmentation:
        return _from_polygons(segmentation, width, height, where)
    if isinstance(segmentation, dict):
        return _from_runs(segmentation, width, height, where)
    raise DataError(
        f"{where}: expected a segmentation of polygons or run lengths for masks, found {segmentation!r:.80}; "
        "export the masks, or choose a model without masks"
    )


def _from_polygons(polygons: list[Any], width: int, height: int, where: str) -> Mask:
    from faster_coco_eval.core import mask as coco_mask

    for polygon in polygons:
        numbers = isinstance(polygon, list) and all(type(value) in (int, float) for value in polygon)
        if not numbers or len(polygon) < 6 or len(polygon) % 2 or not np.isfinite(polygon).all():
            raise DataError(
                f"{where}: expected polygons of at least 3 points x, y, found {polygon!r:.80}; correct the annotation"
            )
    # Far outside, the fill rule's 32-bit integers would overflow.
    limit = float(10 * max(width, height))
    near = [np.clip(polygon, -limit, limit).tolist() for polygon in polygons]
    runs = coco_mask.merge(coco_mask.frPyObjects(near, height, width))
    return np.asarray(coco_mask.decode(runs), np.bool_)


def _from_runs(segmentation: dict[str, Any], width: int, height: int, where: str) -> Mask:
    counts = segmentation.get("counts")
    runs = run_lengths(counts) if isinstance(counts, str) else counts if isinstance(counts, list) else [-1]
    valid = all(type(run) is int and run >= 0 for run in runs)
    if not valid or segmentation.get("size") != [height, width] or sum(runs) != width * height:
        raise DataError(
            f"{where}: expected run lengths for an image of {width} × {height} pixels, found size "
            f"{segmentation.get('size')!r:.40} and counts {counts!r:.40}; correct the annotation"
        )
    return unroll(runs, (height, width))
