"""One-to-one matching of predictions to truths, in COCO's order, and the precision, recall and F1 that follow from it.

The best-scored prediction chooses first, takes the free truth that it overlaps most, and keeps it. `greedy_match` is
the only matcher in detq: COCO's AP, precision/recall/F1 and the agreement of two variants all use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from detq.metrics.overlap import crowd_iou
from detq.types import Detections, GroundTruth

__all__ = ["ImageMatches", "Match", "MatchingScores", "greedy_match", "match_image", "precision_recall_f1"]


class Match(NamedTuple):
    """A prediction and the truth that it found."""

    prediction: int
    truth: int
    iou: float


@dataclass(frozen=True)
class ImageMatches:
    """What became of one image's predictions.

    Attributes:
        pairs: the matches, best-scored prediction first. Indices are those of the arrays that were passed in.
        ignored: predictions inside a crowd region: neither right nor wrong.
    """

    pairs: tuple[Match, ...]
    ignored: tuple[int, ...]


@dataclass(frozen=True)
class MatchingScores:
    """Precision, recall and F1 of one-to-one matching, pooled over images and classes.

    Attributes:
        true_positives: predictions that found a truth.
        false_positives: predictions that found none.
        false_negatives: truths that no prediction found.
        precision: share of the predictions that are right, in [0, 1]; None without predictions.
        recall: share of the truths that were found, in [0, 1]; None without truths.
        f1: harmonic mean of the two, in [0, 1]; None with neither predictions nor truths.
    """

    true_positives: int
    false_positives: int
    false_negatives: int

    @property
    def precision(self) -> float | None:  # noqa: D102  (described with the class)
        return _share(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float | None:  # noqa: D102
        return _share(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def f1(self) -> float | None:  # noqa: D102
        return _share(2 * self.true_positives, 2 * self.true_positives + self.false_positives + self.false_negatives)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def greedy_match(
    ious: NDArray[np.float64], thresholds: ArrayLike, ignore: NDArray[np.bool_], crowd: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Match predictions to truths one to one, for several IoU thresholds and several sets of ignored truths at once.

    Each prediction takes, among the free truths whose IoU reaches the threshold, one that is not ignored if there is
    one, then the one with the largest IoU, then the last (pycocotools' rule, to the letter). A crowd region is never
    used up.

    Args:
        ious: float64 `(N, M)`; row 0 is the prediction with the best score.
        thresholds: `(T,)`.
        ignore: bool `(A, M)`, one row for each set of ignored truths.
        crowd: bool `(M,)`.

    Returns:
        int64 `(A, T, N)`: the truth of each prediction, -1 for none.
    """
    limits = np.minimum(np.asarray(thresholds, np.float64), 1 - 1e-10)
    matches = np.full((len(ignore), len(limits), len(ious)), -1, np.int64)
    if ious.size == 0:
        return matches
    rank = ious.argsort(axis=1, kind="stable").argsort(axis=1)
    preference = rank[:, None, :] + ious.shape[1] * ~ignore[None]
    free = np.ones((len(ignore), len(limits), ious.shape[1]), np.bool_)
    for prediction in np.flatnonzero(ious.max(axis=1) >= limits.min()):
        within = ious[prediction] >= limits[:, None]
        key = np.where(free & within, preference[prediction][:, None, :], -1)
        areas, levels = np.nonzero(key.max(axis=2) >= 0)
        truths = key.argmax(axis=2)[areas, levels]
        matches[areas, levels, prediction] = truths
        free[areas, levels, truths] = crowd[truths]
    return matches


def match_image(detections: Detections, truth: GroundTruth, *, iou: float = 0.5, score: float = 0.0) -> ImageMatches:
    """Match the detections of one image that score at least `score` to its truths: same class, IoU at least `iou`."""
    pairs: list[Match] = []
    ignored: list[int] = []
    confident = detections.scores >= score
    for label in np.unique(detections.labels[confident]):
        rows = np.flatnonzero(confident & (detections.labels == label))
        rows = rows[np.argsort(-detections.scores[rows], kind="stable")]
        columns = np.flatnonzero(truth.labels == label)
        crowd = truth.crowd[columns]
        ious = crowd_iou(detections.boxes[rows], truth.boxes[columns], crowd)
        found = greedy_match(ious, [iou], crowd[None], crowd)[0, 0]
        for row in np.flatnonzero(found >= 0):
            column = found[row]
            if crowd[column]:
                ignored.append(int(rows[row]))
            else:
                pairs.append(Match(int(rows[row]), int(columns[column]), float(ious[row, column])))
    pairs.sort(key=lambda pair: (-detections.scores[pair.prediction], pair.prediction))
    return ImageMatches(tuple(pairs), tuple(sorted(ignored)))


def precision_recall_f1(
    detections: Sequence[Detections], truths: Sequence[GroundTruth], *, score: float = 0.7, iou: float = 0.65
) -> MatchingScores:
    """Count right, wrong and missed over all images and classes, crowd regions left out.

    Args:
        detections: one for each image.
        truths: the same images in the same order.
        score: the least score of a prediction that counts, in [0, 1].
        iou: the least IoU of a match, in [0, 1].
    """
    hits = wrong = missed = 0
    for found, truth in zip(detections, truths, strict=True):
        matches = match_image(found, truth, iou=iou, score=score)
        hits += len(matches.pairs)
        wrong += int((found.scores >= score).sum()) - len(matches.pairs) - len(matches.ignored)
        missed += int((~truth.crowd).sum()) - len(matches.pairs)
    return MatchingScores(hits, wrong, missed)
