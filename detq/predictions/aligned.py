"""Detections of several variants, aligned with the images and classes of a data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from detq.types import Detections

__all__ = ["Predictions"]


class Predictions(Mapping[str, list[Detections]]):
    """Detections of each variant, one for each image of a data set, in its order and with its classes.

    Attributes:
        dropped: how many detections were left out because the data set has no such class, by what the file calls it.
    """

    def __init__(self, variants: dict[str, list[Detections]], dropped: Counter[str]) -> None:
        self._variants = variants
        self.dropped = dropped

    def __getitem__(self, variant: str) -> list[Detections]:
        return self._variants[variant]

    def __iter__(self) -> Iterator[str]:
        return iter(self._variants)

    def __len__(self) -> int:
        return len(self._variants)
