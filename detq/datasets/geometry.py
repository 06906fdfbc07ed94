"""One policy for boxes as annotation files give them: what is clipped, and what is a mistake."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from detq.boxes import as_boxes, clip_boxes
from detq.errors import DataError

__all__ = ["fit_boxes", "turn_upright"]

SLACK_PX = 1.0
SLACK_SHARE = 0.001


def fit_boxes(
    boxes: ArrayLike, size: tuple[int, int], where: Callable[[int], str], *, fix: str = "correct or delete the line"
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return annotated boxes clipped to the image, and which of them have an area.

    Tools round coordinates, so a corner may lie outside by 1 px or 0.1 % of the side, whichever is more, and is moved
    to the border; more is a mistake. A box whose sides are zero is no mistake that stops a run, large public data sets
    have a few, but no object either: readers leave it out and count it in `Dataset.ignored`.

    Args:
        boxes: float64 `(N, 4)`, xyxy, pixels of the image.
        size: (width, height) of the image in pixels.
        where: from a box's row to the words that say where it stands, "labels/a.txt, line 3".
        fix: what to do about a mistake, for the message.

    Returns:
        float32 `(N, 4)` and bool `(N,)`.

    Raises:
        DataError: the first box that is not finite, reversed or out of the image.
    """
    given = np.asarray(boxes, np.float64).reshape(-1, 4)
    limits = np.asarray([*size, *size], np.float64)
    slack = np.maximum(SLACK_PX, limits * SLACK_SHARE)
    infinite = np.any(~np.isfinite(given), axis=1)
    reversed_ = np.any(given[:, 2:] < given[:, :2], axis=1)
    outside = np.any((given < -slack) | (given > limits + slack), axis=1)
    for row in np.flatnonzero(infinite | reversed_ | outside)[:1]:
        expected = f"a box inside the image of {size[0]} × {size[1]} pixels"
        expected = "x_min ≤ x_max and y_min ≤ y_max" if reversed_[row] else expected
        expected = "finite numbers" if infinite[row] else expected
        corners = ", ".join(f"{value:.6g}" for value in given[row])
        raise DataError(f"{where(int(row))}: expected {expected}, found the corners {corners} in pixels; {fix}")
    fitted = clip_boxes(as_boxes(given), *size)
    return fitted, np.all(fitted[:, 2:] > fitted[:, :2], axis=1)


def turn_upright(boxes: NDArray[np.float32], stored: tuple[int, int], orientation: int) -> NDArray[np.float32]:
    """Return boxes in the frame of the upright image, given them in the frame of the pixels as stored in the file.

    Args:
        boxes: xyxy, `(N, 4)`.
        stored: (width, height) of the stored pixels.
        orientation: EXIF orientation, 1 to 8 (source: Exif 2.32, tag 274).
    """
    width, height = np.float32(stored[0]), np.float32(stored[1])
    left, top, right, bottom = boxes.T
    if orientation in (2, 3, 7, 8):
        left, right = width - right, width - left
    if orientation in (3, 4, 6, 7):
        top, bottom = height - bottom, height - top
    if orientation >= 5:
        left, top, right, bottom = top, left, bottom, right
    return np.stack([left, top, right, bottom], axis=1)
