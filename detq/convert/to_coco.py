"""Writing COCO JSON: `annotations.json`, or one JSON a part, and `images/`."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any

from detq.convert.collection import Category, ImageRecord
from detq.convert.split import WHOLE
from detq.convert.targets import Job
from detq.datasets.annotations import Annotation
from detq.datasets.outlines import segmentation_of
from detq.errors import DataError

__all__ = ["as_json", "short", "write"]


def write(job: Job) -> None:
    """Write a data set as COCO JSON; ids are unique in all parts together, and each part lists every category."""
    base = "" if job.placement.mode == "none" else "images"
    for part, images in job.parts.items():
        named = []
        for image in images:
            named.append((image, job.placement.place(image, base)))
            job.step()
        with job.placement.stream(f"{'annotations' if part == WHOLE else part}.json") as stream:
            _write(stream, job.collection.extra, named, job.collection.categories)


def _write(
    stream: IO[str], extra: Mapping[str, Any], named: Sequence[tuple[ImageRecord, str]], categories: Sequence[Category]
) -> None:
    """Write the file an entry a line, so that it can be read, compared, and written without a copy in memory."""
    numbers = [category.number for category in categories]
    annotations = (_annotation(a, image, numbers[a.label]) for image, _ in named for a in image.annotations)
    stream.write("{\n")
    for key, value in extra.items():
        stream.write(f"{as_json(key)}: {as_json(value)},\n")
    _write_list(stream, "images", (_image(image, name) for image, name in named))
    stream.write(",\n")
    _write_list(stream, "categories", map(_category, categories))
    stream.write(",\n")
    _write_list(stream, "annotations", annotations)
    stream.write("\n}\n")


def _write_list(stream: IO[str], name: str, entries: Iterable[Mapping[str, Any]]) -> None:
    stream.write(f'"{name}": [')
    separator = "\n"
    for entry in entries:
        stream.write(separator + as_json(entry))
        separator = ",\n"
    stream.write("\n]")


def as_json(value: Any) -> str:
    """Return JSON on one line, names as they are written.

    Raises:
        DataError: a number is none.
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError:
        places = ".".join(_no_number(value) or [])
        raise DataError(
            f"expected numbers that JSON has, found NaN or infinity at {places}; correct or remove it"
        ) from None


def _no_number(value: Any) -> list[str] | None:
    """Return the keys that lead to the first NaN or infinity."""
    if isinstance(value, float) and not math.isfinite(value):
        return []
    inner = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    found = ((key, _no_number(entry)) for key, entry in inner)
    return next(([str(key), *rest] for key, rest in found if rest is not None), None)


def _image(image: ImageRecord, name: str) -> dict[str, Any]:
    width, height = image.size
    return {**image.extra, "id": image.number, "file_name": name, "width": width, "height": height}


def _category(category: Category) -> dict[str, Any]:
    return {**category.extra, "id": category.number, "name": category.name}


def _annotation(annotation: Annotation, image: ImageRecord, category: int) -> dict[str, Any]:
    left, top, right, bottom = annotation.box or (0.0, 0.0, 0.0, 0.0)
    segmentation = segmentation_of(annotation)
    if isinstance(segmentation, list):
        segmentation = [list(map(short, points)) for points in segmentation]
    return {
        **annotation.extra,
        "id": annotation.number,
        "image_id": image.number,
        "category_id": category,
        "bbox": [short(value) for value in (left, top, right - left, bottom - top)],
        "area": short(annotation.area_px or 0.0),
        "iscrowd": int(annotation.crowd),
        "segmentation": segmentation,
    }


def short(value: float) -> float | int:
    """Return a whole number as an int, which JSON writes without ".0"; it is the same number."""
    return int(value) if value.is_integer() else value
