"""Which detections were right, image by image, as one line of text: so that AP can be compared with a saved run's.

For AP over images drawn with multiplicity the boxes are not needed any more, only each detection's score and whether it
was right at each IoU threshold. Objects of all sizes are taken together.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detq.metrics.curves import IOU_THRESHOLDS, Matched

__all__ = ["pack", "unpack"]

_BITS = 1 << np.arange(len(IOU_THRESHOLDS), dtype=np.uint16)

Columns = dict[str, NDArray[Any]]


def pack(images: Sequence[Mapping[int, Matched]]) -> str:
    """Return what `match_images` found as text, without its size classes.

    Args:
        images: label -> what was matched, for each image.

    Returns:
        Letters, digits, "-", "_" and "=" only: a compressed NumPy archive in Base64.
    """
    places = [(image, label, one) for image, found in enumerate(images) for label, one in found.items()]
    parts = [one for _, _, one in places]
    nothing = np.zeros(0)
    columns: Columns = {
        "images": np.asarray(len(images), np.uint32),
        "image": np.asarray([image for image, _, _ in places], np.uint32),
        "label": np.asarray([label for _, label, _ in places], np.uint16),
        "truths": np.asarray([one.truths[0] for one in parts], np.uint32),
        "found": np.asarray([len(one.scores) for one in parts], np.uint32),
        "scores": np.concatenate([nothing, *(one.scores for one in parts)]).astype(np.float32),
        "right": np.concatenate([nothing, *(_BITS @ one.right[0] for one in parts)]).astype(np.uint16),
        "counted": np.concatenate([nothing, *(_BITS @ one.counted[0] for one in parts)]).astype(np.uint16),
    }
    file = io.BytesIO()
    np.savez_compressed(file, **columns)  # type: ignore[arg-type]  # a column could be called allow_pickle
    return base64.urlsafe_b64encode(file.getvalue()).decode()


def unpack(text: str) -> tuple[dict[int, Matched], ...]:
    """Return what `pack` was given, with one size class: all.

    Raises:
        ValueError: it is no such text.
    """
    try:
        with np.load(io.BytesIO(base64.urlsafe_b64decode(text)), allow_pickle=False) as archive:
            columns = dict(archive)
        return _images(columns)
    except Exception as error:
        raise ValueError(f"packed matches that cannot be read ({type(error).__name__})") from error


def _images(columns: Columns) -> tuple[dict[int, Matched], ...]:
    images: list[dict[int, Matched]] = [{} for _ in range(int(columns["images"]))]
    ends = np.cumsum(columns["found"])
    if int(ends[-1] if len(ends) else 0) != len(columns["scores"]):
        raise ValueError("another number of scores")
    rows = zip(columns["image"], columns["label"], columns["truths"], columns["found"], ends, strict=True)
    for image, label, truths, count, end in rows:
        part = slice(int(end) - int(count), int(end))
        images[int(image)][int(label)] = Matched(
            scores=columns["scores"][part],
            right=_flags(columns["right"][part]),
            counted=_flags(columns["counted"][part]),
            outside=np.zeros((1, int(count)), np.bool_),
            truths=np.asarray([truths], np.int64),
        )
    return tuple(images)


def _flags(bits: NDArray[Any]) -> NDArray[np.bool_]:
    """Return `(1, thresholds, N)` of `(N,)` bits."""
    return np.asarray((bits[None, None, :] & _BITS[None, :, None]) > 0)
