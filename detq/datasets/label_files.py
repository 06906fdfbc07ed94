"""Data sets with one text file of labels an image: what YOLO's and the corner format have in common."""

from __future__ import annotations

import abc
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detq.datasets.annotations import Annotation, Found, Points, read_each
from detq.datasets.base import Dataset
from detq.datasets.class_map import ClassTable
from detq.datasets.geometry import fit_boxes
from detq.datasets.images import image_size, read_image
from detq.datasets.left_out import LeftOut
from detq.datasets.listing import Pairs
from detq.datasets.outlines import polygon
from detq.errors import DataError
from detq.types import GroundTruth, Sample

__all__ = ["LabelFiles", "Lines", "parse_number", "read_label_file"]

# Reading more label files than this for `identity` would no longer be quick.
_FINGERPRINTED_FILES = 20_000


@dataclass(frozen=True)
class Lines:
    """The parsed lines of a label file.

    Attributes:
        keys: what each line calls its class: an index or a word.
        boxes: float64 `(N, 4)`, xyxy in pixels, as written: not yet checked against the image.
        numbers: each line's number in the file, from 1.
        polygons: each line's outline in pixels, None for a box; empty for a format without outlines.
    """

    keys: list[int | str]
    boxes: NDArray[np.float64]
    numbers: list[int]
    polygons: Sequence[Points | None] = ()


class LabelFiles(Dataset):
    """Images with a text file of labels each. Boxes are in the frame of the upright image.

    Attributes:
        fix: what to do about a box that is wrong, for messages.
    """

    fix = "correct or delete the line"

    def __init__(self, name: str, pairs: Pairs, table: ClassTable) -> None:
        self.name = name
        self.classes = table.classes
        self._pairs = pairs
        self._table = table
        self._left_out = LeftOut()

    @abc.abstractmethod
    def parse(self, text: str, size: tuple[int, int], path: str) -> Lines:
        """Parse a label file's text, for an upright image of `size` (width, height) pixels."""

    def __len__(self) -> int:
        return len(self._pairs.images)

    def image_id(self, index: int) -> str:
        """Return the image's path below the images' folder, with `/`."""
        return self._pairs.images[index]

    def image_path(self, index: int) -> Path:
        """Return the image's file."""
        return self._pairs.root / self._pairs.images[index]

    def load(self, index: int) -> Sample:
        """Return an image with its boxes; an image without a label file is background."""
        image = read_image(self.image_path(index))
        return Sample(self.image_id(index), image, self._truth(index, (image.shape[1], image.shape[0])))

    def target(self, index: int) -> GroundTruth:
        """Return an image's boxes; of the image only the header is read."""
        return self._truth(index, self.size(index))

    def size(self, index: int) -> tuple[int, int]:
        """Return the (width, height) of the upright image in pixels."""
        return image_size(self.image_path(index))

    @property
    def ignored(self) -> Mapping[str, int]:
        """Boxes left out in the images read up to now: of classes that the map leaves out, or without an area."""
        return dict(self._left_out.counts)

    @property
    def source_classes(self) -> Sequence[str]:
        """Every class that the files know, before the class map."""
        return tuple(self._table.names.values())

    def annotations(self, index: int) -> list[Found]:
        """Return an image's annotations as its file describes them, or the sentence for what is none."""
        path = self._pairs.labels[index]
        if path is None:
            return []
        lines = self.parse(read_label_file(path), self.size(index), path)
        polygons = lines.polygons or [None] * len(lines.keys)

        def read(row: int) -> Annotation:
            key, where = lines.keys[row], f"{path}, line {lines.numbers[row]}"
            name, label = self._table.name(key), self._label(key, path, lines.numbers[row])
            outline = polygons[row]
            if outline is not None:
                return Annotation(name, label, where, polygons=(polygon(outline, where),))
            left, top, right, bottom = lines.boxes[row].tolist()
            return Annotation(name, label, where, box=(left, top, right, bottom))

        return read_each(range(len(lines.keys)), read)

    def count_annotations(self, index: int) -> int:
        """Return how many lines with something on them an image's label file has."""
        path = self._pairs.labels[index]
        return 0 if path is None else sum(bool(line.strip()) for line in read_label_file(path).splitlines())

    def _truth(self, index: int, size: tuple[int, int]) -> GroundTruth:
        path = self._pairs.labels[index]
        if path is None:
            return GroundTruth.empty()
        lines = self.parse(read_label_file(path), size, path)
        found = [self._label(key, path, line) for key, line in zip(lines.keys, lines.numbers, strict=True)]
        labels = np.asarray(found, np.int64)
        boxes, solid = fit_boxes(lines.boxes, size, lambda row: f"{path}, line {lines.numbers[row]}", fix=self.fix)
        kept = self._left_out.keep(index, [self._table.name(key) for key in lines.keys], labels, solid)
        return GroundTruth(boxes[kept], labels[kept])

    def _label(self, key: int | str, path: str, line: int) -> int:
        try:
            return self._table.label(key)
        except KeyError:
            known = ", ".join(
                f"{known} ({name})" if name != known else name for known, name in self._table.names.items()
            )
            raise DataError(
                f"{path}, line {line}: expected one of the classes {known}, found {key!r}; "
                "correct the line or name the class in --classes or data.yaml"
            ) from None

    def _fingerprint(self) -> hashlib._Hash:
        digest = super()._fingerprint()
        digest.update(repr(sorted(self._table.labels.items(), key=str)).encode())
        if len(self) <= _FINGERPRINTED_FILES:
            for path in self._pairs.labels:
                digest.update(b"\n" if path is None else hashlib.sha256(read_label_file(path).encode()).digest())
        return digest


def read_label_file(path: str | Path) -> str:
    """Return a label file's text.

    Raises:
        DataError: it cannot be read, or is not UTF-8.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: expected a text file in UTF-8, found the byte {error.object[error.start]:#04x} at position "
            f"{error.start}; save it as UTF-8 or write the labels again"
        ) from None
    except OSError as error:
        raise DataError(f"label file {path} cannot be read: {error.strerror or error}; check its permissions") from None


def parse_number(field: str) -> float | None:
    """Return the number in `field`, or None for a word; NaN and infinity are numbers here, and found out later.

    >>> parse_number("0.5"), parse_number("car"), parse_number("1_0")
    (0.5, None, None)
    """
    try:
        return None if "_" in field else float(field)
    except ValueError:
        return None
