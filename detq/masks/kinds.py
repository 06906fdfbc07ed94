"""The kinds of masks: crops of probabilities, pasted probabilities, run lengths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from detq.boxes import as_boxes
from detq.masks.base import Crop, Masks
from detq.masks.paste import iter_pasted, paste_masks
from detq.masks.runs import Rle, decode_runs

__all__ = ["THRESHOLD", "InstanceMasks", "PastedMasks", "RleMasks"]

THRESHOLD = 0.5
"""The least probability of a pixel that belongs to an object."""


class InstanceMasks(Masks):
    """Masks as a mask head gives them: a small square of probabilities for each box.

    Args:
        probabilities: float32 `(N, M, M)`, in [0, 1]; M is 28 in torchvision.
        boxes: float32 `(N, 4)`, xyxy, pixels of the image.
        size: (height, width) of the image in pixels.

    Raises:
        ValueError: shapes that do not go together.
    """

    def __init__(self, probabilities: ArrayLike, boxes: ArrayLike, size: tuple[int, int]) -> None:
        self.boxes = as_boxes(boxes)
        self.probabilities: NDArray[np.float32] = np.asarray(probabilities, np.float32)
        self.size = (int(size[0]), int(size[1]))
        shape = self.probabilities.shape
        if len(shape) != 3 or shape[0] != len(self.boxes) or shape[1] != shape[2]:
            raise ValueError(
                f"probabilities must have shape ({len(self.boxes)}, M, M) to go with the boxes, got {shape}"
            )

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, keep: NDArray[Any] | slice) -> InstanceMasks:
        return InstanceMasks(self.probabilities[keep], self.boxes[keep], self.size)

    def crops(self) -> Iterator[Crop]:
        """Yield each mask, scaled to its box and cut at the image's border."""
        for top, left, values in iter_pasted(self.probabilities, self.boxes, self.size):
            yield Crop(top, left, values >= THRESHOLD)

    def full(self) -> NDArray[np.bool_]:
        """Return them at the image's size, bool `(N, height, width)`: see `paste_masks`."""
        return paste_masks(self.probabilities, self.boxes, self.size)


class PastedMasks(Masks):
    """Masks as torchvision's detectors return them: probabilities at the image's size.

    Nothing is computed or copied before somebody asks; then one mask is converted at a time.

    Args:
        values: `(N, height, width)`, probabilities or bool.
        rows: which of them these masks are; all by default.

    Raises:
        ValueError: another number of dimensions.
    """

    def __init__(self, values: NDArray[Any], rows: NDArray[np.int64] | None = None) -> None:
        if values.ndim != 3:
            raise ValueError(f"masks must have shape (N, height, width), got {values.shape}")
        self._values = values
        self._rows = np.arange(len(values)) if rows is None else rows
        self.size = (int(values.shape[1]), int(values.shape[2]))

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, keep: NDArray[Any] | slice) -> PastedMasks:
        return PastedMasks(self._values, self._rows[keep])

    def crops(self) -> Iterator[Crop]:
        """Yield each mask's bounding box."""
        for row in self._rows:
            yield _bounding(self._values[row] >= THRESHOLD)


class RleMasks(Masks):
    """Masks as COCO's compressed run lengths.

    Args:
        runs: one for each mask, all of `size`.
        size: (height, width) of the image in pixels.

    Raises:
        ValueError: run lengths of another size.
    """

    def __init__(self, runs: Sequence[Rle], size: tuple[int, int]) -> None:
        self._runs = list(runs)
        self.size = (int(size[0]), int(size[1]))
        for rle in self._runs:
            if list(rle["size"]) != list(self.size):
                raise ValueError(f"run lengths must be of size {list(self.size)}, got {rle['size']}")

    def __len__(self) -> int:
        return len(self._runs)

    def __getitem__(self, keep: NDArray[Any] | slice) -> RleMasks:
        rows = np.arange(len(self._runs))[keep]
        return RleMasks([self._runs[row] for row in rows], self.size)

    def crops(self) -> Iterator[Crop]:
        """Yield each mask's bounding box."""
        for rle in self._runs:
            yield _bounding(decode_runs(rle))

    def rle(self) -> list[Rle]:
        """Return them as they are."""
        return list(self._runs)


def _bounding(mask: NDArray[np.bool_]) -> Crop:
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return Crop(0, 0, np.zeros((0, 0), np.bool_))
    top, left = int(rows[0]), int(columns[0])
    return Crop(top, left, mask[top : int(rows[-1]) + 1, left : int(columns[-1]) + 1])
