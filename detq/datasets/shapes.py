"""Shapes that labelling tools draw, as polygons: rectangles, circles, ellipses; what has no inside is refused."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from detq.datasets.annotations import Points, as_points, is_finite
from detq.errors import DataError

__all__ = ["LABELME_SHAPES", "REDRAWN", "VIA_SHAPES", "ellipse", "labelme_polygon", "rectangle", "via_polygon"]

# How far a circle's polygon may lie inside the circle.
_SAGITTA_PX = 0.1
_LINE_FIX = "draw it as a polygon, or leave such shapes out with --skip-invalid"

REDRAWN: Mapping[str, str] = {
    "rect": "rects that became polygons of their four corners",
    "rectangle": "rectangles that became polygons of their four corners",
    "oriented_rectangle": "oriented rectangles that became polygons of their four corners",
    "circle": f"circles that became polygons with edges at most {_SAGITTA_PX} px inside them",
    "ellipse": f"ellipses that became polygons with edges at most {_SAGITTA_PX} px inside them",
    "polyline": "closed polylines that became polygons",
}
"""Shapes that are read as polygons, though they were drawn as something else -> what an account says of them."""


def rectangle(left: float, top: float, right: float, bottom: float) -> Points:
    """Return the four corners, clockwise on the screen from the upper left."""
    return np.asarray([[left, top], [right, top], [right, bottom], [left, bottom]], np.float64)


def ellipse(center: tuple[float, float], radii: tuple[float, float], theta: float = 0.0) -> Points:
    """Return an ellipse as a polygon whose edges lie at most 0.1 px inside it.

    The number of points is a multiple of four, so that the extremes of an upright ellipse are among them.

    Args:
        center: x, y in pixels.
        radii: along x and y in pixels, before the rotation.
        theta: the rotation in radians, clockwise on the screen.
    """
    longest = max(*radii, _SAGITTA_PX)
    count = math.ceil(math.pi / math.acos(1 - min(_SAGITTA_PX / longest, 1)) / 4) * 4
    angles = np.arange(max(count, 12)) * (2 * math.pi / max(count, 12))
    # Rounded, for the sine of π is no zero.
    x, y = radii[0] * np.cos(angles).round(12), radii[1] * np.sin(angles).round(12)
    cosine, sine = math.cos(theta), math.sin(theta)
    return np.column_stack([center[0] + x * cosine - y * sine, center[1] + x * sine + y * cosine]).round(6)


def via_polygon(shape: Mapping[str, Any], where: str) -> Points:
    """Return the polygon of VIA's `shape_attributes`.

    Polygons, closed polylines, rects, circles and ellipses have one. A polyline is closed where it ends at its start.

    Raises:
        DataError: the shape is unknown, has no inside (a point, an open polyline), or lacks its numbers.
    """
    name = shape.get("name")
    convert = VIA_SHAPES.get(name) if isinstance(name, str) else None
    if convert is None:
        raise DataError(
            f"{where}: expected shape_attributes.name to be one of {', '.join(VIA_SHAPES)}, found {name!r:.40}; "
            "correct the region"
        )
    return convert(shape, where)


def _via_points(shape: Mapping[str, Any], where: str) -> Points:
    xs, ys = shape.get("all_points_x"), shape.get("all_points_y")
    if not isinstance(xs, list) or not isinstance(ys, list):
        raise DataError(
            f"{where}: expected the lists all_points_x and all_points_y for the {shape['name']}, found the fields "
            f"{', '.join(map(str, shape))}; correct the region"
        )
    return as_points(xs, ys, where)


def _via_polyline(shape: Mapping[str, Any], where: str) -> Points:
    points = _via_points(shape, where)
    if len(points) > 3 and bool((points[0] == points[-1]).all()):
        return points
    raise DataError(
        f"{where}: expected a shape with an inside, found an open polyline of {len(points)} points; {_LINE_FIX}"
    )


def _via_rect(shape: Mapping[str, Any], where: str) -> Points:
    x, y, width, height = _numbers(shape, ("x", "y", "width", "height"), where, sizes=2)
    return rectangle(x, y, x + width, y + height)


def _via_circle(shape: Mapping[str, Any], where: str) -> Points:
    x, y, radius = _numbers(shape, ("cx", "cy", "r"), where, sizes=1)
    return ellipse((x, y), (radius, radius))


def _via_ellipse(shape: Mapping[str, Any], where: str) -> Points:
    (theta,) = _numbers({"name": "ellipse", "theta": shape.get("theta", 0)}, ("theta",), where, sizes=0)
    x, y, *radii = _numbers(shape, ("cx", "cy", "rx", "ry"), where, sizes=2)
    return ellipse((x, y), (radii[0], radii[1]), theta)


def _via_point(_shape: Mapping[str, Any], where: str) -> Points:
    raise DataError(f"{where}: expected a shape with an inside, found a point; {_LINE_FIX}")


def _numbers(shape: Mapping[str, Any], names: Sequence[str], where: str, *, sizes: int) -> list[float]:
    """Return the shape's numbers of these names; the last `sizes` of them are lengths, which are not negative."""
    found = [shape.get(name) for name in names]
    for at, (name, value) in enumerate(zip(names, found, strict=True)):
        is_size = at >= len(names) - sizes
        if not is_finite(value) or (is_size and value < 0):
            expected = "a number from 0" if is_size else "a number"
            raise DataError(
                f"{where}: expected {expected} for {name} of the {shape['name']}, found {value!r:.40}; "
                "correct the region"
            )
    return [float(value) for value in found if is_finite(value)]


