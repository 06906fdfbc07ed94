"""From data sets to batches: the order of images in each epoch, loading, augmentation, and worker processes."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from detq.datasets.base import Dataset
from detq.errors import DataError, DetqError
from detq.training.augment import augment, sample_rng
from detq.training.geometry import drop_degenerate
from detq.types import GroundTruth, Sample, select_classes

__all__ = ["Source", "TrainingImages", "batches", "epoch_order", "images_per_epoch"]

_ORDER = 2  # a stream of random numbers of its own, beside those of `augment`


@dataclass(frozen=True)
class Source:
    """A data set in training.

    Attributes:
        data: what is read.
        repeat: how often it occurs in an epoch.
    """

    data: Dataset
    repeat: int = 1


def images_per_epoch(sources: Sequence[Source]) -> int:
    """Return how many images an epoch shows, repetitions counted."""
    return sum(len(source.data) * source.repeat for source in sources)


def epoch_order(seed: int, epoch: int, images: int) -> NDArray[np.int64]:
    """Return the order in which `epoch` shows its `images`: a permutation that depends on the arguments alone."""
    return np.random.default_rng([_ORDER, seed, epoch]).permutation(images)


class TrainingImages(TorchDataset[Sample | DetqError]):
    """The endless sequence of training images: item p is image p modulo the epoch's length, of epoch p // length.

    Args:
        sources: the data sets.
        classes: the model's class names; labels of the samples are indices into it.
        seed: decides order and augmentation.
        augmented: whether to augment.
        masks: whether the model needs instance masks.
    """

    def __init__(
        self, sources: Sequence[Source], classes: Sequence[str], *, seed: int, augmented: bool, masks: bool
    ) -> None:
        self.sources = tuple(sources)
        self.classes = tuple(classes)
        self.seed = seed
        self.augmented = augmented
        self.masks = masks
        self.length = images_per_epoch(sources)
        self._order: tuple[int, NDArray[np.int64]] | None = None
        for source in self.sources:
            source.data.masks = masks

    def __getitem__(self, position: int) -> Sample | DetqError:
        """Return the sample, or the mistake in its file.

        A mistake is returned and not raised, because `DataLoader` buries what a worker raises under a traceback.
        """
        try:
            return self.load(position)
        except DetqError as error:
            return error

    def load(self, position: int) -> Sample:
        """Return the augmented sample at `position`, without crowds and degenerate boxes.

        Raises:
            DataError: the image or its annotations cannot be used.
        """
        epoch, place = divmod(position, self.length)
        data, index = self._locate(int(self._epoch(epoch)[place]))
        sample = data.load(index)
        truth = self._truth(data, sample)
        if not self.augmented:
            return replace(sample, target=drop_degenerate(truth))
        image, truth = augment(sample.image, truth, sample_rng(self.seed, epoch, place))
        return Sample(sample.image_id, np.ascontiguousarray(image), truth)

    def _epoch(self, epoch: int) -> NDArray[np.int64]:
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, epoch_order(self.seed, epoch, self.length)
        return self._order[1]

    def _locate(self, number: int) -> tuple[Dataset, int]:
        for source in self.sources:
            if number < len(source.data) * source.repeat:
                return source.data, number % len(source.data)
            number -= len(source.data) * source.repeat
        raise IndexError(number)

    def _truth(self, data: Dataset, sample: Sample) -> GroundTruth:
        if sample.target is None:
            raise DataError(f"--data {data.name}: {sample.image_id} has no labels; training needs a labelled data set")
        truth = select_classes(sample.target, data.classes, self.classes)
        if self.masks and truth.masks is None:
            if len(truth):
                raise DataError(
                    f"--data {data.name}: {sample.image_id} has boxes without instance masks, which the model "
                    "learns from; use a data set with masks or a model without"
                )
            truth = replace(truth, masks=np.zeros((0, sample.height, sample.width), np.bool_))
        return truth[~truth.crowd]


def batches(images: TrainingImages, *, first_step: int, steps: int, size: int, workers: int) -> Iterator[list[Sample]]:
    """Yield the samples of steps `first_step` to `steps` - 1, `size` at a time.

    Raises:
        DetqError: a file cannot be used.
    """
    positions = [list(range(step * size, (step + 1) * size)) for step in range(first_step, steps)]
    loader: DataLoader[Any] = DataLoader(
        images,
        batch_sampler=positions,
        collate_fn=_as_it_is,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_leave_signals if workers else None,
    )
    for batch in loader:
        for item in batch:
            if isinstance(item, DetqError):
                raise item
        yield batch


def _as_it_is(items: list[Any]) -> list[Any]:
    # NumPy arrays go through a pipe as bytes: small as uint8, and no shared memory, of which containers have little.
    return items


def _leave_signals(_worker: int) -> None:
    # Ctrl-C reaches the whole process group, and so does the SIGTERM of a cluster or of `timeout`; the main process
    # finishes its step, writes a checkpoint and ends its workers. Only a second SIGTERM is meant for the worker.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, _frame: signal.signal(number, signal.SIG_DFL))
