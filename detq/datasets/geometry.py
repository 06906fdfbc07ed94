"""One policy for boxes as annotation files give them: what is clipped, and what is a mistake."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from detq.boxes import as_boxes, clip_boxes
from detq.errors import DataError

__all__ = ["fit_boxes"]

SLACK_PX = 1.0
SLACK_SHARE = 0.001


def fit_boxes(
    boxes: ArrayLike, size: tuple[int, int], where: Callable[[int], str], *, fix: str = "correct or delete the line"
) -> NDArray[np.float32]:
    """Return annotated boxes clipped to the image; whatever is more than rounding is a mistake and raises.

    Tools round coordinates, so a corner may lie outside by 1 px or 0.1 % of the side, whichever is more, and is moved
    to the border. A box must have an area: one whose corners coincide or that clipping leaves without any is refused
    rather than dropped, so that no object is lost in silence.

    Args:
        boxes: float64 `(N, 4)`, xyxy, pixels of the image.
        size: (width, height) of the image in pixels.
        where: from a box's row to the words that say where it stands, "labels/a.txt, line 3".
        fix: what to do about it, for the message.

    Returns:
        float32 `(N, 4)`.

    Raises:
        DataError: the first box that is not finite, reversed, out of the image or without an area.
    """
    given = np.asarray(boxes, np.float64).reshape(-1, 4)
    limits = np.asarray([*size, *size], np.float64)
    slack = np.maximum(SLACK_PX, limits * SLACK_SHARE)
    with np.errstate(invalid="ignore", over="ignore"):
        fitted = clip_boxes(as_boxes(given), *size)
        problems: dict[str, NDArray[np.bool_]] = {
            "finite numbers": np.any(~np.isfinite(given), axis=1),
            "x_min < x_max and y_min < y_max": np.any(given[:, 2:] < given[:, :2], axis=1),
            f"a box inside the image of {size[0]} × {size[1]} pixels": np.any(
                (given < -slack) | (given > limits + slack), axis=1
            ),
            f"a box with an area inside the image of {size[0]} × {size[1]} pixels": np.any(
                fitted[:, 2:] <= fitted[:, :2], axis=1
            ),
        }
    for row in np.flatnonzero(np.any(list(problems.values()), axis=0)):
        expected = next(words for words, wrong in problems.items() if wrong[row])
        corners = ", ".join(f"{value:.6g}" for value in given[row])
        raise DataError(f"{where(int(row))}: expected {expected}, found the corners {corners} in pixels; {fix}")
    return fitted
