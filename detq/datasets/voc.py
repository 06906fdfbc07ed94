"""Pascal VOC: an XML an image with boxes, and polygons where the exporting tool adds them.

Source: VOC2012 development kit, §4: corners are pixels counted from 1, both included, so that a box from 1 to W spans
the image. A set in which a minimum is below 1 was written by a tool that counts from 0 and is read so.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET  # expat 2.4.1 and later stop entities that grow without end

from detq.datasets.annotated import AnnotatedImages, ImageEntry, Record, class_table, no_repeated_images
from detq.datasets.annotations import Annotation, Points, as_points
from detq.datasets.category_from import CategoryRule
from detq.datasets.class_map import ClassTable
from detq.datasets.label_files import parse_number
from detq.datasets.options import Options, category_rule, refuse_options
from detq.datasets.outlines import polygon
from detq.datasets.sidecars import SidecarKind, list_sidecars
from detq.errors import DataError

__all__ = ["VocDataset", "open_voc"]

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_OWN = ("name", "bndbox", "polygon")


class VocDataset(AnnotatedImages):
    """Images with a VOC file each.

    Attributes:
        origin: the number of the first pixel in the files' coordinates: 1, or 0 if one of them says so.
    """

    def __init__(
        self, name: str, entries: Sequence[ImageEntry], table: ClassTable, rule: CategoryRule, origin: int
    ) -> None:
        super().__init__(name, entries, table, rule)
        self.origin = origin

    def records(self, index: int) -> tuple[Sequence[Record], tuple[int, int] | None]:
        """Return an image's objects and the size that its file states."""
        source = self._entries[index].source
        if source is None:
            return [], None
        root = _parse(source)
        return _records(source, root), _size(source, root)

    def read(self, record: Record, size: tuple[int, int]) -> Annotation:  # noqa: ARG002  # pixels need no size
        """Return an object as a polygon if it has one, else as a box."""
        content, where = record.content, record.where
        extra = {key: value for key, value in content.items() if key not in _OWN and value not in ("", {})}
        kept = {"attributes": extra} if extra else {}
        if content.get("polygon"):
            drawn = content["polygon"]
            parts = [polygon(_polygon(part, where), where) for part in (drawn if isinstance(drawn, list) else [drawn])]
            return Annotation("", -1, where, polygons=tuple(parts), extra=kept)
        left, top, right, bottom = _corners(record)
        box = (left - self.origin, top - self.origin, right, bottom)
        return Annotation("", -1, where, box=box, extra=kept)

    def group(self, record: Record) -> Hashable:  # noqa: ARG002  # an object is one element
        """Return None: an object is one element."""
        return None


def open_voc(path: Path, options: Options) -> VocDataset:
    """Open a folder of images and VOC files, or one such file.

    Raises:
        DataError: there are none, they are of another kind, or images are missing.
    """
    refuse_options(path, options, "VOC files name their classes")
    files, entries = list_sidecars(path, _KIND, allow_unlabelled=options.allow_unlabelled)
    no_repeated_images(path, entries)
    rule = category_rule(options, "name")
    records = [record for file in files for record in _records(file, _parse(file))]
    table = class_table(path, records, rule, options.class_map)
    origin = 0 if any(_counts_from_zero(record) for record in records) else 1
    return VocDataset(str(path), entries, table, rule, origin)


def _parse(source: Path) -> ET.Element:
    try:
        root = ET.fromstring(source.read_bytes())  # noqa: S314  # see the import
    except (OSError, ET.ParseError, ValueError, LookupError) as error:
        found = "an empty file" if source.is_file() and not source.stat().st_size else str(error)
        raise DataError(f"{source}: expected Pascal VOC XML, found {found}; export the annotations again") from None
    if root.tag == "annotation":
        return root
    raise DataError(
        f"{source}: expected Pascal VOC XML with the element annotation, found {root.tag!r:.60}; export the "
        "annotations as VOC"
    )


def _image_name(source: Path) -> str:
    # Some tools leave it out, or leave it as it was before the files were renamed; then the XML's own name counts.
    return (_parse(source).findtext("filename") or "").strip() or f"{source.stem}.jpg"


_KIND = SidecarKind("Pascal VOC", ".xml", _image_name)


def _records(source: Path, root: ET.Element) -> list[Record]:
    return [
        Record(f"{source}, object {number}", content)
        for number, content in enumerate((_content(element) for element in root.iter("object")), start=1)
    ]


def _content(element: ET.Element) -> dict[str, Any]:
    """Return an element's children by name: texts, mappings, or lists where a name occurs more than once."""
    found: dict[str, Any] = {}
    for child in element:
        value: Any = _content(child) if len(child) else (child.text or "").strip()
        if child.tag in found:
            earlier = found[child.tag]
            value = [*earlier, value] if isinstance(earlier, list) else [earlier, value]
        found[child.tag] = value
    return found


def _size(source: Path, root: ET.Element) -> tuple[int, int] | None:
    texts = [root.findtext(f"size/{name}") for name in ("width", "height")]
    if None in texts:
        return None
    sides = [parse_number((text or "").strip()) for text in texts]
    if all(side is not None and side.is_integer() for side in sides):
        return int(sides[0] or 0), int(sides[1] or 0)
    raise DataError(f"{source}: expected whole numbers for size, found {texts[0]!r:.20} × {texts[1]!r:.20}; correct it")


def _corners(record: Record) -> tuple[float, float, float, float]:
    box = record.content.get("bndbox")
    texts = [box.get(name) for name in _CORNERS] if isinstance(box, Mapping) else [None] * 4
    values = [parse_number(text) if isinstance(text, str) else None for text in texts]
    left, top, right, bottom = values
    if left is None or top is None or right is None or bottom is None:
        raise DataError(
            f"{record.where}: expected bndbox with the numbers xmin, ymin, xmax and ymax, found {box!r:.80}; "
            "correct the object"
        )
    return left, top, right, bottom


def _counts_from_zero(record: Record) -> bool:
    try:
        left, top, _, _ = _corners(record)
    except DataError:
        return False
    return min(left, top) < 1


def _polygon(content: Any, where: str) -> Points:
    """Return the points of `<polygon><x1/><y1/><x2/>…`, which count from 0 as the tools that add them do."""
    if not isinstance(content, Mapping):
        raise DataError(f"{where}: expected a polygon of x1, y1, x2, …, found {content!r:.60}; correct the object")
    count = len(content) // 2
    values = [
        [parse_number(str(content.get(f"{axis}{number}", ""))) for number in range(1, count + 1)] for axis in "xy"
    ]
    return as_points(values[0], values[1], where)
