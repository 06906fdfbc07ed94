"""One annotation made to fit its image: closed outlines opened, clipped, measured; or the reason why it is left out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from detq.convert.clipping import clip_polygon, filled_area_px, meets_itself
from detq.datasets.annotations import Annotation, Points, bounds, shoelace_px
from detq.datasets.geometry import fit_boxes
from detq.datasets.outlines import Box, decode_outline, encode_mask, mask_box, open_ring, polygon
from detq.errors import DataError

__all__ = ["CHANGES", "MEASURED_CHANGES", "NAMED_CHANGES", "Fit", "fit"]

OPENED = "polygons that closed themselves or repeated a point: the repeated points left out"
CLIPPED = "clipped to the image"
NUDGED = "moved to the border, at most 1 px or 0.1 % outside"
CROSSING = "polygons that cross themselves or overlap: area counted in an enlarged picture"
AREA = "area measured: the file's differed by more than 1 %"
BOX = "box drawn around the shape: the file's differed by more than 1 px"
CHANGES = (OPENED, CLIPPED, NUDGED, CROSSING, AREA, BOX)
"""What may happen to an annotation that is kept."""
NAMED_CHANGES = (CLIPPED, CROSSING, BOX)
"""Those that a user may want to look at, place by place."""
MEASURED_CHANGES = (CROSSING, AREA, BOX)
"""Those that show only in a format with areas and boxes beside the shapes."""

_NO_PIXEL = "covers no pixel"
_NO_AREA = "box without an area"
_SLACK_PX, _SLACK_SHARE = 1.0, 0.001

# How far an area by the formula and one counted in an enlarged picture may lie apart.
_SAME_AREA = 0.02

Size = tuple[int, int]


@dataclass(frozen=True)
class Fit:
    """What became of an annotation.

    Attributes:
        annotation: with box and area, inside the image; None for one that is left out.
        reason: why it is left out.
        changes: some of `CHANGES`.
    """

    annotation: Annotation | None
    reason: str = ""
    changes: tuple[str, ...] = ()


def fit(annotation: Annotation, size: Size) -> Fit:
    """Return an annotation with box and area, its shape inside the image.

    The box is the one around the shape, the area the shape's: by the shoelace formula for polygons that do not cross
    themselves, counted by COCO's fill rule for others and for run lengths. A box without a shape stays as it is.

    Args:
        annotation: as read.
        size: (width, height) of the upright image in pixels.

    Raises:
        DataError: it lies outside the image, or is no shape.
    """
    if annotation.runs is not None:
        return _fit_runs(annotation, size)
    return _fit_polygons(annotation, size) if annotation.polygons else _fit_box(annotation, size)


def _fit_runs(annotation: Annotation, size: Size) -> Fit:
    mask = decode_outline(annotation, size)
    if not mask.any():
        return Fit(None, _NO_PIXEL)
    fitted = replace(annotation, runs=encode_mask(mask))
    return _measured(annotation, fitted, mask_box(mask), float(np.count_nonzero(mask)), [])


def _fit_polygons(annotation: Annotation, size: Size) -> Fit:
    rings = [open_ring(polygon(points, annotation.where)) for points in annotation.polygons]
    changes = [OPENED] if any(len(a) != len(b) for a, b in zip(rings, annotation.polygons, strict=True)) else []
    beyond = _beyond(rings, size)
    if beyond > 0:
        rings = [ring for ring in (clip_polygon(ring, size) for ring in rings) if len(ring) >= 3]
        changes.append(NUDGED if beyond <= _slack(size) else CLIPPED)
    if not rings:
        raise _outside(annotation, bounds(annotation.polygons), size)
    if not _count_pixels(rings, size):
        return Fit(None, _NO_PIXEL)
    area, filled = sum(map(shoelace_px, rings)), filled_area_px(rings)
    # Most areas agree. Of the others only those of thin shapes are right; to find out which is slow.
    if abs(filled - area) > _SAME_AREA * filled and (len(rings) > 1 or meets_itself(rings[0])):
        area = filled
        changes += [] if _agrees(annotation.area_px, area) else [CROSSING]
    return _measured(annotation, replace(annotation, polygons=tuple(rings)), bounds(rings), area, changes)


def _fit_box(annotation: Annotation, size: Size) -> Fit:
    given = np.asarray(annotation.box, np.float64)
    left, top, right, bottom = (float(v) for v in np.clip(given, 0, [*size, *size]))
    if not np.isfinite(given).all() or right <= left or bottom <= top:
        fit_boxes(given, size, lambda _row: annotation.where, fix="correct or remove the annotation")
        return Fit(None, _NO_AREA)
    beyond = float(np.abs(given - (left, top, right, bottom)).max())
    if not beyond:
        area = annotation.area_px
        return Fit(replace(annotation, area_px=(right - left) * (bottom - top) if area is None else area))
    fitted = replace(annotation, box=(left, top, right, bottom), area_px=(right - left) * (bottom - top))
    return Fit(fitted, changes=(NUDGED if beyond <= _slack(size) else CLIPPED,))


def _measured(given: Annotation, fitted: Annotation, box: Box, area: float, changes: list[str]) -> Fit:
    if given.area_px is not None and not _agrees(given.area_px, area):
        changes.append(AREA)
    if given.box is not None and max(abs(a - b) for a, b in zip(given.box, box, strict=True)) > 1:
        changes.append(BOX)
    return Fit(replace(fitted, box=box, area_px=area), changes=tuple(changes))


def _agrees(stated: float | None, area: float) -> bool:
    return stated is not None and abs(stated - area) <= max(1.0, 0.01 * area)


def _beyond(rings: list[Points], size: Size) -> float:
    """Return by how many pixels points lie outside the image, 0 if none does."""
    points = np.concatenate(rings)
    return float(max(0.0, -points.min(), (points - size).max()))


def _slack(size: Size) -> float:
    return max(_SLACK_PX, _SLACK_SHARE * max(size))


def _count_pixels(rings: list[Points], size: Size) -> int:
    from faster_coco_eval.core import mask as coco_mask

    width, height = size
    runs = coco_mask.frPyObjects([ring.ravel().tolist() for ring in rings], height, width)
    return int(coco_mask.area(coco_mask.merge(runs)))


def _outside(annotation: Annotation, box: Box, size: Size) -> DataError:
    left, top, right, bottom = box
    return DataError(
        f"{annotation.where}: expected points inside the image of {size[0]} × {size[1]} pixels, found all of them "
        f"outside, x from {left:.6g} to {right:.6g} and y from {top:.6g} to {bottom:.6g}; is it another size of the "
        "image? Restore the images annotated, or leave such annotations out with --skip-invalid"
    )
