"""How many region proposals reach a two-stage detector's box head: what a speed-up depends on most."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detq.predictor import Predictor

__all__ = ["count_proposals"]

_BOX_POOL = "roi_heads.box_roi_pool"


def count_proposals(predictor: Predictor, images: Iterable[NDArray[np.uint8]]) -> list[int] | None:
    """Return the number of proposals of each image, from an untimed pass; None for a detector without proposals.

    Args:
        predictor: a two-stage detector with torchvision's module names, else the answer is None.
        images: uint8 `(height, width, 3)`, RGB.
    """
    pool = dict(predictor.module.named_modules()).get(_BOX_POOL)
    if pool is None:
        return None
    counts: list[int] = []

    def count(_module: Any, given: tuple[Any, ...]) -> None:
        _features, boxes, _sizes = given
        counts.append(sum(len(per_image) for per_image in boxes))

    handle = pool.register_forward_pre_hook(count)
    try:
        for image in images:
            predictor.predict(image)
    finally:
        handle.remove()
    return counts
