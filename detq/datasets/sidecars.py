"""Annotation files beside images, one an image, that name the image themselves: labelme's JSON, Pascal VOC's XML."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from detq.datasets.annotated import ImageEntry
from detq.datasets.images import IMAGE_SUFFIXES
from detq.datasets.listing import list_files
from detq.errors import DataError

__all__ = ["SidecarKind", "list_sidecars"]

# Where images lie beside a folder of annotations: VOC's own layout, and what tools make of it.
_IMAGE_FOLDERS = ("JPEGImages", "images", "Images", "")


@dataclass(frozen=True)
class SidecarKind:
    """A format with one annotation file an image.

    Attributes:
        name: of the format, for messages.
        suffix: of its files.
        image_name: from a file to the image that it names; it may have a path, with `/` or a backslash.
    """

    name: str
    suffix: str
    image_name: Callable[[Path], str]


def list_sidecars(path: Path, kind: SidecarKind, *, allow_unlabelled: bool) -> tuple[list[Path], list[ImageEntry]]:
    """Return the annotation files at or below `path`, and the images that they name.

    An image is where its file says, beside its file, or in `images` or `JPEGImages` beside its file's folder; by
    the name that the file gives or, for files that were renamed, by that of the file itself.

    Raises:
        DataError: there are none; or an image without one among the others, unless `allow_unlabelled`.
    """
    if path.is_file():
        return [path], [_entry(path, path.parent, kind)]
    files = [path / name for name in list_files(path, (kind.suffix,))]
    if not files:
        raise DataError(
            f"data set folder {path}: expected {kind.name} files (*{kind.suffix}), found none; check the path"
        )
    entries = [_entry(file, path, kind) for file in files]
    background = _without(path, entries)
    if background and not allow_unlabelled:
        raise DataError(
            f"{path / background[0]}: expected a {kind.name} file for each image, found {len(background)} images "
            "without; add the files, or take such images as background with --allow-unlabelled"
        )
    return files, entries + [ImageEntry(name, path / name, None) for name in background]


def _entry(file: Path, root: Path, kind: SidecarKind) -> ImageEntry:
    name = kind.image_name(file).replace("\\", "/")
    image = next((place for place in _places(file, name) if place.is_file()), file.parent / name)
    inside = image.resolve().is_relative_to(root.resolve())
    shown = image.resolve().relative_to(root.resolve()).as_posix() if inside else image.name
    return ImageEntry(shown, image, file, str(file))


def _places(file: Path, name: str) -> Iterator[Path]:
    base = name.rpartition("/")[2]
    folders = [file.parent, *(file.parent.parent / folder for folder in _IMAGE_FOLDERS)]
    yield file.parent / name
    yield from (folder / base for folder in folders)
    for suffix in sorted(IMAGE_SUFFIXES):
        yield from (folder / f"{file.stem}{spelt}" for folder in folders for spelt in (suffix, suffix.upper()))


def _without(root: Path, entries: Sequence[ImageEntry]) -> list[str]:
    """Return the images that no file speaks of, in the folders that hold images that files speak of."""
    named = {entry.name for entry in entries}
    folders = {name.rpartition("/")[0] for name in named}
    return [
        name for name in list_files(root, IMAGE_SUFFIXES) if name not in named and name.rpartition("/")[0] in folders
    ]
