"""labelme: a JSON an image with polygons, rectangles, circles and masks.

Source: labelme 5, `label_file.py` and `shape.py`. A shape's class is its `label`; shapes of one label and `group_id`
are the parts of one object, as in labelme's own conversion to COCO.
"""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from detq.datasets.annotated import AnnotatedImages, Record, class_table, no_repeated_images
from detq.datasets.annotations import Annotation, Points, as_points, is_finite
from detq.datasets.json_files import describe_json, json_format, load_json
from detq.datasets.options import Options, category_rule, refuse_options
from detq.datasets.outlines import encode_mask, polygon
from detq.datasets.shapes import REDRAWN, labelme_polygon
from detq.datasets.sidecars import SidecarKind, list_sidecars
from detq.errors import DataError

__all__ = ["LabelmeDataset", "open_labelme"]

_SHAPE_KEYS = ("label", "points", "shape_type", "mask")
_FILE_KEYS = ("version", "shapes", "imagePath", "imageData", "imageHeight", "imageWidth")


class LabelmeDataset(AnnotatedImages):
    """Images with a labelme file each."""

    def records(self, index: int) -> tuple[Sequence[Record], tuple[int, int] | None]:
        """Return an image's shapes and the size that its file states."""
        entry = self._entries[index]
        if entry.source is None:
            return [], None
        content = _load(entry.source)
        return _records(entry.source, content), _size(entry.source, content)

    def read(self, record: Record, size: tuple[int, int]) -> Annotation:
        """Return a shape as a polygon, or as run lengths if it is a mask."""
        content, where = record.content, record.where
        kind = content.get("shape_type") or "polygon"
        if not isinstance(kind, str):
            raise DataError(f"{where}: expected a name for shape_type, found {kind!r:.40}; correct the shape")
        points = _points(content.get("points"), where)
        flags = content.get("flags")
        crowd = isinstance(flags, Mapping) and flags.get("iscrowd") is True
        extra = _extra(content)
        if kind == "mask":
            runs = _mask(content, points, size, where)
            return Annotation("", -1, where, runs=runs, crowd=crowd, extra=extra)
        outline = polygon(labelme_polygon(kind, points, where), where)
        redrawn = (kind,) if kind in REDRAWN else ()
        return Annotation("", -1, where, polygons=(outline,), redrawn=redrawn, crowd=crowd, extra=extra)

    def group(self, record: Record) -> Hashable:
        """Return `group_id`."""
        group = record.content.get("group_id")
        return group if isinstance(group, str | int) else None

    def image_extra(self, index: int) -> Mapping[str, Any]:
        """Return what the image's file holds beside the shapes: flags and whatever else."""
        source = self._entries[index].source
        content = {} if source is None else _load(source)
        return {key: value for key, value in content.items() if key not in _FILE_KEYS and value not in (None, {}, "")}


def open_labelme(path: Path, options: Options) -> LabelmeDataset:
    """Open a folder of images and labelme files, or one such file.

    Raises:
        DataError: there are none, they are of another kind, or images are missing.
    """
    refuse_options(path, options, "labelme files name their classes")
    files, entries = list_sidecars(path, _KIND, allow_unlabelled=options.allow_unlabelled)
    no_repeated_images(path, entries)
    rule = category_rule(options, "label")
    records = [record for file in files for record in _records(file, _load(file))]
    return LabelmeDataset(str(path), entries, class_table(path, records, rule, options.class_map), rule)


def _load(source: Path) -> Mapping[str, Any]:
    content = load_json(source, "labelme JSON")
    if json_format(content) != "labelme":
        raise DataError(f"{source}: expected labelme JSON with shapes and imagePath, found {describe_json(content)}")
    found: Mapping[str, Any] = content
    return found


def _image_name(source: Path) -> str:
    name = _load(source)["imagePath"]
    if isinstance(name, str) and name.strip():
        return name.strip()
    raise DataError(f"{source}: expected the image's path in imagePath, found {name!r:.40}; fill it in")


_KIND = SidecarKind("labelme", ".json", _image_name)


def _records(source: Path, content: Mapping[str, Any]) -> list[Record]:
    return [
        Record(f"{source}, shape {number}", shape if isinstance(shape, dict) else {})
        for number, shape in enumerate(content["shapes"])
    ]


def _size(source: Path, content: Mapping[str, Any]) -> tuple[int, int] | None:
    width, height = content.get("imageWidth"), content.get("imageHeight")
    if width is None or height is None:
        return None
    if is_finite(width) and is_finite(height):
        return int(width), int(height)
    raise DataError(f"{source}: expected numbers for imageWidth and imageHeight, found {width!r:.20}, {height!r:.20}")


def _points(points: Any, where: str) -> Points:
    if isinstance(points, list) and all(isinstance(point, list) and len(point) == 2 for point in points):
        return as_points([point[0] for point in points], [point[1] for point in points], where)
    raise DataError(f"{where}: expected points as a list of [x, y], found {points!r:.60}; correct the shape")


def _extra(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a shape says beside class and outline, without what says nothing."""
    extra = {key: value for key, value in content.items() if key not in _SHAPE_KEYS and value not in (None, {}, "")}
    flags = extra.get("flags")
    if isinstance(flags, dict) and "iscrowd" in flags:
        left = {name: value for name, value in flags.items() if name != "iscrowd"}
        extra = {key: value for key, value in extra.items() if key != "flags"} | ({"flags": left} if left else {})
    return extra


def _mask(content: Mapping[str, Any], points: Points, size: tuple[int, int], where: str) -> Mapping[str, Any]:
    """Return the run lengths of a mask shape: a picture of the pixels between its two points, both included."""
    pixels = _png(content.get("mask"), where)
    left, top = points[0].astype(int) if len(points) == 2 else (0, 0)
    height, width = pixels.shape
    if len(points) != 2 or left < 0 or top < 0 or left + width > size[0] or top + height > size[1]:
        raise DataError(
            f"{where}: expected a mask of {width} × {height} pixels inside the image of {size[0]} × {size[1]}, found "
            f"the points {points.tolist()!r:.60}; draw it again, or leave it out with --skip-invalid"
        )
    mask = np.zeros((size[1], size[0]), np.bool_)
    mask[top : top + height, left : left + width] = pixels
    return encode_mask(mask)


def _png(text: Any, where: str) -> NDArray[np.bool_]:
    try:
        with Image.open(io.BytesIO(base64.b64decode(text, validate=True)), formats=("PNG",)) as image:
            return np.asarray(image.convert("L")) > 0
    except (TypeError, binascii.Error, OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{where}: expected a PNG in base64 for mask, found {error}; correct the shape") from None
