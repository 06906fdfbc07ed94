"""From a data set's files to a collection: every annotation fitted to its image, or accounted for."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from detq.convert.collection import Category, Collection, ImageRecord
from detq.convert.fit import fit
from detq.convert.ledger import Dropped, Ledger
from detq.datasets.annotations import Annotation, Found
from detq.datasets.base import Dataset
from detq.datasets.shapes import REDRAWN
from detq.errors import DataError

__all__ = ["Counts", "collect"]

MOST_PROBLEMS = 10
_INVALID = "invalid: "
RENUMBERED = "annotation ids are numbered anew from 1: pycocotools takes 0 for no match"

Progress = Callable[[str, int, int], None]


@dataclass
class Counts:
    """How much was read.

    Attributes:
        images: images in the source.
        annotations: annotations in the source.
        categories: categories in the source.
        used: annotations of each class, as the source calls it.
    """

    images: int = 0
    annotations: int = 0
    categories: int = 0
    used: Counter[str] = field(default_factory=Counter)


def collect(
    data: Dataset, ledger: Ledger, *, skip_invalid: bool, allow_unlabelled: bool, progress: Progress
) -> tuple[Collection, Counts]:
    """Return a data set's images with annotations that fit them.

    Raises:
        DataError: annotations or images are invalid, unless `skip_invalid` leaves them out; the message holds the first
            ten. Or nothing is left; or there is no annotation at all, unless `allow_unlabelled`.
    """
    reader = _Reader(data, ledger)
    for index in range(len(data)):
        reader.read(index)
        progress("annotations", index + 1, len(data))
    # YOLO's numbers need no list of classes when --map chooses among them.
    reader.counts.categories = max(reader.counts.categories, len(reader.counts.used))
    if reader.problems and not skip_invalid:
        raise DataError(_list(data.name, reader.problems))
    if not reader.images:
        raise DataError(f"{data.name}: expected images, found none that can be used; {reader.problems[0]}")
    if not reader.counts.annotations and not allow_unlabelled:
        raise DataError(
            f"{data.name}: expected annotations, found {len(data)} images without any; annotate them, or convert them "
            "as background with --allow-unlabelled"
        )
    images = _number_images(reader.images, reader.numbers)
    return Collection(_number_annotations(images, ledger), _categories(data, ledger), _whole(data)), reader.counts


class _Reader:
    """Reads image after image and keeps the account."""

    def __init__(self, data: Dataset, ledger: Ledger) -> None:
        self.data, self.ledger = data, ledger
        self.images: list[ImageRecord] = []
        self.numbers: list[int | str] = []
        self.problems: list[str] = []
        self.counts = Counts(images=len(data), categories=len(data.source_classes))
        self._names: dict[str, str] = {}

    def read(self, index: int) -> None:
        data = self.data
        image_id = data.image_id(index)
        try:
            size, found = data.size(index), data.annotations(index)
            name = self._name(image_id)
        except DataError as error:
            self._drop("image", image_id, str(error))
            self._drop_all_of(index, image_id)
            return
        kept = [annotation for each in found for annotation in self._keep(each, size)]
        self.numbers.append(data.coco_image_id(index))
        self.images.append(ImageRecord(name, data.image_path(index), size, 0, kept, data.image_extra(index)))

    def _name(self, image_id: str) -> str:
        """Return where an image goes: below the images' folder whatever its name says."""
        path = PurePosixPath(image_id)
        name = path.name if path.is_absolute() or ".." in path.parts else str(path)
        first = self._names.setdefault(name, image_id)
        if first != image_id:
            raise DataError(
                f"{self.data.name}: expected image names that differ in one folder, found {first} and {image_id}; "
                "rename one of them with its annotations"
            )
        return name

    def _keep(self, found: Found, size: tuple[int, int]) -> Iterator[Annotation]:
        self.counts.annotations += 1
        if isinstance(found, DataError):
            self._drop("annotation", "", str(found))
            return
        self.counts.used[found.category] += 1
        if found.label < 0:
            self.ledger.dropped.append(Dropped("annotation", found.where, f"class {found.category} is not in --map"))
            return
        try:
            fitted = fit(found, size)
        except DataError as error:
            self._drop("annotation", found.where, str(error))
            return
        if fitted.annotation is None:
            self.ledger.dropped.append(Dropped("annotation", found.where, fitted.reason))
            return
        for change in (*(REDRAWN[kind] for kind in found.redrawn), *fitted.changes):
            self.ledger.change(change, found.where)
        yield fitted.annotation

    def _drop_all_of(self, index: int, image_id: str) -> None:
        """Enter the annotations of an image that is left out."""
        with contextlib.suppress(DataError):  # their file cannot be read either, which the image's entry says
            lost = self.data.count_annotations(index)
            self.counts.annotations += lost
            self.ledger.dropped += [Dropped("annotation", f"image {image_id}", "its image is left out")] * lost

    def _drop(self, what: str, where: str, sentence: str) -> None:
        self.problems.append(sentence)
        place = where if where and where in sentence else ""
        self.ledger.dropped.append(Dropped(what, where, _INVALID + sentence.removeprefix(f"{place}: ")))


def _list(name: str, problems: Sequence[str]) -> str:
    if len(problems) == 1:
        return problems[0]
    shown = "\n".join(f"  {problem}" for problem in problems[:MOST_PROBLEMS])
    more = len(problems) - MOST_PROBLEMS
    left = f"\n  and {more} more" if more > 0 else ""
    return (
        f"{name} has {len(problems)} problems; correct them, or leave out what is named here with --skip-invalid:\n"
        f"{shown}{left}"
    )


def _number_images(images: Sequence[ImageRecord], numbers: Sequence[int | str]) -> list[ImageRecord]:
    """Return the images in the order of their names, with the ids that they had if those are numbers, else from 1."""
    known = [number for number in numbers if isinstance(number, int)]
    if len(known) == len(images):
        images = [replace(image, number=number) for image, number in zip(images, known, strict=True)]
        return sorted(images, key=lambda image: image.name)
    ordered = sorted(images, key=lambda image: image.name)
    return [replace(image, number=number) for number, image in enumerate(ordered, start=1)]


def _number_annotations(images: Sequence[ImageRecord], ledger: Ledger) -> Sequence[ImageRecord]:
    """Return the images with annotations that have the ids they had if those are positive numbers, else from 1."""
    numbers = [annotation.number for image in images for annotation in image.annotations]
    known = [number for number in numbers if number is not None]
    if len(set(known)) == len(numbers) and all(number > 0 for number in known):
        return images
    if known:
        ledger.notes.append(RENUMBERED)
    following = iter(range(1, len(numbers) + 1))
    return [
        replace(image, annotations=[replace(a, number=next(following)) for a in image.annotations]) for image in images
    ]


def _categories(data: Dataset, ledger: Ledger) -> list[Category]:
    numbers: dict[str, int] = {}
    for number, name in data.coco_categories().items():
        numbers.setdefault(name, number)
    extra = data.extra().get("categories", {})
    repeated = [name for name, count in Counter(data.source_classes).items() if count > 1]
    if repeated:
        ledger.notes.append(f"categories of one name are merged: {', '.join(repeated)}")
    if set(numbers) == set(data.classes):
        return [Category(numbers[name], name, extra.get(numbers[name], {})) for name in data.classes]
    return [Category(number, name) for number, name in enumerate(data.classes, start=1)]


def _whole(data: Dataset) -> dict[str, object]:
    return {key: value for key, value in data.extra().items() if key != "categories"}
