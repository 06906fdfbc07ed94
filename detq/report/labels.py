"""Where to put the text of many boxes so that it stays readable: pure geometry, no drawing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detq.boxes import as_boxes, box_intersection

__all__ = ["place_labels"]

COVERED_COST = 4.0
"""How much worse a pixel of text over another label is than one that had to move away from its box."""


def place_labels(
    boxes: NDArray[np.float32], sizes: Sequence[tuple[float, float]], width: float, height: float
) -> NDArray[np.float32]:
    """Return where the label of each box goes: above it if that is free, else the least covered place around it.

    Boxes are served in the order given, so put the most important one first. The same input gives the same layout.

    Args:
        boxes: xyxy, `(N, 4)`, pixels.
        sizes: (width, height) of each label in pixels, N of them.
        width: the image's width in pixels.
        height: the image's height in pixels.

    Returns:
        float32 `(N, 4)`, xyxy: the labels' rectangles, each inside the image where it fits at all.
    """
    placed = np.zeros((len(boxes), 4), np.float32)
    for index, (box, size) in enumerate(zip(as_boxes(boxes), sizes, strict=True)):
        candidates = _candidates(box, *size)
        inside = _move_inside(candidates, width, height)
        moved = np.abs(inside - candidates).sum(axis=1) * size[1] / 2
        # A tie goes to the earlier candidate: above the box, beginning at its left edge.
        covered = box_intersection(inside, placed[:index]).sum(axis=1) * COVERED_COST
        placed[index] = inside[int(np.argmin(covered + moved))]
    return placed


def _candidates(box: NDArray[np.float32], w: float, h: float) -> NDArray[np.float32]:
    """Above, below, inside, beside and farther from the box, best first, xyxy `(14, 4)`."""
    x1, y1, x2, y2 = (float(value) for value in box)
    corners = [
        (x1, y1 - h),
        (x2 - w, y1 - h),
        (x1, y2),
        (x2 - w, y2),
        (x1, y1),
        (x2, y1),
        (x1 - w, y1),
        (x1, y1 - 2 * h),
        (x1, y2 + h),
        (x2, y1 - h),
        (x1 - w, y1 - h),
        (x2, y2),
        (x1 - w, y2),
        (x1, y1 - 3 * h),
    ]
    return np.asarray([(x, y, x + w, y + h) for x, y in corners], np.float32)


def _move_inside(rectangles: NDArray[np.float32], width: float, height: float) -> NDArray[np.float32]:
    sides = rectangles[:, 2:] - rectangles[:, :2]
    room = np.maximum(np.asarray([width, height], np.float32) - sides, 0)
    corner = np.clip(rectangles[:, :2], 0, room)
    return np.concatenate([corner, corner + sides], axis=1)
