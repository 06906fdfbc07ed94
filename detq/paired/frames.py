"""The images of a paired run: loaded once by this process, and handed to the workers as files of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from detq.datasets import open_dataset
from detq.datasets.base import Dataset
from detq.datasets.busiest import busiest
from detq.datasets.synthetic import SEEDS, traffic_camera
from detq.errors import DataError
from detq.gate.accuracy import Labelled
from detq.paired.config import GateConfig
from detq.runner.view import View
from detq.types import GroundTruth

__all__ = ["Frames"]

RENDERED = 64
"""Rendered frames, however few of them a run takes, so that it is always the same set."""


class Frames:
    """The first images of a data set, as files in a temporary folder.

    Both commits see the same pixels, even where one of them changed how images are read or rendered.

    Args:
        config: names the data.
        folder: a folder of this run alone.

    Raises:
        DataError: the data cannot be read, or has no images.
    """

    def __init__(self, config: GateConfig, folder: Path) -> None:
        self._folder, self._config = folder, config
        self._data = _open(config)
        if not len(self._data):
            raise DataError(f"data set {self._data.name}: expected images, found none; check --data")
        self._view: View | None = None
        self.name = self._data.name

    def __len__(self) -> int:
        return min(self._config.images, len(self._data))

    def path(self, index: int) -> str:
        """Return the `.npy` file of an image's pixels, uint8 `(height, width, 3)`, RGB."""
        path = self._folder / f"{index}.npy"
        if not path.exists():
            np.save(path, self._data.load(index).image)
        return str(path)

    def proof_path(self) -> str:
        """Return the file of the image to prove int8 with."""
        return self.path(busiest(self._data))

    def labelled(self, classes: Sequence[str]) -> Labelled:
        """Return the annotations of the classes that a model with these classes can find.

        Raises:
            DataError: the two have no class in common, or an image has no labels.
        """
        if self._view is None:
            labels = not self._config.unlabelled
            self._view = View(self._data, classes, labelled=labels, limit=len(self))
        view = self._view
        if self._config.unlabelled:
            return Labelled(view.classes, None)
        truths = [view.target(index) for index in range(len(self))]
        return Labelled(view.classes, [GroundTruth.empty() if item is None else item for item in truths])


def _open(config: GateConfig) -> Dataset:
    if config.data is None:
        return traffic_camera(max(config.images, RENDERED), seed=SEEDS["benchmark"][0])
    return open_dataset(config.data, class_map=config.class_map, unlabelled=config.unlabelled)
