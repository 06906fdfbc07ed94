"""One text file an image with `Label x_min y_min x_max y_max` lines, in pixels; labels may be several words."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from detq.datasets.class_map import ClassTable
from detq.datasets.label_files import LabelFiles, Lines, parse_number, read_label_file
from detq.datasets.listing import Pairs, list_pairs
from detq.datasets.options import Options
from detq.errors import DataError

__all__ = ["CornersDataset", "open_corners", "parse_corners"]

LAYOUT = "Label x_min y_min x_max y_max"


class CornersDataset(LabelFiles):
    """Images with label files of corners in pixels."""

    def parse(self, text: str, size: tuple[int, int], path: str) -> Lines:  # noqa: ARG002  # pixels need no size
        """Parse a label file's text; see `parse_corners`."""
        return parse_corners(text, path)


def open_corners(path: Path, options: Options) -> CornersDataset:
    """Open a folder of images and label files with corners.

    Without `--classes` every label file is read once to learn the classes, in alphabetical order.

    Raises:
        DataError: no images or labels, or they do not go together.
    """
    if options.split is not None:
        raise DataError(f"option split={options.split} goes with YOLO's data.yaml, found the corner format in {path}")
    pairs = list_pairs(path, allow_unlabelled=options.allow_unlabelled)
    names: dict[int | str, str] = {}
    if options.classes is None:
        names = {key: str(key) for key in _found_classes(pairs)}
    else:
        # A file may say the class's name, or its number.
        names.update(enumerate(options.classes))
        names.update((name, name) for name in options.classes)
    return CornersDataset(str(path), pairs, ClassTable.of(names, options.class_map))


def _found_classes(pairs: Pairs) -> list[int | str]:
    found: set[int | str] = set()
    for path in pairs.labels:
        if path is not None:
            found.update(parse_corners(read_label_file(path), path).keys)
    return sorted(found, key=lambda key: (isinstance(key, str), key))


def parse_corners(text: str, path: str) -> Lines:
    """Parse `Label x_min y_min x_max y_max` lines; the last four fields are the corners.

    Raises:
        DataError: a line with missing fields, or with words where numbers belong.
    """
    keys: list[int | str] = []
    boxes: list[list[float]] = []
    numbers: list[int] = []
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        corners = [parse_number(field) for field in fields[-4:]]
        values = [value for value in corners if value is not None]
        if len(fields) < 5 or len(values) < 4:
            word = next((field for field, value in zip(fields[-4:], corners, strict=True) if value is None), None)
            found = f"{word!r} in " if len(fields) >= 5 else f"{len(fields)} fields in "
            raise DataError(
                f"{path}, line {number}: expected {LAYOUT} (a label and four numbers in pixels), "
                f"found {found}{line.strip()[:80]!r}; correct or delete the line"
            )
        label = " ".join(fields[:-4])
        keys.append(int(label) if label.isdecimal() and label.isascii() else label)
        boxes.append(values)
        numbers.append(number)
    return Lines(keys, np.asarray(boxes, np.float64).reshape(-1, 4), numbers)
