"""Counting the boxes that a reader leaves out, so that nothing is lost in silence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["LeftOut"]

NO_AREA = " without area"


class LeftOut:
    """Boxes left out by class name, each image counted once, however often it is read.

    Attributes:
        counts: class name -> boxes that the class map leaves out; "NAME without area" -> boxes with a side of 0.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._images: set[int] = set()

    def keep(
        self, image: int, names: Sequence[str], labels: NDArray[np.int64], solid: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Return which boxes of an image stay, and count the others.

        Args:
            image: the image's index.
            names: `N` class names.
            labels: `(N,)`, -1 for what the class map leaves out.
            solid: `(N,)`, whether the box has an area.
        """
        kept = (labels >= 0) & solid
        if image not in self._images:
            self._images.add(image)
            for row in np.flatnonzero(~kept):
                self.counts[names[int(row)] + ("" if labels[row] < 0 else NO_AREA)] += 1
        return np.asarray(kept)
