"""VIA (VGG Image Annotator) JSON of versions 1.x and 2.x: exports, regions as list or dict, and project files.

Source: VIA 1.0.6 and 2.0.12, `via.js`. A region's class stands in one of its attributes: `--category-from
region_attributes.NAME`; `region_attributes.category` if nothing else is said. An object of several polygons is several
regions whose `region_attributes.part_of` is the same; `region_attributes.iscrowd` is COCO's. Both are detq's own.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from detq.datasets.annotated import AnnotatedImages, ImageEntry, Record, class_table, no_repeated_images
from detq.datasets.annotations import Annotation
from detq.datasets.category_from import CategoryRule
from detq.datasets.class_map import ClassTable
from detq.datasets.json_files import describe_json, load_json, sniff_json, via_images
from detq.datasets.listing import root_of_named
from detq.datasets.options import Options, category_rule, refuse_options
from detq.datasets.outlines import polygon
from detq.datasets.shapes import REDRAWN, via_polygon
from detq.errors import DataError

__all__ = ["CATEGORY", "CROWD", "PART", "ViaDataset", "open_via", "via_candidates"]

CATEGORY = "category"
PART = "part_of"
CROWD = "iscrowd"


class ViaDataset(AnnotatedImages):
    """Images with the regions of one VIA file."""

    def __init__(
        self, name: str, entries: Sequence[ImageEntry], images: Mapping[str, Any], table: ClassTable, rule: CategoryRule
    ) -> None:
        super().__init__(name, entries, table, rule)
        self._images = images

    def records(self, index: int) -> tuple[Sequence[Record], None]:
        """Return an image's regions; VIA states no size."""
        entry = self._entries[index]
        return _records(entry, self._images[entry.key]), None

    def read(self, record: Record, size: tuple[int, int]) -> Annotation:  # noqa: ARG002  # pixels need no size
        """Return a region with its shape as a polygon."""
        shape = record.content.get("shape_attributes")
        if not isinstance(shape, Mapping):
            raise DataError(f"{record.where}: expected shape_attributes, found {shape!r:.40}; correct the region")
        points = polygon(via_polygon(shape, record.where), record.where)
        redrawn = (shape["name"],) if shape["name"] in REDRAWN else ()
        attributes = record.content["region_attributes"]
        if not isinstance(attributes, Mapping):
            raise DataError(
                f"{record.where}: expected region_attributes as an object, found {attributes!r:.40}; correct the region"
            )
        own = (PART, CROWD, (self._rule.path or "").removeprefix("region_attributes."))
        left = {name: value for name, value in attributes.items() if name not in own}
        crowd = str(attributes.get(CROWD, "")).lower() in ("1", "true", "yes")
        extra = {"attributes": left} if left else {}
        return Annotation("", -1, record.where, polygons=(points,), redrawn=redrawn, crowd=crowd, extra=extra)

    def group(self, record: Record) -> Hashable:
        """Return `region_attributes.part_of`."""
        attributes = record.content["region_attributes"]
        part = attributes.get(PART) if isinstance(attributes, Mapping) else None
        return part if isinstance(part, str | int) and part != "" else None

    def image_extra(self, index: int) -> Mapping[str, Any]:
        """Return the image's `file_attributes`."""
        found = self._images[self._entries[index].key].get("file_attributes")
        return {"attributes": found} if found else {}


def open_via(path: Path, options: Options) -> ViaDataset:
    """Open a VIA JSON file, or the folder that holds one.

    Raises:
        DataError: the JSON cannot be used, there are several, or the images are not found.
    """
    refuse_options(path, options, "VIA names its classes in attributes")
    file = path if path.is_file() else _only(path)
    content = load_json(file, "VIA JSON")
    images = via_images(content)
    if images is None and content != {}:
        raise DataError(f"{file}: expected VIA JSON, found {describe_json(content)}")
    if not images:
        raise DataError(f"{file}: expected at least one image, found an empty export; export the annotations again")
    named = [(_file_name(file, key, image), key) for key, image in images.items()]
    root = root_of_named(file, [name for name, _ in named])
    entries = [ImageEntry(name, root / name, file, key) for name, key in named]
    no_repeated_images(file, entries)
    rule = category_rule(options, f"region_attributes.{CATEGORY}")
    records = [record for entry in entries for record in _records(entry, images[entry.key])]
    return ViaDataset(str(path), entries, images, class_table(file, records, rule, options.class_map), rule)


def via_candidates(folder: Path) -> list[Path]:
    """Return the JSON files in `folder` that hold VIA annotations."""
    return [file for file in sorted(folder.glob("*.json")) if sniff_json(file) == "via"]


def _only(folder: Path) -> Path:
    # A lone JSON of another kind is better named than not found.
    found = via_candidates(folder) or sorted(folder.glob("*.json"))
    if len(found) == 1:
        return found[0]
    names = ", ".join(file.name for file in found) or "none"
    raise DataError(f"data set folder {folder}: expected one VIA JSON file, found {names}; name the file to read")


def _file_name(file: Path, key: str, image: Any) -> str:
    name = image.get("filename") if isinstance(image, dict) else None
    if isinstance(name, str) and name.strip():
        return name.strip().replace("\\", "/")
    raise DataError(f"{file}, image {key!r:.80}: expected its file's name in filename, found {name!r:.40}; fill it in")


def _records(entry: ImageEntry, image: Mapping[str, Any]) -> list[Record]:
    regions = image.get("regions")
    where = f"{entry.source}, image {entry.name}"
    if not isinstance(regions, list | dict):
        raise DataError(f"{where}: expected regions as a list or an object, found {regions!r:.40}; correct the file")
    numbered = regions.items() if isinstance(regions, dict) else enumerate(regions)
    found = []
    for number, region in numbered:
        content = region if isinstance(region, dict) else {}
        attributes = content.get("region_attributes")
        known = {
            **content,
            "region_attributes": {} if attributes is None else attributes,
            "file_attributes": image.get("file_attributes"),
        }
        found.append(Record(f"{where}, region {number}", known))
    return found
