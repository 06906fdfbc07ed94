"""The box, the area and the pixels of an annotation's outline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detq.datasets.annotations import Annotation, Points, as_points, bounds, shoelace_px
from detq.datasets.coco_masks import decode_segmentation
from detq.errors import DataError

__all__ = [
    "Box",
    "decode_outline",
    "encode_mask",
    "mask_box",
    "measure",
    "open_ring",
    "parse_segmentation",
    "polygon",
    "segmentation_of",
]

Box = tuple[float, float, float, float]


def measure(annotation: Annotation, size: tuple[int, int]) -> tuple[Box, float]:
    """Return an annotation's box around its shape, x_min, y_min, x_max, y_max, and its area in pixels.

    Raises:
        DataError: it has no shape, or run lengths that do not fit the image.
    """
    if annotation.runs is not None:
        mask = decode_outline(annotation, size)
        return mask_box(mask), float(np.count_nonzero(mask))
    if annotation.polygons:
        return bounds(annotation.polygons), sum(map(shoelace_px, annotation.polygons))
    if annotation.box is None:
        raise DataError(f"{annotation.where}: expected a shape, found none; correct the annotation")
    left, top, right, bottom = annotation.box
    return annotation.box, (right - left) * (bottom - top)


def decode_outline(annotation: Annotation, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return an annotation's pixels, bool `(height, width)`.

    Raises:
        DataError: it is a box alone, or its shape does not fit the image.
    """
    return decode_segmentation(segmentation_of(annotation), size, annotation.where)


def segmentation_of(annotation: Annotation) -> list[list[float]] | dict[str, Any]:
    """Return an annotation's shape as COCO writes it; a box alone is an empty list."""
    if annotation.runs is not None:
        return dict(annotation.runs)
    return [points.ravel().tolist() for points in annotation.polygons]


def encode_mask(mask: NDArray[np.bool_]) -> Mapping[str, Any]:
    """Return a mask, bool `(height, width)`, as COCO's compressed run lengths."""
    from faster_coco_eval.core import mask as coco_mask

    runs = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    counts = runs["counts"]
    return {
        "size": [int(side) for side in mask.shape],
        "counts": counts.decode() if isinstance(counts, bytes) else counts,
    }


def mask_box(mask: NDArray[np.bool_]) -> Box:
    """Return the box around a mask's pixels; zeros for an empty mask."""
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (float(xs[0]), float(ys[0]), float(xs[-1] + 1), float(ys[-1] + 1)) if len(xs) else (0.0, 0.0, 0.0, 0.0)


def open_ring(points: Points) -> Points:
    """Return a polygon without points that repeat the one before, and without the one that closes it."""
    if not len(points):
        return points
    return points[np.any(points != np.roll(points, -1, axis=0), axis=1)] if len(points) > 1 else points


def polygon(points: Points, where: str) -> Points:
    """Return `points` if they make a polygon; it may close itself or not, and may cross itself.

    Raises:
        DataError: there are fewer than three different points.
    """
    if len(points):
        others = points[np.any(points != points[0], axis=1)]
        if len(others) and bool(np.any(others != others[0])):  # a third point, neither the first nor the second
            return points
    raise DataError(
        f"{where}: expected a polygon of at least 3 different points, found {len(np.unique(points, axis=0))} among "
        f"{_show(points)}; draw it again, or leave it out with --skip-invalid"
    )


def parse_segmentation(segmentation: Any, where: str) -> tuple[tuple[Points, ...], Mapping[str, Any] | None]:
    """Return COCO's `segmentation` as polygons or run lengths; neither for a box alone.

    Raises:
        DataError: it is neither polygons nor run lengths; run lengths are looked into when they are decoded.
    """
    if segmentation is None or segmentation == []:
        return (), None
    if isinstance(segmentation, dict):
        return (), segmentation
    if not isinstance(segmentation, list) or not all(isinstance(part, list) for part in segmentation):
        raise DataError(
            f"{where}: expected segmentation to be a list of polygons [x1, y1, x2, y2, …] or run lengths, found "
            f"{segmentation!r:.60}; correct the annotation"
        )
    return tuple(polygon(as_points(part[::2], part[1::2], where), where) for part in segmentation), None


def _show(points: Sequence[Any] | Points) -> str:
    shown = " ".join(f"({x:.6g}, {y:.6g})" for x, y in points[:4])
    return f"{len(points)} points {shown}{' …' if len(points) > 4 else ''}".strip()
