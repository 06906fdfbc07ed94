"""COCO's JSON, parsed into arrays and checked: every reference is known, every bbox is four finite numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from detq.datasets.annotations import is_finite
from detq.datasets.json_files import describe_json
from detq.errors import DataError

__all__ = ["CocoDetails", "CocoTables", "read_coco", "read_details", "read_segmentations"]

Id = int | str


@dataclass(frozen=True)
class CocoTables:
    """A COCO file as tables; images are in the order of their file names, annotations as in the file.

    Attributes:
        file_names: `M` paths with `/`.
        image_ids: `M` ids.
        sizes: int64 `(M, 2)`, (width, height) in pixels; 0 where the file does not say.
        categories: category id -> name.
        annotation_ids: `N` ids; the position in the file where it gives none.
        image_of: int64 `(N,)`, each annotation's row in `file_names`.
        category_ids: `N` ids.
        boxes: float64 `(N, 4)`, x, y, width, height in pixels.
        areas_px: float64 `(N,)`, NaN where the file does not say.
        crowd: bool `(N,)`.
    """

    file_names: list[str]
    image_ids: list[Id]
    sizes: NDArray[np.int64]
    categories: dict[int, str]
    annotation_ids: list[Id]
    image_of: NDArray[np.int64]
    category_ids: list[int]
    boxes: NDArray[np.float64]
    areas_px: NDArray[np.float64]
    crowd: NDArray[np.bool_]


def read_coco(path: Path) -> CocoTables:
    """Parse and check a COCO file.

    Raises:
        DataError: it is not JSON, lacks `images`, `annotations` or `categories`, repeats an id, names an unknown image
            or category, or has a bbox that is not four finite numbers.
    """
    content = _content(path)
    categories = _categories(path, content["categories"])
    images = sorted(_images(path, content["images"]), key=lambda image: image[1])
    rows = {image_id: row for row, (image_id, _, _) in enumerate(images)}
    annotations = [
        _annotation(path, entry, position, rows, categories) for position, entry in enumerate(content["annotations"])
    ]
    _no_repeats(path, "annotation id", (annotation[0] for annotation in annotations))
    return CocoTables(
        file_names=[name for _, name, _ in images],
        image_ids=[image_id for image_id, _, _ in images],
        sizes=np.asarray([size for _, _, size in images], np.int64).reshape(-1, 2),
        categories=categories,
        annotation_ids=[annotation[0] for annotation in annotations],
        image_of=np.asarray([annotation[1] for annotation in annotations], np.int64),
        category_ids=[annotation[2] for annotation in annotations],
        boxes=np.asarray([annotation[3] for annotation in annotations], np.float64).reshape(-1, 4),
        areas_px=np.asarray([annotation[4] for annotation in annotations], np.float64),
        crowd=np.asarray([annotation[5] for annotation in annotations], np.bool_),
    )


def read_segmentations(path: Path) -> list[Any]:
    """Return each annotation's `segmentation` as it stands in the file, None where there is none."""
    return [entry.get("segmentation") for entry in _content(path)["annotations"]]


@dataclass(frozen=True)
class CocoDetails:
    """What a COCO file says beyond `CocoTables`.

    Attributes:
        segmentations: each annotation's, in the file's order; None where there is none.
        annotations: each annotation's other fields, in the file's order.
        images: image id -> the image's other fields.
        categories: category id -> the category's other fields.
        whole: the file's other fields, such as info and licenses.
    """

    segmentations: list[Any]
    annotations: list[dict[str, Any]]
    images: dict[Id, dict[str, Any]]
    categories: dict[int, dict[str, Any]]
    whole: dict[str, Any]


def read_details(path: Path) -> CocoDetails:
    """Return what `read_coco`, which has accepted the file, leaves out."""
    content = _content(path)
    known = ("id", "image_id", "category_id", "bbox", "area", "iscrowd", "segmentation")
    return CocoDetails(
        segmentations=[entry.get("segmentation") for entry in content["annotations"]],
        annotations=[_others(entry, *known) for entry in content["annotations"]],
        images={entry["id"]: _others(entry, "id", "file_name", "width", "height") for entry in content["images"]},
        categories={int(entry["id"]): _others(entry, "id", "name") for entry in content["categories"]},
        whole=_others(content, "images", "annotations", "categories"),
    )


def _others(entry: Mapping[str, Any], *known: str) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key not in known}


