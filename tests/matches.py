"""Matches of images as a baseline saves them, for tests of what is computed from them."""

from __future__ import annotations

import numpy as np

from detq.metrics.curves import IOU_THRESHOLDS, Matched
from detq.metrics.packed import pack

OBJECTS = 100
RIGHT = (60,) * len(IOU_THRESHOLDS)


def packed(images, right=RIGHT):
    """Return images with 100 objects each of which, at each IoU threshold, so many were found, and nothing wrong.

    With 60 of them at each threshold AP is 61 of COCO's 101 levels of recall.
    """
    found = max(right)
    hits = np.arange(found) < np.asarray(right)[:, None]
    one = Matched(
        scores=np.linspace(1, 0.5, found, dtype=np.float32),
        right=hits[None],
        counted=hits[None],
        outside=np.zeros((1, found), np.bool_),
        truths=np.asarray([OBJECTS], np.int64),
    )
    return pack([{0: one}] * images)
