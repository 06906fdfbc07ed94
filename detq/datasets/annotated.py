"""Images with shapes of labelling tools: what VIA, labelme and Pascal VOC have in common as data sets."""

from __future__ import annotations

import abc
import contextlib
import hashlib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detq.datasets.annotations import Annotation, Found, read_each
from detq.datasets.base import Dataset
from detq.datasets.category_from import CategoryRule, attribute_paths
from detq.datasets.class_map import ClassTable
from detq.datasets.geometry import fit_boxes
from detq.datasets.images import frame_sizes, read_image
from detq.datasets.left_out import LeftOut
from detq.datasets.outlines import decode_outline, measure
from detq.datasets.turning import frame_of, turn_annotation
from detq.errors import DataError
from detq.types import GroundTruth, Sample

__all__ = ["AnnotatedImages", "ImageEntry", "Record", "class_table", "no_repeated_images"]

_FIX = "correct it in the labelling tool, or let `detq convert` clip it to the image"
# Reading more files than this for `identity` would no longer be quick.
_FINGERPRINTED_FILES = 20_000


@dataclass(frozen=True)
class ImageEntry:
    """An image that annotation files speak of.

    Attributes:
        name: its path below the images' folder, with `/`; unique in the set.
        path: its file.
        source: the file with its annotations, or None where it has none.
        key: what that file calls it.
    """

    name: str
    path: Path
    source: Path | None
    key: str = ""


@dataclass(frozen=True)
class Record:
    """An object as parsed from a file.

    Attributes:
        where: the words that say where it stands, for messages.
        content: what the file says; a `CategoryRule` looks into it.
    """

    where: str
    content: Mapping[str, Any]


class AnnotatedImages(Dataset):
    """Images with shapes, in the order of their names. Shapes are in the frame of the upright image.

    A shape's box is the one around its points; its area is the polygon's.
    """

    def __init__(self, name: str, entries: Sequence[ImageEntry], table: ClassTable, rule: CategoryRule) -> None:
        self.name = name
        self.classes = table.classes
        self._entries = sorted(entries, key=lambda entry: entry.name)
        self._table = table
        self._rule = rule
        self._left_out = LeftOut()

    @abc.abstractmethod
    def records(self, index: int) -> tuple[Sequence[Record], tuple[int, int] | None]:
        """Return an image's objects, and the (width, height) that the file states for the image, if it does."""

    @abc.abstractmethod
    def read(self, record: Record, size: tuple[int, int]) -> Annotation:
        """Return an object with its shape in a frame of `size`; `annotations` fills in the class."""

    @abc.abstractmethod
    def group(self, record: Record) -> Hashable:
        """Return what shapes of one object have in common, None for a shape that is an object."""

    def annotations(self, index: int) -> list[Found]:
        """Return an image's annotations as its file describes them, or the sentence for what is none."""
        records, stated = self.records(index)
        upright, stored, orientation = frame_sizes(self.image_path(index))
        where = f"{self._entries[index].source}, image {self.image_id(index)}"
        frame = frame_of(stated, upright, stored, where)
        each = read_each(records, lambda record: self._annotation(record, frame))
        found = _join(each, [self.group(record) for record in records])
        if frame == upright:
            return found
        return [a if isinstance(a, DataError) else turn_annotation(a, stored, orientation) for a in found]

    def count_annotations(self, index: int) -> int:
        """Return how many shapes the files have for an image, those of one object counted once."""
        groups = [self.group(record) for record in self.records(index)[0]]
        return groups.count(None) + len(set(groups) - {None})

    def _annotation(self, record: Record, frame: tuple[int, int]) -> Annotation:
        category = self._rule.find(record.content, record.where)
        return replace(self.read(record, frame), category=category, label=self._table.label(category))

    def __len__(self) -> int:
        return len(self._entries)

    def image_id(self, index: int) -> str:
        """Return the image's path below the images' folder, with `/`."""
        return self._entries[index].name

    def image_path(self, index: int) -> Path:
        """Return the image's file."""
        return self._entries[index].path

    def load(self, index: int) -> Sample:
        """Return an image with its annotations."""
        return Sample(self.image_id(index), read_image(self.image_path(index)), self.target(index))

    def size(self, index: int) -> tuple[int, int]:
        """Return the (width, height) of the upright image in pixels."""
        return frame_sizes(self.image_path(index))[0]

    @property
    def source_classes(self) -> Sequence[str]:
        """Every class that the files know, before the class map."""
        return tuple(self._table.names.values())

    @property
    def has_masks(self) -> bool:
        """Whether every object that the class map keeps has an outline; for that all annotations are read."""
        found: list[Annotation] = []
        for index in range(len(self)):
            with contextlib.suppress(DataError):  # `check` is what tells of it
                found += [a for a in self.annotations(index) if isinstance(a, Annotation) and a.label >= 0]
        return bool(found) and all(a.polygons or a.runs is not None for a in found)

    @property
    def ignored(self) -> Mapping[str, int]:
        """Shapes left out in the images read up to now: of classes that the map leaves out, or without an area."""
        return dict(self._left_out.counts)

    def target(self, index: int) -> GroundTruth:
        """Return an image's annotations; of the image only the header is read."""
        size = self.size(index)
        objects: list[Annotation] = []
        for found in self.annotations(index):
            if isinstance(found, DataError):
                raise found
            objects.append(found)
        measured = [measure(annotation, size) for annotation in objects]
        corners = np.asarray([box for box, _ in measured], np.float64).reshape(-1, 4)
        boxes, solid = fit_boxes(corners, size, lambda row: objects[row].where, fix=_FIX)
        labels = np.asarray([annotation.label for annotation in objects], np.int64)
        kept = self._left_out.keep(index, [annotation.category for annotation in objects], labels, solid)
        areas = np.asarray([area for _, area in measured], np.float64)
        crowd = np.asarray([annotation.crowd for annotation in objects], np.bool_)
        masks = _masks([objects[row] for row in np.flatnonzero(kept)], size) if self.masks else None
        return GroundTruth(boxes[kept], labels[kept], crowd[kept], areas[kept], masks)

    def _fingerprint(self) -> hashlib._Hash:
        digest = super()._fingerprint()
        digest.update(repr((sorted(self._table.labels.items(), key=str), self._rule)).encode())
        sources = dict.fromkeys(entry.source for entry in self._entries if entry.source is not None)
        if len(sources) <= _FINGERPRINTED_FILES:
            for source in sources:
                digest.update(hashlib.sha256(source.read_bytes()).digest())
        return digest


