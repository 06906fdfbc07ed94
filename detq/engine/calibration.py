"""Which images static int8 takes its activation ranges from: the 2024 report's "50 random images", by a seed."""

from __future__ import annotations

import functools
import hashlib
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from detq.errors import DataError, DetqError
from detq.files import file_sha256

if TYPE_CHECKING:
    from detq.datasets.base import Dataset

__all__ = ["IMAGES", "OBSERVERS", "Calibration", "CalibrationChoice", "draw", "missing", "packaged_frames"]

IMAGES = 50
"""How many images are drawn by default, as in the report."""

OBSERVERS = ("mse", "minmax", "percentile")
"""How a range is chosen from what was seen: least squared error of a histogram, all of it, or 99.99 % of it."""


@dataclass(frozen=True)
class Calibration:
    """Images of a data set, drawn by a seed.

    Attributes:
        dataset: where they are from.
        indices: which, sorted.
        seed: of the draw.
        observer: one of `OBSERVERS`.
    """

    dataset: Dataset
    indices: tuple[int, ...]
    seed: int
    observer: str

    def images(self) -> Iterator[NDArray[np.uint8]]:
        """Yield the images, uint8 `(height, width, 3)`, RGB."""
        for index in self.indices:
            yield self.dataset.load(index).image

    def describe(self) -> dict[str, Any]:
        """Return what identifies it, ready for JSON."""
        return {
            "data": self.dataset.name,
            "identity": self.dataset.identity(),
            "images": [self.dataset.image_id(index) for index in self.indices],
            "seed": self.seed,
            "observer": self.observer,
            "content": self._content,
        }

    @functools.cached_property
    def _content(self) -> str | None:
        """A digest of the drawn files' bytes, None where there are none: names and annotations can stay the same."""
        digest = hashlib.sha256()
        try:
            for index in self.indices:
                digest.update(file_sha256(self.dataset.image_path(index)).encode())
        except DataError:  # rendered images have no files, and are what their name says
            return None
        return digest.hexdigest()[:32]


@dataclass(frozen=True)
class CalibrationChoice:
    """What a user asked to calibrate with: data only, so that it travels to other processes and into files.

    Attributes:
        data: what `open_dataset` opens, labels are not read; None for the packaged frames, where the weights know them.
        images: how many are drawn.
        seed: of the draw.
        observer: one of `OBSERVERS`.
    """

    data: str | None = None
    images: int = IMAGES
    seed: int = 0
    observer: str = OBSERVERS[0]

    def __post_init__(self) -> None:
        if self.observer not in OBSERVERS:
            raise DetqError(f"--observer: expected one of {', '.join(OBSERVERS)}, got {self.observer!r}")
        if self.images < 1:
            raise DetqError(f"--calibration-images: expected at least 1, got {self.images}")

    def suits(self, weights: str) -> bool:
        """Return whether there is something to calibrate with.

        Rendered frames are only for weights that know them: a range that a model's own images leave is a wrong range.

        Args:
            weights: the kind of a `WeightsSource`.
        """
        return self.data is not None or weights in KNOWS_FRAMES

    def draw(self) -> Calibration:
        """Return the images, drawn.

        Raises:
            DetqError: they cannot be opened, or there are none.
        """
        from detq.datasets import open_dataset

        data = packaged_frames(self) if self.data is None else open_dataset(self.data, unlabelled=True)
        return draw(data, self)


def missing(recipes: Iterable[str] = ()) -> str:
    """Return what a user hears whose recipes, where they are known, lack calibration images; no full stop."""
    names = ", ".join(recipes)
    return (
        f"{names}{': ' if names else ''}static int8 takes its ranges from images like those that the weights were "
        "trained on; name some with --calibration PATH"
    )


KNOWS_FRAMES = frozenset({"packaged", "random"})
"""Kinds of weights that rendered frames can calibrate: those trained on them, and those that only serve for timing."""


def draw(dataset: Dataset, choice: CalibrationChoice) -> Calibration:
    """Return images of a data set, drawn without repetition as `choice` says; all of it where it has fewer.

    Raises:
        DetqError: an empty data set.
    """
    if not len(dataset):
        raise DetqError(f"--calibration {dataset.name}: expected images to calibrate with, found none")
    count = min(choice.images, len(dataset))
    chosen = random.Random(choice.seed).sample(range(len(dataset)), count)  # noqa: S311  # no secret
    return Calibration(dataset, tuple(sorted(chosen)), choice.seed, choice.observer)


def packaged_frames(choice: CalibrationChoice) -> Dataset:
    """Return what calibrates the packaged models: rendered frames whose seeds no training or benchmark uses."""
    from detq.datasets.synthetic import SEEDS, traffic_camera

    seeds = SEEDS["calibration"]
    return traffic_camera(choice.images, seed=seeds[choice.seed % len(seeds)])
