"""How far two variants agree where nobody has labelled the images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detq.metrics.matching import match_image
from detq.types import Detections, GroundTruth

__all__ = ["Agreement", "agreement", "kept_by_image"]


@dataclass(frozen=True, eq=False)
class Agreement:
    """Agreement of a candidate with its reference, among detections at or above a score.

    Two detections agree when they are of one class and matched one to one with an IoU of at least 0.5. Where a share or
    mean has nothing to be taken over it is None.

    Attributes:
        images: number of images.
        reference_detections: detections of the reference.
        candidate_detections: detections of the candidate.
        matched: pairs that agree.
        share_matched: share of the reference's detections that the candidate has too, in [0, 1].
        share_candidate_matched: share of the candidate's detections that the reference has too, in [0, 1].
        mean_iou: mean IoU of the pairs, in [0, 1].
        score_shift: mean of the pairs' candidate score − reference score.
        mean_absolute_score_shift: mean of its absolute value.
        max_absolute_score_shift: the largest of them.
        per_image: float64 `(images,)`, how much each image differs, 0 and up: 1 for each detection without a partner
            and 1 − IoU for each pair. Sort by it to see the images that differ most.
    """

    images: int
    reference_detections: int
    candidate_detections: int
    matched: int
    share_matched: float | None
    share_candidate_matched: float | None
    mean_iou: float | None
    score_shift: float | None
    mean_absolute_score_shift: float | None
    max_absolute_score_shift: float | None
    per_image: NDArray[np.float64]

    def most_different(self, count: int) -> list[int]:
        """Return the indices of at most `count` images, most different first, leaving out those that do not differ."""
        order = np.argsort(-self.per_image, kind="stable")[:count]
        return [int(index) for index in order if self.per_image[index] > 0]

    def to_json(self) -> dict[str, float | int | None]:
        """Return the figures for a result file, without the images."""
        return {name: value for name, value in vars(self).items() if name != "per_image"}


def agreement(
    reference: Sequence[Detections], candidate: Sequence[Detections], *, score: float = 0.7, iou: float = 0.5
) -> Agreement:
    """Compare two variants' detections on the same images.

    Args:
        reference: one for each image.
        candidate: the same images in the same order, labels in the same classes.
        score: least score of a detection that counts, in [0, 1]. It holds for both: a detection that slips below it is
            one that a user at this score loses.
        iou: least IoU of a pair, in [0, 1].
    """
    ious: list[float] = []
    shifts: list[float] = []
    sizes, differences = [], []
    for first, second in zip(reference, candidate, strict=True):
        before, after = first[first.scores >= score], second[second.scores >= score]
        pairs = match_image(after, GroundTruth(before.boxes, before.labels), iou=iou).pairs
        ious += [pair.iou for pair in pairs]
        shifts += [float(after.scores[pair.prediction]) - float(before.scores[pair.truth]) for pair in pairs]
        sizes.append((len(before), len(after)))
        differences.append(len(before) + len(after) - 2 * len(pairs) + sum(1 - pair.iou for pair in pairs))
    found = np.asarray(sizes, np.int64).reshape(-1, 2).sum(axis=0)
    return Agreement(
        images=len(sizes),
        reference_detections=int(found[0]),
        candidate_detections=int(found[1]),
        matched=len(ious),
        share_matched=len(ious) / int(found[0]) if found[0] else None,
        share_candidate_matched=len(ious) / int(found[1]) if found[1] else None,
        mean_iou=float(np.mean(ious)) if ious else None,
        score_shift=float(np.mean(shifts)) if shifts else None,
        mean_absolute_score_shift=float(np.mean(np.abs(shifts))) if shifts else None,
        max_absolute_score_shift=float(np.max(np.abs(shifts))) if shifts else None,
        per_image=np.asarray(differences, np.float64),
    )


def kept_by_image(
    reference: Sequence[Detections], candidate: Sequence[Detections], *, score: float = 0.7, iou: float = 0.5
) -> tuple[list[int], list[int]]:
    """Return for each image how many detections the reference has, and how many of them the candidate has too.

    Args as in `agreement`.
    """
    found = [agreement([one], [other], score=score, iou=iou) for one, other in zip(reference, candidate, strict=True)]
    return [one.reference_detections for one in found], [one.matched for one in found]
