"""The images of a paired run: loaded once by this process, and handed to the workers as files of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from detq.datasets import open_dataset
from detq.datasets.base import Dataset
from detq.datasets.busiest import busiest
from detq.datasets.synthetic import SEEDS, traffic_camera
from detq.errors import DataError
from detq.gate.accuracy import Labelled
from detq.paired.config import GateConfig, may_have_masks
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
        self._kept = self._data
        if self._data.classes and not config.unlabelled:
            # It keeps the annotations that come with the images: they are asked for again for each set of classes.
            masks = any(map(may_have_masks, config.models))
            self._kept = View(self._data, self._data.classes, labelled=True, limit=None, masks=masks)
        self._views: dict[tuple[str, ...], View] = {}
        self.name = self._data.name

    def __len__(self) -> int:
        return min(self._config.images, len(self._data))

    def path(self, index: int) -> str:
        """Return the `.npy` file of an image's pixels, uint8 `(height, width, 3)`, RGB."""
        path = self._folder / f"{index}.npy"
        if not path.exists():
            np.save(path, self._kept.load(index).image)
        return str(path)

    @cached_property
    def proof_path(self) -> str:
        """The file of the image to prove int8 with."""
        return self.path(busiest(self._kept))

    def labelled(self, classes: Sequence[str]) -> Labelled:
        """Return the annotations of the classes that a model with these classes can find.

        Raises:
            DataError: the two have no class in common, or an image has no labels.
        """
        key, labels = tuple(classes), not self._config.unlabelled
        if key not in self._views:
            masks = getattr(self._kept, "masks", False)
            self._views[key] = View(self._kept, key, labelled=labels, limit=len(self), masks=masks)
        view = self._views[key]
        if self._config.unlabelled:
            return Labelled(view.classes, None)
        truths = [view.target(index) for index in range(len(self))]
        return Labelled(view.classes, [GroundTruth.empty() if item is None else item for item in truths], view.masks)


def _open(config: GateConfig) -> Dataset:
    if config.data is None:
        return traffic_camera(max(config.images, RENDERED), seed=SEEDS["benchmark"][0])
    return open_dataset(config.data, class_map=config.class_map, unlabelled=config.unlabelled)
