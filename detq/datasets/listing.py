"""Finding the images below a folder, and the label file of each."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from detq.datasets.images import IMAGE_SUFFIXES
from detq.errors import DataError

__all__ = [
    "Pairs",
    "is_label",
    "label_root",
    "list_files",
    "list_images",
    "list_pairs",
    "root_of_named",
    "scan",
    "suffix_of",
]

# Enough to find the images' folder without a look at each of them.
_PROBED = 20
# Texts that lie beside label files in the exports of common tools.
_NO_LABELS = ("classes.txt", "labels.txt", "predefined_classes.txt", "requirements.txt", "license.txt")


@dataclass(frozen=True)
class Pairs:
    """Images and their label files, in the order of the images' relative paths.

    Attributes:
        root: the folder that `images` are relative to.
        images: paths with `/`.
        labels: the path of each image's label file; None where it has none.
    """

    root: Path
    images: list[str]
    labels: list[str | None]


def scan(root: Path) -> tuple[list[str], list[str]]:
    """Return the images and the .txt files below `root`, as sorted relative paths with `/`; hidden ones do not count.

    Raises:
        DataError: the folder is missing or cannot be read.
    """
    found = list_files(root, IMAGE_SUFFIXES | {".txt"})
    return [name for name in found if suffix_of(name) != ".txt"], [name for name in found if suffix_of(name) == ".txt"]


def suffix_of(name: str) -> str:
    """Return the suffix of a file's name in small letters: ".jpg"."""
    return os.path.splitext(name)[1].lower()  # noqa: PTH122  # a million Paths are slow


def list_files(root: Path, suffixes: Collection[str]) -> list[str]:
    """Return the files below `root` with these suffixes, as sorted relative paths with `/`; hidden ones do not count.

    Raises:
        DataError: the folder is missing or cannot be read.
    """
    found: list[str] = []
    waiting, seen = [""], set()
    try:
        while waiting:
            folder = waiting.pop()
            status = (root / folder).stat()
            if (status.st_dev, status.st_ino) in seen:  # a link to a folder above would go round for ever
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(root / folder) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir():
                        waiting.append(f"{folder}{entry.name}/")
                    elif suffix_of(entry.name) in suffixes:
                        found.append(folder + entry.name)
    except OSError as error:
        raise DataError(
            f"data set folder {root} cannot be read: {error.strerror or error}; check the path and its permissions"
        ) from None
    return sorted(found)


def list_images(root: Path) -> list[str]:
    """Return the images below `root` as sorted relative paths with `/`.

    Raises:
        DataError: there are none, or the folder cannot be read.
    """
    images, texts = scan(root)
    if not images:
        found = f"{len(texts)} text files and no image" if texts else "neither images nor text files"
        kinds = " ".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))
        raise DataError(f"data set folder {root}: expected images ({kinds}), found {found}; check the path")
    return images


def is_label(name: str) -> bool:
    """Return whether the text file of this name may hold labels: class lists and readmes do not."""
    base = name.rpartition("/")[2].lower()
    return base not in _NO_LABELS and not base.startswith("readme")


def list_pairs(folder: Path, *, allow_unlabelled: bool = False) -> Pairs:
    """Pair each image below `folder` with its label file.

    A label file has the image's name with `.txt` and lies where `images` in the image's path is replaced by `labels`,
    or beside the image, or in a folder `Label` or `labels` beside it.

    Raises:
        DataError: no images; a label file without an image; an image without a label file (unless `allow_unlabelled`);
            two images that share a label file.
    """
    image_root, text_root = _image_root(folder), label_root(folder)
    images = list_images(image_root)
    texts = [name for name in scan(text_root)[1] if is_label(name)]
    known = set(texts)
    found = [next((name for name in _candidates(image) if name in known), None) for image in images]
    _no_shared_labels(image_root, images, found)
    owned = {name for name in found if name is not None}
    orphans = [name for name in texts if name not in owned]
    if orphans:
        raise DataError(
            f"{text_root / orphans[0]}: expected an image of that name for each label file, found "
            f"{len(orphans)} of {len(texts)} label files without one below {image_root}; "
            "restore the images or remove the label files"
        )
    if not allow_unlabelled:
        _no_missing_labels(image_root, text_root, images, found)
    return Pairs(image_root, images, [None if name is None else os.path.join(text_root, name) for name in found])  # noqa: PTH118


def _no_missing_labels(image_root: Path, text_root: Path, images: Sequence[str], found: Sequence[str | None]) -> None:
    missing = [image for image, name in zip(images, found, strict=True) if name is None]
    if missing:
        expected = text_root / next(iter(_candidates(missing[0])))
        raise DataError(
            f"{image_root / missing[0]}: expected its labels in {expected}, found {len(missing)} of {len(images)} "
            "images without a label file; add the files (an empty one says that the image is background), "
            "or take such images as background with --allow-unlabelled or, in detq train, PATH?allow_unlabelled=1"
        )


def _no_shared_labels(root: Path, images: Sequence[str], found: Sequence[str | None]) -> None:
    owners: dict[str, str] = {}
    for image, name in zip(images, found, strict=True):
        if name is not None and owners.setdefault(name, image) != image:
            raise DataError(
                f"{root / image}: expected one image for each label file, found {name} to be that of "
                f"{owners[name]} as well; rename one of the images with its labels"
            )


def _image_root(folder: Path) -> Path:
    return folder / "images" if (folder / "images").is_dir() and (folder / "labels").is_dir() else folder


def label_root(folder: Path) -> Path:
    """Return the folder below which the label files of the images in `folder` lie; often `folder` itself."""
    if _image_root(folder) != folder:
        return folder / "labels"
    parts = Path(os.path.abspath(folder)).parts  # noqa: PTH100  # `resolve` would follow links away from the labels
    swapped = Path(*_swap(parts))
    return swapped if swapped.parts != parts and swapped.is_dir() else folder


def _swap(parts: Sequence[str]) -> list[str]:
    """Replace the last `images` among the parts of a path by `labels`."""
    swapped = list(parts)
    for at in reversed(range(len(swapped))):
        if swapped[at] == "images":
            swapped[at] = "labels"
            break
    return swapped


def _candidates(image: str) -> tuple[str, ...]:
    """Return where the labels of `image` may lie, most likely first."""
    folder, slash, name = image.rpartition("/")
    text = f"{name.rpartition('.')[0]}.txt"
    beside = folder + slash
    swapped = "/".join([*_swap(folder.split("/")), text]) if "images" in folder else f"{beside}{text}"
    return (swapped, f"{beside}{text}", f"{beside}Label/{text}", f"{beside}labels/{text}")


def root_of_named(file: Path, names: Sequence[str]) -> Path:
    """Return the folder that the image names in an annotation file are relative to, by where the first of them are.

    Raises:
        DataError: none of the first lies in one of the usual places.
    """
    names = names[:_PROBED]
    # instances_val2017.json goes with val2017/, in COCO's own layout in the folder above.
    subset = file.stem.rpartition("_")[2]
    inside = ("", "images", subset, f"images/{subset}")
    places = [base / part for base in (file.parent, file.parent.parent) for part in inside]
    for place in places:
        if any((place / name).is_file() for name in names):
            return place
    looked = ", ".join(str(place) for place in places[:4])
    raise DataError(
        f"{file}: expected image {names[0]} beside it or in images/, found none of the first {len(names)} images in "
        f"{looked} or the same in the folder above; put the images there"
    )
