"""COCO results JSON: a list of boxes and masks with image and category, as every COCO evaluator reads it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from detq.datasets.base import Dataset
from detq.errors import DataError
from detq.files import atomic_path
from detq.masks import Rle, RleMasks, as_rle
from detq.predictions.aligned import Predictions
from detq.predictions.checks import (
    check_classes,
    check_detection,
    check_keys,
    check_mask,
    check_size,
    is_number,
    short,
    unknown_image,
)
from detq.types import Detections

__all__ = ["read_coco_results", "write_coco_results"]

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
    masks: list[list[Rle]] = [[] for _ in range(len(dataset))]
    masked = any(isinstance(row, dict) and "segmentation" in row for row in rows)
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
        mask = _mask(row, where, dataset.size(image)) if masked else None
        if category in categories:
            masks[image] += [mask] if mask else []
            found[image].append([*box, row["score"], categories[category]])
        else:
            dropped[f"category {category}" if isinstance(category, int) else category] += 1
    check_classes(path, any(found), dropped, dataset)
    aligned = [_from_rows(*pair) for pair in zip(found, masks, strict=True)]
    return Predictions({path.stem: aligned}, dropped)


def write_coco_results(path: Path, found: Sequence[Detections], dataset: Dataset) -> None:
    """Write one variant as COCO results, whole or not at all, masks as run lengths.

    Args:
        path: the file; its stem is the variant's name to whoever reads it back.
        found: one for each image of `dataset`, labels as indices into its classes.
        dataset: says what COCO calls images and categories; without category ids, `category_name` says the class.

    Raises:
        OutputError: the file cannot be written.
    """
    numbers = {name: number for number, name in dataset.coco_categories().items()}
    classes: list[dict[str, Any]] = [
        {"category_id": numbers[name]} if name in numbers else {"category_name": name} for name in dataset.classes
    ]
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        stream.write("[")
        rows = (row for index, item in enumerate(found) for row in _rows(dataset.coco_image_id(index), item, classes))
        for number, row in enumerate(rows):
            stream.write((",\n" if number else "\n") + json.dumps(row, allow_nan=False))
        stream.write("\n]\n")


def _rows(image_id: int | str, found: Detections, classes: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    corners = found.boxes.astype(np.float64)  # where the difference of two float32 coordinates is exact
    sides = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1).tolist()
    runs = None if found.masks is None else as_rle(found.masks)
    for row, box in enumerate(sides):
        mask = {} if runs is None else {"segmentation": runs[row]}
        score = float(str(found.scores[row]))
        yield {"image_id": image_id, **classes[int(found.labels[row])], "bbox": box, "score": score, **mask}


def _mask(row: Mapping[str, Any], where: str, size: tuple[int, int]) -> Rle:
    if "segmentation" not in row:
        raise DataError(
            f"{where}: expected a segmentation as other results have, found none; write it for all, or none"
        )
    mask = check_mask(row["segmentation"], where)
    check_size([mask], size, where)
    return mask


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


def _from_rows(rows: list[list[Any]], runs: list[Rle]) -> Detections:
    table = np.asarray(rows, np.float64).reshape(-1, 6)
    masks = RleMasks(runs, (runs[0]["size"][0], runs[0]["size"][1])) if runs else None
    return Detections(
        table[:, :4].astype(np.float32), table[:, 4].astype(np.float32), table[:, 5].astype(np.int64), masks
    )
