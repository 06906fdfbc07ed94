"""COCO's run lengths: column after column, how many pixels are outside, inside, outside, and so on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

__all__ = ["Rle", "decode_runs", "encode_crop", "run_lengths", "unroll"]


class Rle(TypedDict):
    """A mask as COCO writes it.

    Attributes:
        size: [height, width] in pixels.
        counts: the run lengths as COCO's compressed text.
    """

    size: list[int]
    counts: str


def encode_crop(pixels: NDArray[np.bool_], corner: tuple[int, int], size: tuple[int, int]) -> Rle:
    """Return the run lengths of a mask that is `pixels` at `corner` of an image and empty elsewhere.

    The same as encoding the full-size mask, at the price of the crop.

    Args:
        pixels: bool `(h, w)`.
        corner: (top, left) of the crop in the image; the crop lies inside of it.
        size: (height, width) of the image.
    """
    from faster_coco_eval.core import mask as coco_mask

    (top, left), (height, width) = corner, size
    columns = np.zeros((pixels.shape[1], pixels.shape[0] + 2), np.int8)
    columns[:, 1:-1] = pixels.T
    steps = np.diff(columns, axis=1)
    starts, ends = (_positions(steps == sign, top, left, height) for sign in (1, -1))
    # A run that reaches the bottom goes on in the next column if that one begins at the top.
    apart = starts[1:] != ends[:-1]
    starts = starts[np.concatenate([[True], apart])] if len(starts) else starts
    ends = ends[np.concatenate([apart, [True]])] if len(ends) else ends
    edges = np.concatenate([[0], np.stack([starts, ends], axis=1).ravel(), [height * width]])
    counts = np.diff(edges).tolist()
    if len(counts) > 1 and counts[-1] == 0:
        counts.pop()
    packed = coco_mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    return {"size": [height, width], "counts": _text(packed["counts"])}


def _positions(found: NDArray[np.bool_], top: int, left: int, height: int) -> NDArray[np.int64]:
    columns, rows = np.nonzero(found)
    return np.asarray((columns + left) * height + rows + top, np.int64)


def _text(counts: Any) -> str:
    return counts.decode("ascii") if isinstance(counts, bytes) else str(counts)


def decode_runs(rle: Rle) -> NDArray[np.bool_]:
    """Return the full-size mask, bool `(height, width)`."""
    height, width = rle["size"]
    return unroll(run_lengths(rle["counts"]), (height, width))


def unroll(runs: Sequence[int], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the mask, bool `(height, width)`, whose columns one after the other are `runs`.

    Args:
        runs: pixels outside, inside, outside, and so on; none negative, together the pixels of the mask.
        size: (height, width).
    """
    values = np.arange(len(runs)) % 2 == 1
    return np.asarray(np.repeat(values, runs).reshape(size, order="F"))


def run_lengths(text: str) -> list[int]:
    """Return the numbers in COCO's compressed text: 5 bits a character, differences from the third run on.

    Text of another origin gives numbers all the same, perhaps negative ones: check them, and that their sum is the
    number of pixels.
    """
    counts: list[int] = []
    value, shift = 0, 0
    for character in text:
        bits = ord(character) - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value, shift = 0, 0
    return counts
