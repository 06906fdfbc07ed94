"""The part of a data set that a run uses: its first images, and the classes that the model knows too."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from detq.datasets.base import Dataset
from detq.errors import DataError, DetqError
from detq.types import GroundTruth, Sample, select_classes

__all__ = ["View", "check_limit"]

MOST_NAMES = 6


def check_limit(limit: int | None) -> None:
    """Refuse a limit that leaves no image.

    Raises:
        DetqError: it is below 1.
    """
    if limit is not None and limit < 1:
        raise DetqError(f"--limit: expected at least 1 image, got {limit}; leave it out to use all images")


class View(Dataset):
    """A data set as a run sees it.

    Annotations are read once and kept, masks as run lengths; images never are. Classes of the data set that the model
    does not know drop out of the annotations and are counted.

    Args:
        data: the whole data set.
        model_classes: what the model can find.
        labelled: whether the run compares with labels; otherwise the classes are the model's.
        limit: how many images to use, from the first.
        masks: read the instance masks too, where every object has one.

    Attributes:
        loading_s: seconds spent in `load` so far.

    Raises:
        DataError: the set has no image, or the two have no class in common.
    """

    def __init__(
        self, data: Dataset, model_classes: Sequence[str], *, labelled: bool, limit: int | None, masks: bool = False
    ) -> None:
        self.name = data.name
        self.masks = data.masks = masks and labelled and data.has_masks
        self._data = data
        self._model_classes = tuple(model_classes)
        self._labelled = labelled
        self._length = min(len(data), limit or len(data))
        self._truths: dict[int, GroundTruth | None] = {}
        self._dropped: Counter[str] = Counter()
        self.loading_s = 0.0
        shared = tuple(name for name in data.classes if name in set(model_classes))
        self.classes = shared if labelled else tuple(dict.fromkeys(model_classes))
        if not self._length:
            raise DataError(f"data set {data.name}: expected images, found none; check --data")
        if not self.classes:
            raise DataError(
                f"--data {data.name}: its classes ({_names(data.classes)}) and the model's ({_names(model_classes)}) "
                "have none in common; rename or merge the data set's with --map, for example "
                f"--map {(*model_classes, 'car')[0]}={(*data.classes, '1')[0]}"
            )

    def __len__(self) -> int:
        return self._length

    def image_id(self, index: int) -> str:
        """Return what the whole set calls the image."""
        return self._data.image_id(index)

    def load(self, index: int) -> Sample:
        """Return an image with the annotations of the shared classes."""
        start = time.perf_counter()
        sample = self._data.load(index)
        self._keep(index, sample.target)
        self.loading_s += time.perf_counter() - start
        return replace(sample, target=self._truths[index])

    def target(self, index: int) -> GroundTruth | None:
        """Return the annotations of the shared classes."""
        if index not in self._truths:
            self._keep(index, self._data.target(index))
        return self._truths[index]

    def size(self, index: int) -> tuple[int, int]:
        """Return the (width, height) of the upright image in pixels."""
        return self._data.size(index)

    def _keep(self, index: int, truth: GroundTruth | None) -> None:
        if index in self._truths:
            return
        if truth is None and self._labelled:
            raise DataError(
                f"--data {self.name}: expected labels, found none for image {self.image_id(index)!r}; add --unlabelled "
                "to compare with fp32 instead"
            )
        if truth is not None and self._labelled:
            known = set(self.classes)
            self._dropped.update(
                name for label in truth.labels if (name := self._data.classes[int(label)]) not in known
            )
            truth = select_classes(truth, self._data.classes, self.classes).compact()
        self._truths[index] = truth if self._labelled else None

    @property
    def has_masks(self) -> bool:
        """Whether every object of the whole set has an instance mask."""
        return self._data.has_masks

    def coco_image_id(self, index: int) -> int | str:
        """Return what COCO calls the image in the whole set."""
        return self._data.coco_image_id(index)

    def coco_categories(self) -> Mapping[int, str]:
        """Return the class name of each COCO category id of the whole set."""
        return self._data.coco_categories()

    def truths(self) -> list[GroundTruth]:
        """Return the annotations of all images, in order. For labelled sets only."""
        return [self.target(index) or GroundTruth.empty() for index in range(len(self))]

    def image_ids(self) -> Iterator[str]:
        """Yield the images' names, in order."""
        return (self.image_id(index) for index in range(len(self)))

    @property
    def ignored(self) -> Mapping[str, int]:
        """Boxes left out by class, whether by the class map or because the model does not know the class."""
        return dict(Counter(self._data.ignored) + self._dropped)

    def describe_ignored(self) -> tuple[str, ...]:
        """Return what was left out, one sentence each."""
        sentences = []
        if self._data.ignored:
            sentences.append(f"Ignored by --map: {_counts(self._data.ignored)}.")
        if self._dropped:
            sentences.append(f"Ignored, because the model does not know the class: {_counts(self._dropped)}.")
        rest = [name for name in self._model_classes if name not in self.classes and name != "N/A"]
        if self._labelled and rest:
            sentences.append(f"Not evaluated, because the data has no such class: {_names(rest)}.")
        return tuple(sentences)

    def _fingerprint(self) -> hashlib._Hash:
        digest = hashlib.sha256(self._data.identity().encode())
        digest.update("\0".join((str(self._length), *self.classes)).encode())
        return digest


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:MOST_NAMES]) or "none"
    return shown if len(names) <= MOST_NAMES else f"{shown} and {len(names) - MOST_NAMES} more"


def _counts(boxes: Mapping[str, int]) -> str:
    total = sum(boxes.values())
    parts = ", ".join(f"{name}: {count}" for name, count in sorted(boxes.items(), key=lambda item: (-item[1], item[0])))
    return f"{total} box{'es' * (total != 1)} ({parts})"
