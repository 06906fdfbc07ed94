"""COCO JSON with its images, as a data set."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detq.boxes import box_area
from detq.datasets.annotations import Annotation, Found, read_each
from detq.datasets.base import Dataset
from detq.datasets.class_map import ClassTable
from detq.datasets.coco_json import CocoDetails, CocoTables, read_coco, read_details, read_segmentations
from detq.datasets.coco_masks import decode_segmentation
from detq.datasets.geometry import fit_boxes, turn_upright
from detq.datasets.images import frame_sizes, read_image
from detq.datasets.left_out import LeftOut
from detq.datasets.listing import root_of_named
from detq.datasets.options import Options
from detq.datasets.outlines import parse_segmentation
from detq.datasets.recognise import coco_candidates
from detq.datasets.turning import frame_of, turn_annotation, turn_masks
from detq.errors import DataError
from detq.types import GroundTruth, Sample

__all__ = ["CocoDataset", "open_coco"]


class CocoDataset(Dataset):
    """Images with COCO annotations, in the order of their file names.

    An image's `width` and `height` must be those of its file, upright. Where they are those of the stored pixels of a
    photo that EXIF turns by 90°, boxes and masks are taken to be in that frame and turned with it.

    Attributes:
        masks: set it to True to decode instance masks; the segmentations are then read from the JSON once more.
    """

    def __init__(self, name: str, path: Path, root: Path, tables: CocoTables, table: ClassTable) -> None:
        self.name = name
        self.classes = table.classes
        self._path = path
        self._root = root
        self._tables = tables
        self._table = table
        self._labels = np.asarray([table.label(number) for number in tables.category_ids], np.int64)
        self._order = np.argsort(tables.image_of, kind="stable")
        self._starts = np.searchsorted(tables.image_of[self._order], np.arange(len(tables.file_names) + 1))
        self._segmentations: list[Any] | None = None
        self._details: CocoDetails | None = None
        self._left_out = LeftOut()

    def __len__(self) -> int:
        return len(self._tables.file_names)

    def image_id(self, index: int) -> str:
        """Return the image's `file_name`."""
        return self._tables.file_names[index]

    def coco_image_id(self, index: int) -> int | str:
        """Return the image's `id` in the JSON."""
        return self._tables.image_ids[index]

    def coco_categories(self) -> Mapping[int, str]:
        """Return the class name of each category id that the class map keeps."""
        found = {number: self._table.label(number) for number in self._tables.categories}
        return {number: self.classes[label] for number, label in found.items() if label >= 0}

    def image_path(self, index: int) -> Path:
        """Return the image's file."""
        return self._root / self._tables.file_names[index]

    def load(self, index: int) -> Sample:
        """Return an image with its annotations."""
        return Sample(self.image_id(index), read_image(self.image_path(index)), self.target(index))

    def target(self, index: int) -> GroundTruth:
        """Return an image's annotations; of the image only the header is read."""
        upright, stored, orientation = frame_sizes(self.image_path(index))
        size = self._size(index, upright, stored)
        rows = self._order[self._starts[index] : self._starts[index + 1]]
        given = self._tables.boxes[rows]
        corners = np.concatenate([given[:, :2], given[:, :2] + given[:, 2:]], axis=1)
        fix = "correct or remove the annotation"
        boxes, solid = fit_boxes(corners, size, lambda row: self._where(rows[row]), fix=fix)
        names = [self._tables.categories[self._tables.category_ids[row]] for row in rows]
        if size != upright:
            boxes = turn_upright(boxes, stored, orientation)
            solid = np.all(boxes[:, 2:] > boxes[:, :2], axis=1)
        kept = self._left_out.keep(index, names, self._labels[rows], solid)
        rows, boxes = rows[kept], boxes[kept]
        areas = self._tables.areas_px[rows]
        areas = np.where(np.isnan(areas), box_area(boxes), areas)
        masks = self._masks(rows, size) if self.masks else None
        if size != upright and masks is not None:
            masks = turn_masks(masks, orientation)
        return GroundTruth(boxes, self._labels[rows], self._tables.crowd[rows], areas, masks)

    def size(self, index: int) -> tuple[int, int]:
        """Return the (width, height) of the upright image in pixels, from its file."""
        return frame_sizes(self.image_path(index))[0]

    @property
    def has_masks(self) -> bool:
        """Whether every object that the class map keeps has a segmentation; the JSON is read once more for that."""
        kept = self._labels >= 0
        return bool(kept.any()) and all(found for found, keep in zip(self._read(), kept, strict=True) if keep)

    @property
    def ignored(self) -> Mapping[str, int]:
        """Boxes left out in the images read up to now: of categories that the map leaves out, or without an area."""
        return dict(self._left_out.counts)

    @property
    def source_classes(self) -> Sequence[str]:
        """Every category's name, before the class map."""
        return tuple(self._tables.categories.values())

    def annotations(self, index: int) -> list[Found]:
        """Return an image's annotations as the file describes them, or the sentence for what is none."""
        upright, stored, orientation = frame_sizes(self.image_path(index))
        size = self._size(index, upright, stored)
        rows = self._order[self._starts[index] : self._starts[index + 1]]
        found = read_each(rows.tolist(), self._annotation)
        if size == upright:
            return found
        return [a if isinstance(a, DataError) else turn_annotation(a, stored, orientation) for a in found]

    def count_annotations(self, index: int) -> int:
        """Return how many annotations the file has for an image."""
        return int(self._starts[index + 1] - self._starts[index])

    def image_extra(self, index: int) -> Mapping[str, Any]:
        """Return the image's fields that this class does not know, such as its licence."""
        return self._read_details().images[self.coco_image_id(index)]

    def extra(self) -> Mapping[str, Any]:
        """Return the file's other fields, and what it says about its categories beside their names."""
        details = self._read_details()
        return {**details.whole, "categories": details.categories}

    def _annotation(self, row: int) -> Annotation:
        details, tables = self._read_details(), self._tables
        number, given = tables.annotation_ids[row], tables.category_ids[row]
        x, y, width, height = tables.boxes[row].tolist()
        polygons, runs = parse_segmentation(details.segmentations[row], self._where(row))
        return Annotation(
            tables.categories[given],
            self._table.label(given),
            self._where(row),
            box=(x, y, x + width, y + height),
            polygons=polygons,
            runs=runs,
            crowd=bool(tables.crowd[row]),
            area_px=None if np.isnan(tables.areas_px[row]) else float(tables.areas_px[row]),
            number=number if isinstance(number, int) else None,
            extra=details.annotations[row],
        )

    def _read_details(self) -> CocoDetails:
        if self._details is None:
            self._details = read_details(self._path)
        return self._details

    def _size(self, index: int, upright: tuple[int, int], stored: tuple[int, int]) -> tuple[int, int]:
        """Return the size of the frame that the annotations are in."""
        width, height = (int(side) for side in self._tables.sizes[index])
        return frame_of((width, height), upright, stored, f"{self._path}, image {self.image_id(index)}")

    def _where(self, row: int) -> str:
        image = self._tables.file_names[self._tables.image_of[row]]
        return f"{self._path}, annotation id {self._tables.annotation_ids[row]} (image {image})"

    def _masks(self, rows: NDArray[np.int64], size: tuple[int, int]) -> NDArray[np.bool_]:
        segmentations = self._read()
        found = [decode_segmentation(segmentations[row], size, self._where(row)) for row in rows]
        return np.asarray(found, np.bool_).reshape(len(rows), size[1], size[0])

    def _read(self) -> list[Any]:
        if self._segmentations is None:
            self._segmentations = read_segmentations(self._path)
        return self._segmentations

    def _fingerprint(self) -> hashlib._Hash:
        digest = super()._fingerprint()
        digest.update(repr(sorted(self._table.labels.items())).encode())
        digest.update(self._path.read_bytes())
        return digest


def open_coco(path: Path, options: Options) -> CocoDataset:
    """Open a COCO JSON file, or the folder that holds one.

    Raises:
        DataError: the JSON cannot be used, there are several, or the images are not found.
    """
    if options.classes is not None:
        raise DataError(
            f"--classes does not go with {path}: COCO JSON names its categories itself; leave it out, or choose some "
            "with --map car=car"
        )
    if options.split is not None:
        raise DataError(f"option split={options.split} goes with YOLO's data.yaml; name the JSON file to read instead")
    file = path if path.is_file() else _only_json(path)
    tables = read_coco(file)
    root = root_of_named(file, tables.file_names)
    return CocoDataset(str(path), file, root, tables, ClassTable.of(tables.categories, options.class_map))


def _only_json(folder: Path) -> Path:
    found = coco_candidates(folder)
    if len(found) == 1:
        return found[0]
    names = ", ".join(str(file.relative_to(folder)) for file in found) or "none"
    raise DataError(f"data set folder {folder}: expected one COCO JSON file, found {names}; name the file to read")
