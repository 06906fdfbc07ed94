"""Pasting: from a mask head's small square beside a box to the pixels of the image, as torchvision does, only faster.

torchvision's `paste_masks_in_image` fills an image of floats for each mask and stacks them: a gigabyte for a hundred
masks of a large photo, most of it zeros. Here only the pixels of the boxes are computed, and only bools are stored.
"""

from __future__ import annotations

import mmap
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from detq.machine import torch_threads

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["blank_masks", "iter_pasted", "paste_masks"]

_FARTHEST_PX = 1e9
"""Corners are moved to within this distance: beyond it int64 would overflow, and nobody can tell the difference."""

_LARGE_BYTES = 1 << 22

_MOST_VALUES = 1 << 26
"""Stretching a mask to more pixels than this, 256 MB, is done for those inside the image alone."""


def paste_masks(
    probabilities: ArrayLike, boxes: ArrayLike, size: tuple[int, int], *, threshold: float = 0.5
) -> NDArray[np.bool_]:
    """Return masks at the image's size: the pixels of torchvision's `paste_masks_in_image(…) >= threshold`.

    Args:
        probabilities: float32 `(N, M, M)`, in [0, 1].
        boxes: float32 `(N, 4)`, xyxy, pixels of the image; they may reach out of it, or lie outside.
        size: (height, width) of the image in pixels.
        threshold: the least probability of a pixel that belongs to the object, above 0.

    Returns:
        bool `(N, height, width)`.
    """
    small = np.asarray(probabilities, np.float32)
    pasted = blank_masks(len(small), size)
    for number, (top, left, values) in enumerate(iter_pasted(small, np.asarray(boxes, np.float32), size)):
        height, width = values.shape
        np.greater_equal(values, threshold, out=pasted[number, top : top + height, left : left + width])
    return pasted


def blank_masks(count: int, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return empty masks, bool `(count, height, width)`, whose memory is taken only where something is written."""
    height, width = size
    total = count * height * width
    if total < _LARGE_BYTES or not sys.platform.startswith("linux"):
        return np.zeros((count, height, width), np.bool_)
    # NumPy asks Linux for huge pages, each of which is cleared as a whole when a mask touches a corner of it.
    return np.frombuffer(mmap.mmap(-1, total), np.bool_).reshape(count, height, width)


def iter_pasted(
    probabilities: NDArray[np.float32], boxes: NDArray[np.float32], size: tuple[int, int]
) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
    """Yield (top, left, float32 `(h, w)`) for each mask: its probabilities where its box lies in the image."""
    import torch
    from torchvision.models.detection.roi_heads import expand_boxes, expand_masks

    # A copy, because torch warns of read-only arrays.
    padded, scale = expand_masks(torch.from_numpy(probabilities.copy())[:, None], padding=1)
    near = np.clip(np.nan_to_num(boxes.reshape(-1, 4)), -_FARTHEST_PX, _FARTHEST_PX)
    corners = expand_boxes(torch.from_numpy(near), scale).to(torch.int64).tolist()
    for mask, (x1, y1, x2, y2) in zip(padded[:, None].unbind(), corners, strict=True):
        rows, columns = ((y1, y2), size[0]), ((x1, x2), size[1])
        with torch_threads(1):  # waiting for a second one takes longer than what it would do
            stretched = _stretch(_stretch(mask, 3, *columns), 2, *rows)
        yield min(max(y1, 0), size[0]), min(max(x1, 0), size[1]), stretched[0, 0].numpy()


def _stretch(values: Tensor, axis: int, ends: tuple[int, int], limit: int) -> Tensor:
    """Stretch one axis to the pixels from `ends[0]` to `ends[1]`, both included, and keep those from 0 to `limit`.

    One axis after the other gives the same bits as both at once: the other axis' weights are 1 and 0.
    """
    import torch.nn.functional as F  # noqa: N812  # its name in every torch program

    length = max(ends[1] - ends[0] + 1, 1)
    first, last = max(ends[0], 0), min(ends[1] + 1, limit)
    if first >= last or not values.numel():
        return values.narrow(axis, 0, 0)
    size = [*values.shape[2:]]
    size[axis - 2] = length
    if size[0] * size[1] > _MOST_VALUES:
        return _sample(values, axis, length, first - ends[0], last - first)
    whole = F.interpolate(values, size=size, mode="bilinear", align_corners=False)
    return whole.narrow(axis, first - ends[0], last - first)


def _sample(values: Tensor, axis: int, length: int, first: int, count: int) -> Tensor:
    """Return `count` pixels from `first` on of the same stretching, up to rounding."""
    import torch

    cells = values.shape[axis]
    # In float64: positions beyond 2^24 are no float32.
    where = (torch.arange(first, first + count, dtype=torch.float64) + 0.5) * (cells / length) - 0.5
    where = where.clamp(0, cells - 1)
    low = where.long()
    share = (where - low).to(values.dtype).reshape([-1 if a == axis else 1 for a in range(4)])
    high = (low + 1).clamp(max=cells - 1)
    return values.index_select(axis, low) * (1 - share) + values.index_select(axis, high) * share