def _content(path: Path) -> dict[str, list[Any]]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        found = "an empty file" if path.is_file() and not path.stat().st_size else str(error)
        raise DataError(f"{path}: expected COCO JSON, found {found}; export the annotations again") from None
    keys = ("images", "annotations", "categories")
    if isinstance(content, dict) and all(isinstance(content.get(key), list) for key in keys):
        return content
    raise DataError(f"{path}: expected COCO JSON with the lists {', '.join(keys)}, found {describe_json(content)}")


def _categories(path: Path, entries: list[Any]) -> dict[int, str]:
    found: list[tuple[int, str]] = []
    for entry in entries:
        number = entry.get("id") if isinstance(entry, dict) else None
        if not _is_integer(number) or not isinstance(entry.get("name"), str):
            raise DataError(
                f"{path}: expected categories with a whole-number id and a name, found {_short(entry)}; "
                "correct the file"
            )
        found.append((int(number), entry["name"].strip()))
    _no_repeats(path, "category id", (number for number, _ in found))
    return dict(found)


def _images(path: Path, entries: list[Any]) -> list[tuple[Id, str, tuple[int, int]]]:
    found: list[tuple[Id, str, tuple[int, int]]] = []
    for entry in entries:
        image_id = entry.get("id") if isinstance(entry, dict) else None
        if not _is_id(image_id) or not isinstance(entry.get("file_name"), str) or not entry["file_name"]:
            raise DataError(
                f"{path}: expected images with an id and a file_name, found {_short(entry)}; correct the file"
            )
        size = (entry.get("width") or 0, entry.get("height") or 0)
        if not all(_is_integer(side) and 0 <= side < 2**31 for side in size):
            raise DataError(
                f"{path}, image {entry['file_name']}: expected width and height in whole pixels, "
                f"found {size[0]!r} and {size[1]!r}; correct the file"
            )
        found.append((image_id, entry["file_name"].replace("\\", "/"), (int(size[0]), int(size[1]))))
    if not found:
        raise DataError(f"{path}: expected at least one image, found an empty list; export the annotations again")
    _no_repeats(path, "image id", (image_id for image_id, _, _ in found))
    _no_repeats(path, "file_name", (name for _, name, _ in found))
    return found


def _annotation(
    path: Path, entry: Any, position: int, rows: dict[Id, int], categories: dict[int, str]
) -> tuple[Id, int, int, list[float], float, bool]:
    """Return an annotation's id, image row, category id, bbox, area (or NaN) and whether it is a crowd."""
    number = entry.get("id") if isinstance(entry, dict) else None
    problem = _problem(entry, rows, categories)
    if problem is not None:
        shown = f"id {number}" if _is_id(number) else f"number {position}"
        raise DataError(f"{path}, annotation {shown}: expected {problem}")
    area = entry.get("area")
    return (
        number if _is_id(number) else position,
        rows[entry["image_id"]],
        int(entry["category_id"]),
        [float(value) for value in entry["bbox"]],
        float(area) if is_finite(area) else math.nan,
        bool(entry.get("iscrowd", 0)),
    )


def _problem(entry: Any, rows: dict[Id, int], categories: dict[int, str]) -> str | None:
    """Return what was expected of an annotation, what was found, and what to do; None for a good one."""
    if not isinstance(entry, dict):
        return f"image_id, category_id and bbox, found {_short(entry)}; correct the file"
    image_id, category_id, box = entry.get("image_id"), entry.get("category_id"), entry.get("bbox")
    if not _is_id(image_id) or image_id not in rows:
        return (
            f"the id of one of the {len(rows)} images, found image_id {_short(image_id)}; "
            "add the image or remove the annotation"
        )
    if not _is_integer(category_id) or int(category_id) not in categories:
        known = ", ".join(f"{number} ({name})" for number, name in list(categories.items())[:20])
        return (
            f"the id of one of the categories {known or '(none)'}, found category_id {_short(category_id)}; "
            "add the category or remove the annotation"
        )
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_finite, box)):
        return (
            f"bbox [x, y, width, height] of four finite numbers, found {_short(box)}; correct or remove the annotation"
        )
    return None


def _is_integer(value: object) -> TypeGuard[float]:
    return not isinstance(value, bool) and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))


def _is_id(value: object) -> TypeGuard[Id]:
    return isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool))


def _no_repeats(path: Path, what: str, values: Iterable[Id]) -> None:
    seen: set[Id] = set()
    for value in values:
        if value in seen:
            raise DataError(f"{path}: expected each {what} once, found {value!r} twice; correct the file")
        seen.add(value)


def _short(value: object) -> str:
    return repr(value)[:80]
