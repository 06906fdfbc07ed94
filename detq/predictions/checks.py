"""What a predictions file must hold, whichever its format: each check raises one sentence that says where and what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from detq.datasets.base import Dataset
from detq.errors import DataError
from detq.masks import Rle, run_lengths

__all__ = [
    "check_classes",
    "check_detection",
    "check_keys",
    "check_mask",
    "check_size",
    "is_number",
    "short",
    "unknown_image",
]

_FLOAT32_MAX = float(np.finfo(np.float32).max)


def check_keys(content: Any, keys: Sequence[str], where: str) -> None:
    """Raise unless `content` is an object with `keys`."""
    if not isinstance(content, dict):
        raise DataError(f"{where}: expected a JSON object with {', '.join(keys)}, found {short(content)}; mend it")
    missing = [key for key in keys if key not in content]
    if missing:
        raise DataError(f"{where}: expected the keys {', '.join(keys)}, found no {' and no '.join(missing)}; add it")


def check_detection(box: Any, score: Any, where: str) -> None:
    """Raise unless `box` is xyxy with corners in order and `score` is in [0, 1]."""
    if not isinstance(box, list) or len(box) != 4 or not all(is_number(value) for value in box):
        raise DataError(
            f"{where}: box must be four finite numbers x1, y1, x2, y2 in pixels, found {short(box)}; mend it"
        )
    if box[2] < box[0] or box[3] < box[1]:
        raise DataError(
            f"{where}: box must be x1, y1, x2, y2 with x1 <= x2 and y1 <= y2, found {box}; swap its corners"
        )
    if not is_number(score) or not 0 <= score <= 1:
        raise DataError(f"{where}: score must be a number from 0 to 1, found {short(score)}; mend it")


def check_mask(mask: Any, where: str) -> Rle:
    """Return a parsed `{"size": [height, width], "counts": "…"}` as run lengths, or raise unless it is one."""
    size: Any = mask.get("size") if isinstance(mask, dict) else None
    counts = mask.get("counts") if isinstance(mask, dict) else None
    whole = isinstance(size, list) and len(size) == 2 and all(type(side) is int and side > 0 for side in size)
    runs = run_lengths(counts) if isinstance(counts, str) and whole else [-1]
    if min(runs, default=-1) < 0 or sum(runs) != size[0] * size[1]:
        raise DataError(
            f'{where}: mask must be COCO\'s compressed run lengths, {{"size": [height, width], "counts": "…"}}, found '
            f"{short(mask)}; mend it"
        )
    return {"size": size, "counts": str(counts)}


def check_size(masks: Sequence[Rle], size: tuple[int, int], where: str) -> None:
    """Raise unless all `masks` are of an image of `size`, (width, height) in pixels."""
    for mask in masks:
        if mask["size"] != [size[1], size[0]]:
            raise DataError(
                f"{where}: expected masks of size [{size[1]}, {size[0]}], the image's height and width, found "
                f"{mask['size']}; give the --data that the predictions were made on"
            )


def is_number(value: Any) -> bool:
    """Return whether a parsed JSON value is a number that float32 can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= _FLOAT32_MAX  # False for NaN too


def short(value: Any) -> str:
    """Return what was found, cut to fit into a sentence."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def unknown_image(where: str, image: Any, example: str | int, dataset: Dataset) -> DataError:
    """Return the error for an image that the data set does not have; `example` is what a right one looks like."""
    return DataError(
        f"{where}: image {short(image)} is not among the {len(dataset)} images of {dataset.name} (the first is "
        f"{example!r}); "
        "give the --data that the predictions were made on"
    )


def check_classes(path: Path, kept: bool, dropped: Counter[str], dataset: Dataset) -> None:
    """Raise if detections were dropped and none was kept: the file then is about other classes."""
    if dropped and not kept:
        raise DataError(
            f"{path}: none of the {dropped.total()} detections is of a class of {dataset.name}: expected "
            f"{', '.join(dataset.classes)}, found {', '.join(sorted(dropped)[:5])}; rename them with --map or --classes"
        )