def class_table(source: Path, records: Sequence[Record], rule: CategoryRule, class_map: str | None) -> ClassTable:
    """Return the classes that records have, in alphabetical order.

    Records without one are found out when their image is read.

    Raises:
        DataError: there are records, and none of them has a class.
    """
    found: set[str] = set()
    first: DataError | None = None
    for record in records:
        try:
            found.add(rule.find(record.content, record.where))
        except DataError as error:
            first = first or error
    if first is not None and not found:
        paths = attribute_paths(record.content for record in records)
        raise DataError(
            f"{source}: expected a class at {rule.path} in its {len(records)} annotations, found it in none; there is "
            f"{paths}; choose with --category-from PATH, or give all one class with --category NAME"
        )
    return ClassTable.of({name: name for name in sorted(found)}, class_map)


def no_repeated_images(source: Path, entries: Iterable[ImageEntry]) -> None:
    """Refuse two images of one name.

    Raises:
        DataError: the first name that occurs twice.
    """
    seen: dict[str, ImageEntry] = {}
    for entry in entries:
        first = seen.setdefault(entry.name, entry)
        if first is not entry:
            keys = " and ".join(str(one.key or one.source) for one in (first, entry))
            raise DataError(
                f"{source}: expected each image once, found {entry.name} twice, in {keys}; join their annotations or "
                "remove one of the two"
            )


def _join(found: Sequence[Found], groups: Sequence[Hashable]) -> list[Found]:
    """Return the annotations with the polygons of each group and class as the parts of one."""
    joined: list[Found] = []
    places: dict[Hashable, int] = {}
    for annotation, group in zip(found, groups, strict=True):
        if isinstance(annotation, DataError) or group is None or not annotation.polygons:
            joined.append(annotation)
            continue
        key = (annotation.category, group)
        place = places.setdefault(key, len(joined))
        first = joined[place] if place < len(joined) else None
        if isinstance(first, Annotation):
            extra = {key: value for key, value in first.extra.items() if value != group or key != "group_id"}
            joined[place] = replace(
                first,
                polygons=first.polygons + annotation.polygons,
                redrawn=first.redrawn + annotation.redrawn,
                extra=extra,
            )
        else:
            joined.append(annotation)
    return joined


def _masks(objects: Sequence[Annotation], size: tuple[int, int]) -> NDArray[np.bool_]:
    found = [decode_outline(annotation, size) for annotation in objects]
    return np.asarray(found, np.bool_).reshape(len(objects), size[1], size[0])