VIA_SHAPES: Mapping[str, Callable[[Mapping[str, Any], str], Points]] = {
    "polygon": _via_points,
    "polyline": _via_polyline,
    "rect": _via_rect,
    "circle": _via_circle,
    "ellipse": _via_ellipse,
    "point": _via_point,
}
"""VIA's shapes (source: VGG Image Annotator 1.0.6 and 2.0.12, `via.js`)."""


def labelme_polygon(kind: str, points: Points, where: str) -> Points:
    """Return the polygon of a labelme shape; `kind` is its `shape_type`.

    Raises:
        DataError: the type is unknown, has no inside, or has another number of points.
    """
    convert = LABELME_SHAPES.get(kind)
    if convert is not None:
        return convert(points, where)
    if kind in _LABELME_LINES:
        raise DataError(f"{where}: expected a shape with an inside, found a {kind}; {_LINE_FIX}")
    known = ", ".join([*LABELME_SHAPES, "mask", *_LABELME_LINES])
    raise DataError(f"{where}: expected shape_type to be one of {known}, found {kind!r:.40}; correct the shape")


_LABELME_LINES = ("point", "points", "line", "linestrip")


def _count(points: Points, count: int, kind: str, where: str) -> None:
    if len(points) != count:
        raise DataError(f"{where}: expected {count} points for the {kind}, found {len(points)}; correct the shape")


def _labelme_rectangle(points: Points, where: str) -> Points:
    _count(points, 2, "rectangle", where)
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    return rectangle(left, top, right, bottom)


def _labelme_circle(points: Points, where: str) -> Points:
    _count(points, 2, "circle", where)
    center, rim = points
    radius = math.hypot(*(rim - center))
    return ellipse((float(center[0]), float(center[1])), (radius, radius))


def _labelme_oriented(points: Points, where: str) -> Points:
    _count(points, 4, "oriented_rectangle", where)
    return points


LABELME_SHAPES: Mapping[str, Callable[[Points, str], Points]] = {
    "polygon": lambda points, _where: points,
    "rectangle": _labelme_rectangle,
    "circle": _labelme_circle,
    "oriented_rectangle": _labelme_oriented,
}
"""labelme's shapes that have an inside, but for "mask" (source: labelme 5, `shape.py`)."""
