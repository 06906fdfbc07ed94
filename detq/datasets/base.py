"""What every data set offers: images one at a time, their annotations, and a check of all annotations up front."""

from __future__ import annotations

import abc
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from detq.datasets.annotations import Found
from detq.errors import DataError
from detq.types import GroundTruth, Sample

__all__ = ["Dataset", "Progress"]

Progress = Callable[[int, int], None]
"""Called as `progress(done, total)`."""

MOST_PROBLEMS = 10


class Dataset(abc.ABC):
    """Images in a fixed order with annotations; lazy, so that a million images cost a list of paths.

    Data sets hold no open files and can be pickled, so that they can be handed to worker processes.

    Attributes:
        name: what the user typed, for reports.
        classes: the class names that labels are indices into.
        masks: whether `load` and `target` decode instance masks, where the format has them. Off by default: it is slow.
    """

    name: str
    classes: tuple[str, ...]
    masks: bool = False

    @abc.abstractmethod
    def __len__(self) -> int:
        """Return the number of images."""

    @abc.abstractmethod
    def image_id(self, index: int) -> str:
        """Return the image's name, unique in this set and stable: the path below the images' folder, with `/`."""

    @abc.abstractmethod
    def load(self, index: int) -> Sample:
        """Return an image with its annotations; `target` is None only where the set is unlabelled.

        Raises:
            DataError: the image or its annotations cannot be used.
        """

    def target(self, index: int) -> GroundTruth | None:
        """Return the annotations alone; readers of files do it without decoding the image.

        Raises:
            DataError: the annotations cannot be used.
        """
        return self.load(index).target

    def size(self, index: int) -> tuple[int, int]:
        """Return the (width, height) of the upright image in pixels; readers of files use its header alone."""
        sample = self.load(index)
        return sample.width, sample.height

    def __iter__(self) -> Iterator[Sample]:
        """Return the samples in order, each loaded when it is asked for."""
        return (self.load(index) for index in range(len(self)))

    @property
    def has_masks(self) -> bool:
        """Whether every object has an instance mask, which `load` and `target` decode where `masks` is set."""
        return False

    @property
    def ignored(self) -> Mapping[str, int]:
        """Boxes left out in the annotations read up to now, by class name: by the class map, or without an area."""
        return {}

    def annotations(self, index: int) -> list[Found]:
        """Return an image's annotations as its file describes them, or the sentence for what is none.

        Raises:
            DataError: the set has no annotation files, or those of the image cannot be read.
        """
        raise DataError(
            f"{self.name}: expected annotation files, found a set of images without; "
            f"name a labelled data set instead of image {self.image_id(index)}"
        )

    def count_annotations(self, index: int) -> int:  # noqa: ARG002  # readers of annotation files override it
        """Return how many annotations the files have for an image, which itself may be missing or damaged.

        Raises:
            DataError: its annotation file cannot be read.
        """
        return 0

    def image_path(self, index: int) -> Path:
        """Return the image's file.

        Raises:
            DataError: there is none: it is rendered.
        """
        raise DataError(f"{self.name}: expected image files, found rendered images such as {self.image_id(index)}")

    def image_extra(self, index: int) -> Mapping[str, Any]:  # noqa: ARG002  # readers that find more override it
        """Return what the files say about an image beside its annotations, under COCO's names."""
        return {}

    def extra(self) -> Mapping[str, Any]:
        """Return what the files say about the whole set beside images, annotations and categories."""
        return {}

    @property
    def source_classes(self) -> Sequence[str]:
        """Every class that the files know, before the class map; a name may occur twice."""
        return self.classes

    def coco_image_id(self, index: int) -> int | str:
        """Return what a COCO results file calls this image: its number in COCO data, its `image_id` elsewhere."""
        return self.image_id(index)

    def coco_categories(self) -> Mapping[int, str]:
        """Return the class name of each COCO category id that the class map keeps; empty for formats without ids."""
        return {}

    def check(self, progress: Progress | None = None) -> None:
        """Read every annotation and image header, so that a problem shows before a long run and not in its last hour.

        Images are not decoded. Call it before a run.

        Args:
            progress: called with (images done, images in all).

        Raises:
            DataError: the annotations or headers have problems; the message holds the first ten.
        """
        problems: list[str] = []
        for index in range(len(self)):
            try:
                self.target(index)
            except DataError as error:
                problems.append(str(error))
            if len(problems) >= MOST_PROBLEMS:
                break
            if progress is not None:
                progress(index + 1, len(self))
        if problems:
            raise DataError(_list_problems(self.name, problems))

    def identity(self) -> str:
        """Return 16 hexadecimal digits that differ where classes or images differ."""
        return self._fingerprint().hexdigest()[:16]

    def _fingerprint(self) -> hashlib._Hash:
        """Return the running hash behind `identity`; readers add what is cheap to read."""
        digest = hashlib.sha256("\0".join(self.classes).encode())
        for index in range(len(self)):
            digest.update(f"\n{self.image_id(index)}".encode())
        return digest


def _list_problems(name: str, problems: list[str]) -> str:
    if len(problems) == 1:
        return problems[0]
    shown = problems[:MOST_PROBLEMS]
    more = "at least " if len(problems) >= MOST_PROBLEMS else ""
    return f"{name} has {more}{len(shown)} problems:\n" + "\n".join(f"  {problem}" for problem in shown)
