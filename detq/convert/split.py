"""Dividing a data set into a part to train on and a part to validate on, by image."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from detq.convert.collection import ImageRecord
from detq.errors import DataError

__all__ = ["TRAIN", "VALID", "WHOLE", "split_images"]

TRAIN, VALID = "train", "valid"
WHOLE = ""
"""What the only part is called when nothing is divided."""


def split_images(images: Sequence[ImageRecord], share: float | None, seed: int) -> Mapping[str, Sequence[ImageRecord]]:
    """Return the parts of a data set by their names, each with at least one image, in the order of the names.

    Which image goes where depends on the names of the images and on `seed`, not on their order or annotations.

    Args:
        images: all of them.
        share: of the images, for the part to train on, from 0 to 1; None to divide nothing.
        seed: decides the choice.

    Raises:
        DataError: the share is not between 0 and 1, or there is only one image.
    """
    if share is None:
        return {WHOLE: images}
    if not 0 < share < 1:
        raise DataError(f"--split: expected the share to train on, between 0 and 1 such as 0.8, found {share:g}")
    if len(images) < 2:
        raise DataError(f"--split: expected at least 2 images to divide, found {len(images)}; leave --split out")
    names = sorted(image.name for image in images)
    random.Random(seed).shuffle(names)  # noqa: S311  # a choice to repeat, no secret
    count = min(max(round(share * len(names)), 1), len(names) - 1)
    chosen = set(names[:count])
    return {
        TRAIN: [image for image in images if image.name in chosen],
        VALID: [image for image in images if image.name not in chosen],
    }
