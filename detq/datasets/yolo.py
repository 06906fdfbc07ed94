"""YOLO: one text file an image with `class cx cy w h` lines, normalized to the image's sides.

A line may also hold a polygon, `class x1 y1 x2 y2 x3 y3 …`, as segmentation exports do; its bounding box counts, and
`detq convert` keeps it. Names come from `--classes`, from a `data.yaml` in the folder or the one above, or from a
`classes.txt` beside the labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from detq.datasets.annotations import Points
from detq.datasets.class_map import ClassTable
from detq.datasets.label_files import LabelFiles, Lines, parse_number
from detq.datasets.listing import Pairs, list_pairs
from detq.datasets.options import Options, read_names
from detq.datasets.yolo_yaml import YoloYaml, find_yaml
from detq.errors import DataError

__all__ = ["YoloDataset", "open_yolo", "parse_yolo"]


class YoloDataset(LabelFiles):
    """Images with YOLO's label files."""

    fix = "correct or delete the line; YOLO's numbers are shares of the image's sides, from 0 to 1"

    def parse(self, text: str, size: tuple[int, int], path: str) -> Lines:
        """Parse a label file's text; see `parse_yolo`."""
        return parse_yolo(text, size, path)


def open_yolo(path: Path, options: Options) -> YoloDataset:
    """Open a folder of images and YOLO labels, or a `data.yaml`.

    Raises:
        DataError: no images, labels or class names, or they do not go together.
    """
    description = find_yaml(path)
    folders = [path] if description is None else description.folders(path, options.split)
    if description is None and options.split is not None:
        raise DataError(f"option split={options.split} goes with a data.yaml, found none in {path}; name the folder")
    found = [list_pairs(folder, allow_unlabelled=options.allow_unlabelled) for folder in folders]
    pairs = found[0] if len(found) == 1 else _join(path if path.is_dir() else path.parent, found)
    return YoloDataset(str(path), pairs, _table(path, options, description))


def _join(root: Path, parts: Sequence[Pairs]) -> Pairs:
    images = [str(part.root.relative_to(root) / name) for part in parts for name in part.images]
    return Pairs(root, images, [label for part in parts for label in part.labels])


def _table(path: Path, options: Options, description: YoloYaml | None) -> ClassTable:
    if options.classes is not None:
        names: Mapping[int, str] | None = dict(enumerate(options.classes))
    elif description is not None and description.names:
        names = description.names
    else:
        listed = [folder / "classes.txt" for folder in (path / "labels", path) if (folder / "classes.txt").is_file()]
        names = dict(enumerate(read_names(listed[0]))) if listed else None
    if names is not None:
        return ClassTable.of(names, options.class_map)
    if options.class_map is not None:
        return ClassTable.unnamed(options.class_map)
    raise DataError(
        f"data set {path}: expected names for YOLO's class numbers, found no data.yaml and no classes.txt; "
        "add --classes NAME,NAME,… or keep some classes by number with --map car=1,2"
    )


def parse_yolo(text: str, size: tuple[int, int], path: str) -> Lines:
    """Parse `class cx cy w h` lines, or polygons, into boxes in pixels of an image of `size` (width, height).

    Raises:
        DataError: a line with missing or surplus fields, or with words where numbers belong.
    """
    keys: list[int | str] = []
    boxes: list[list[float]] = []
    numbers: list[int] = []
    polygons: list[Points | None] = []
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        values = _values(fields, f"{path}, line {number}")
        keys.append(int(values[0]))
        boxes.append(values[1:] if len(values) == 5 else _around(values[1:]))
        polygons.append(None if len(values) == 5 else np.asarray(values[1:], np.float64).reshape(-1, 2) * size)
        numbers.append(number)
    return Lines(keys, _to_pixels(boxes, size), numbers, polygons)


def _to_pixels(boxes: list[list[float]], size: tuple[int, int]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    # In float64, unlike boxes.cxcywhn_to_xyxy's float32 input: 1 px of slack in a wide image is less than its rounding.
    given = np.asarray(boxes, np.float64).reshape(-1, 4)
    centre, half = given[:, :2], given[:, 2:] / 2
    return np.concatenate([centre - half, centre + half], axis=1) * np.asarray([*size, *size], np.float64)


def _values(fields: Sequence[str], where: str) -> list[float]:
    """Return the numbers of one line, the class first."""
    layout = "class cx cy w h, each from 0 to 1 but the class"
    values = [parse_number(field) for field in fields]
    numbers = [value for value in values if value is not None]
    if len(numbers) != len(values):
        word = fields[values.index(None)]
        raise DataError(
            f"{where}: expected numbers ({layout}), found {word!r} in {' '.join(fields)[:80]!r}; correct the line, or "
            "open the data set with --format corners if it says names and pixels"
        )
    if not 0 <= numbers[0] < 1e9 or not numbers[0].is_integer():
        raise DataError(f"{where}: expected a class number from 0, found {fields[0]!r}; correct or delete the line")
    if len(fields) < 5 or len(fields) == 6 or len(fields) % 2 == 0:
        hint = "; is the last one a prediction's score?" if len(fields) == 6 else "; add what is missing or delete it"
        raise DataError(
            f"{where}: expected 5 numbers ({layout}) or a polygon of at least 3 points, found {len(fields)} "
            f"in {' '.join(fields)[:80]!r}{hint}"
        )
    return numbers


def _around(polygon: Sequence[float]) -> list[float]:
    """Return the `cx cy w h` of the box around a polygon `x1 y1 x2 y2 …`."""
    xs, ys = polygon[::2], polygon[1::2]
    left, top, right, bottom = min(xs), min(ys), max(xs), max(ys)
    return [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]
