"""Annotations of photos that EXIF turns, when they were made on the pixels as stored in the file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from detq.datasets.annotations import Annotation, Points
from detq.datasets.outlines import decode_outline, encode_mask
from detq.errors import DataError

__all__ = ["frame_of", "turn_annotation", "turn_masks", "turn_points"]

Size = tuple[int, int]


def frame_of(stated: Size | None, upright: Size, stored: Size, where: str) -> Size:
    """Return the (width, height) of the frame that annotations are in: the upright image's, or the stored pixels'.

    Args:
        stated: what the annotation file says; None or zeros where it does not.
        upright: the image's size as people see it.
        stored: its size before EXIF rotation.
        where: the words that say where it stands, for messages.

    Raises:
        DataError: the file states another size.
    """
    if stated is None or 0 in stated:
        return upright
    if stated in (upright, stored):
        return stated
    raise DataError(
        f"{where}: expected the file's {upright[0]} × {upright[1]} pixels, found width {stated[0]} and height "
        f"{stated[1]}; scale the boxes with the images, or restore the images annotated"
    )


def turn_annotation(annotation: Annotation, stored: Size, orientation: int) -> Annotation:
    """Return an annotation of the stored pixels in the frame of the upright image.

    Args:
        annotation: in the frame of the pixels as stored.
        stored: (width, height) of the stored pixels.
        orientation: EXIF orientation, 1 to 8 (source: Exif 2.32, tag 274).
    """
    box, runs = annotation.box, annotation.runs
    if box is not None:
        (x1, y1), (x2, y2) = turn_points(np.asarray(box, np.float64).reshape(2, 2), stored, orientation).tolist()
        box = (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))
    if runs is not None:
        runs = encode_mask(turn_masks(decode_outline(annotation, stored)[None], orientation)[0])
    polygons = tuple(turn_points(points, stored, orientation) for points in annotation.polygons)
    return replace(annotation, box=box, runs=runs, polygons=polygons)


def turn_points(points: Points, stored: Size, orientation: int) -> Points:
    """Return points `(N, 2)` of the stored pixels in the frame of the upright image."""
    x, y = points.T
    if orientation in (2, 3, 7, 8):
        x = stored[0] - x
    if orientation in (3, 4, 6, 7):
        y = stored[1] - y
    return np.column_stack([y, x] if orientation >= 5 else [x, y])


def turn_masks(masks: NDArray[np.bool_], orientation: int) -> NDArray[np.bool_]:
    """Return masks `(N, height, width)` turned upright for the EXIF orientations 5 to 8."""
    turned = masks.transpose(0, 2, 1)
    turned = turned[:, :, ::-1] if orientation in (6, 7) else turned
    return turned[:, ::-1] if orientation in (7, 8) else turned
