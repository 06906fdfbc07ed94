"""Putting the masks of detections into the image, at the centres of its pixels."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["paste_masks"]


def paste_masks(masks: Tensor, boxes: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return `masks` in the image, float `(N, 1, height, width)` in [0, 1], bilinearly interpolated and 0 outside.

    A pixel's value is that of the mask at the pixel's centre, where the mask's cells fill its box evenly and zeros
    surround it: Detectron2's pasting, before its threshold of 0.5. Bilinear interpolation on a grid that is parallel to
    the axes is a product of two matrices, one for each axis.

    Args:
        masks: float `(N, 1, cells, cells)` in [0, 1].
        boxes: float `(N, 4)`, xyxy in pixels of the image, not empty.
        shape: height and width of the image.
    """
    height, width = shape
    pasted = torch.zeros((masks.shape[0], 1, height, width), dtype=masks.dtype, device=masks.device)
    for index in range(masks.shape[0]):
        box = boxes[index]
        # Nothing of a mask is farther from its box than half a cell, and outside of the box it is less than 0.5: one
        # pixel around the box suffices, as in Detectron2.
        left, right = _span(float(box[0]), float(box[2]), width)
        top, bottom = _span(float(box[1]), float(box[3]), height)
        rows = _weights(box[1], box[3], top, bottom, masks.shape[2])
        columns = _weights(box[0], box[2], left, right, masks.shape[3])
        pasted[index, 0, top:bottom, left:right] = rows @ masks[index, 0] @ columns.t()
    return pasted


def _span(start: float, end: float, length: int) -> tuple[int, int]:
    """Return the first pixel of a box and the one behind its last, with one more on both sides."""
    first = max(int(start) - 1, 0)
    return first, max(min(int(end) + 2, length), first)


def _weights(start: Tensor, end: Tensor, first: int, behind: int, cells: int) -> Tensor:
    """Return how much of each cell each pixel's centre sees along one axis, `(pixels, cells)`."""
    centres = torch.arange(first, behind, dtype=start.dtype, device=start.device) + 0.5
    where = (centres - start) / (end - start) * cells - 0.5
    distance = (where[:, None] - torch.arange(cells, dtype=start.dtype, device=start.device)).abs()
    return (1 - distance).clamp(min=0)
