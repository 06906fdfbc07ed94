"""COCO results JSON: a list of boxes with image and category, as every COCO evaluator reads it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from detq.datasets.base import Dataset
from detq.errors import DataError
from detq.predictions.aligned import Predictions
from detq.predictions.checks import check_classes, check_detection, check_keys, is_number, short, unknown_image
from detq.types import Detections

__all__ = ["read_coco_results"]

_COCO_KEYS = ("image_id", "bbox", "score")


def read_coco_results(path: Path, dataset: Dataset) -> Predictions:
    """Read one variant, named after the file, aligned with a data set.

    Raises:
        DataError: the file cannot be read, is malformed, or does not go with the data set.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected a list of COCO results, found no JSON: {error}; write it again") from None
    images = _image_names(dataset)
    categories: dict[Any, int] = {name: label for label, name in enumerate(dataset.classes)}
    categories |= {number: dataset.classes.index(name) for number, name in dataset.coco_categories().items()}
    found: list[list[list[Any]]] = [[] for _ in range(len(dataset))]
    dropped: Counter[str] = Counter()
    for number, row in enumerate(rows):
        where = f"{path}, result {number}"
        check_keys(row, _COCO_KEYS, where)
        image = images.get(row["image_id"]) if isinstance(row["image_id"], int | str) else None
        if image is None:
            raise unknown_image(where, row["image_id"], dataset.coco_image_id(0), dataset)
        category = _category(row, where, dataset)
        box = _corners(row["bbox"], where)
        check_detection(box, row["score"], where)
        if category in categories:
            found[image].append([*box, row["score"], categories[category]])
        else:
            dropped[f"category {category}" if isinstance(category, int) else category] += 1
    check_classes(path, any(found), dropped, dataset)
    return Predictions({path.stem: [_from_rows(rows) for rows in found]}, dropped)


def _image_names(dataset: Dataset) -> dict[int | str, int]:
    """Return each image by what COCO calls it, by its path, and by its bare file name where only one has it."""
    paths = [dataset.image_id(number) for number in range(len(dataset))]
    bare = Counter(PurePosixPath(path).name for path in paths)
    names: dict[int | str, int] = {}
    for number, path in enumerate(paths):
        if bare[PurePosixPath(path).name] == 1:
            names[PurePosixPath(path).name] = number
    names |= {path: number for number, path in enumerate(paths)}
    return names | {dataset.coco_image_id(number): number for number in range(len(dataset))}


def _category(row: Mapping[str, Any], where: str, dataset: Dataset) -> int | str:
    category = row.get("category_name", row.get("category_id"))
    if isinstance(category, bool) or not isinstance(category, int | str):
        raise DataError(f"{where}: expected category_id or category_name, found {short(category)}; add it")
    if isinstance(category, int) and not dataset.coco_categories():
        raise DataError(
            f"{where}: category_id {category} says nothing, because {dataset.name} has no category ids; put the "
            f"class's name into category_name: {', '.join(dataset.classes)}"
        )
    return category


def _corners(box: Any, where: str) -> list[float]:
    if not isinstance(box, list) or len(box) != 4 or not all(is_number(value) for value in box):
        raise DataError(
            f"{where}: bbox must be four finite numbers x, y, width, height in pixels, found {short(box)}; mend it"
        )
    if box[2] < 0 or box[3] < 0:
        raise DataError(f"{where}: bbox must be x, y, width, height with neither below 0, found {box}; mend it")
    return [box[0], box[1], box[0] + box[2], box[1] + box[3]]


def _from_rows(rows: list[list[Any]]) -> Detections:
    table = np.asarray(rows, np.float64).reshape(-1, 6)
    return Detections(table[:, :4].astype(np.float32), table[:, 4].astype(np.float32), table[:, 5].astype(np.int64))
