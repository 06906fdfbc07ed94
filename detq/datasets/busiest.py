"""The image that proofs are made with: a box head without proposals has nothing to prove."""

from __future__ import annotations

from detq.datasets.base import Dataset

__all__ = ["PROOF_IMAGES", "busiest"]

PROOF_IMAGES = 16


def busiest(dataset: Dataset) -> int:
    """Return the index, among the first `PROOF_IMAGES`, of the image with most objects.

    The share of the arithmetic in int8 grows with the proposals. The image must not depend on how many a run measures,
    or a short run would seem to quantize less.
    """

    def objects(index: int) -> int:
        target = dataset.target(index)
        return 0 if target is None else len(target)

    return max(range(min(PROOF_IMAGES, len(dataset))), key=objects)
