"""Putting the masks of detections into the image, at the centres of its pixels."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["paste_masks", "sample_mask"]


def paste_masks(masks: Tensor, boxes: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return `masks` in the image, bool `(N, 1, height, width)`: where they are 0.5 or more.

    Args:
        masks: float `(N, 1, cells, cells)` in [0, 1].
        boxes: float `(N, 4)`, xyxy in pixels of the image and inside of it, not empty.
        shape: height and width of the image.
    """
    height, width = shape
    pasted = torch.zeros((masks.shape[0], 1, height, width), dtype=torch.bool, device=masks.device)
    for index in range(masks.shape[0]):
        # A mask is less than 0.5 outside of its box, where it fades to the zeros around it.
        left, right = _span(float(boxes[index, 0]), float(boxes[index, 2]), width)
        top, bottom = _span(float(boxes[index, 1]), float(boxes[index, 3]), height)
        sampled = sample_mask(masks[index, 0], boxes[index], [left, top, right, bottom])
        pasted[index, 0, top:bottom, left:right] = sampled >= 0.5
    return pasted


def sample_mask(mask: Tensor, box: Tensor, window: list[int]) -> Tensor:
    """Return a mask at the centres of the pixels of a window, bilinearly interpolated between its cells and zeros.

    The cells fill the box evenly, and zeros surround it: Detectron2's `grid_sample`. Bilinear interpolation on a grid
    that is parallel to the axes is a product of two matrices, one for each axis.

    Args:
        mask: float `(rows, columns)`.
        box: float `(4,)`, xyxy in pixels.
        window: left, top, right and bottom pixel, the last two excluded.
    """
    rows = _weights(box[1], box[3], window[1], window[3], mask.shape[0])
    columns = _weights(box[0], box[2], window[0], window[2], mask.shape[1])
    return rows @ mask @ columns.t()


def _span(start: float, end: float, length: int) -> tuple[int, int]:
    """Return the first pixel of a box and the one behind its last."""
    first = min(max(int(start), 0), length)
    return first, max(min(int(end) + 1, length), first)


def _weights(start: Tensor, end: Tensor, first: int, behind: int, cells: int) -> Tensor:
    """Return how much of each cell each pixel's centre sees along one axis, `(pixels, cells)`."""
    centres = torch.arange(first, behind, dtype=start.dtype, device=start.device) + 0.5
    where = (centres - start) / (end - start) * cells - 0.5
    distance = (where[:, None] - torch.arange(cells, dtype=start.dtype, device=start.device)).abs()
    return (1 - distance).clamp(min=0)
