"""What annotation files say about one object, as vectors: what readers read and `detq convert` writes."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from detq.errors import DataError

__all__ = ["Annotation", "Found", "Points", "as_points", "bounds", "is_finite", "read_each", "shoelace_px"]

Points = NDArray[np.float64]
"""`(N, 2)`, x and y in pixels of the upright image."""


@dataclass(frozen=True, eq=False)
class Annotation:
    """One object as its file describes it, not yet checked against the image.

    It has polygons, or runs, or a box alone.

    Attributes:
        category: what the file calls its class.
        label: index into the data set's `classes`, or -1 for a class that the class map leaves out.
        where: the words that say where it stands, for messages.
        box: x_min, y_min, x_max, y_max in pixels of the upright image; None where the shape says it.
        polygons: the parts of the outline.
        redrawn: what each part was that was drawn as something else than a polygon, see `detq.datasets.shapes.REDRAWN`.
        runs: COCO's run lengths, `{"size": [height, width], "counts": …}`.
        crowd: COCO's `iscrowd`.
        area_px: the area that the file states.
        number: the id that the file states.
        extra: whatever else the file says about it, under COCO's names; free attributes under "attributes".
    """

    category: str
    label: int
    where: str
    box: tuple[float, float, float, float] | None = None
    polygons: tuple[Points, ...] = ()
    redrawn: tuple[str, ...] = ()
    runs: Mapping[str, Any] | None = None
    crowd: bool = False
    area_px: float | None = None
    number: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


Found = Annotation | DataError
"""An annotation, or the sentence that says why it is none."""


def read_each(entries: Iterable[Any], read: Callable[[Any], Annotation]) -> list[Found]:
    """Return `read` of each entry, or what it raised, so that one bad entry does not hide the others."""
    found: list[Found] = []
    for entry in entries:
        try:
            found.append(read(entry))
        except DataError as error:
            found.append(error)
    return found


def is_finite(value: object) -> TypeGuard[float]:
    """Return whether `value` is a finite number of JSON's."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number of more than 308 digits
        return False


def as_points(xs: Sequence[Any], ys: Sequence[Any], where: str) -> Points:
    """Return points from their coordinates.

    Raises:
        DataError: they are not finite numbers, or not as many x as y.
    """
    if len(xs) != len(ys):
        raise DataError(f"{where}: expected as many x as y, found {len(xs)} and {len(ys)}; correct the annotation")
    if {*map(type, xs), *map(type, ys)} <= {int, float}:
        with contextlib.suppress(OverflowError):  # a whole number of more than 308 digits
            points = np.asarray([xs, ys], np.float64).T
            if np.isfinite(points).all():
                return points
    wrong = next(value for value in (*xs, *ys) if not is_finite(value))
    raise DataError(f"{where}: expected finite numbers for points, found {wrong!r:.40}; correct the annotation")


def bounds(polygons: Sequence[Points]) -> tuple[float, float, float, float]:
    """Return x_min, y_min, x_max, y_max of polygons, of which there is at least one point."""
    points = np.concatenate(polygons)
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    return float(left), float(top), float(right), float(bottom)


def shoelace_px(polygon: Points) -> float:
    """Return the area inside a polygon that does not cross itself, by the shoelace formula."""
    if not len(polygon):
        return 0.0
    x, y = (polygon - polygon[0]).T  # near the origin, so that large coordinates cost no digits
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2
