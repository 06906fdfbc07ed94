"""COCO's average precision for images drawn with multiplicity: matched once, accumulated thousands of times.

A bootstrap replicate draws some images twice and leaves others out. Evaluating each replicate from scratch would match
the same boxes over and over, so `average_precision_plan` matches once and keeps, for each curve (IoU threshold, class,
size class), where its true positives stand in order of score; `average_precisions` then needs one weighted running sum.

At weight 1 this is COCO's AP to the last rounding. At a whole weight it is the AP of a data set in which the image
occurs so often, up to the order of equal scores within one image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from detq.metrics.matching import greedy_match
from detq.metrics.overlap import crowd_iou, crowd_mask_iou, mask_areas
from detq.types import Detections, GroundTruth

__all__ = [
    "AREA_RANGES_PX",
    "IOU_THRESHOLDS",
    "MAX_DETECTIONS",
    "RECALL_THRESHOLDS",
    "AveragePrecisionPlan",
    "Matched",
    "average_precision_plan",
    "average_precisions",
    "match_images",
    "plan_of",
]

# COCO's own parameters (pycocotools.cocoeval.Params.setDetParams).
IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALL_THRESHOLDS = np.linspace(0.0, 1.0, 101)
MAX_DETECTIONS = 100
AREA_RANGES_PX = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}

_LEVELS, _AREAS = len(IOU_THRESHOLDS), len(AREA_RANGES_PX)
_LOW, _HIGH = np.asarray(list(AREA_RANGES_PX.values())).T[:, :, None]

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Matched:
    """One class in one image, best score first: N detections, A size classes, T thresholds.

    Attributes:
        scores: float32 `(N,)`.
        right: bool `(A, T, N)`: true positives.
        counted: bool `(A, T, N)`: not ignored.
        outside: bool `(A, N)`: of the size class.
        truths: int64 `(A,)`: objects to find.
    """

    scores: NDArray[np.float32]
    right: Flags
    counted: Flags
    outside: Flags
    truths: Ints


@dataclass(frozen=True)
class AveragePrecisionPlan:
    """Where the true positives of every precision-recall curve stand; what `average_precisions` needs.

    A curve is one (threshold, class, size class) that has a true positive. The detections that count towards its
    precision are those inside the size class, whatever the threshold, plus a few corrections that depend on it. Both
    are kept as events, an image and a sign each, so that a running sum over events gives the count at any position.

    Attributes:
        classes: number of classes, K.
        truths: int64 `(images, K * A)`: objects to find in each image.
        event_images: int64 `(E,)`: the image of each event.
        event_signs: int64 `(E,)`: 1 or -1.
        hit_images: int64 `(H,)`: the image of each true positive, curve after curve, best score first.
        hit_spans: int64 `(2, H)`: where the events up to each true positive end: those inside, those that correct.
        curve_spans: int64 `(2, S)`: where each curve's events of either kind begin.
        starts: int64 `(S,)`: where each curve begins among the true positives.
        cells: int64 `(S,)`: its place in an array of shape (T, K, A), flattened.
    """

    classes: int
    truths: Ints
    event_images: Ints
    event_signs: Ints
    hit_images: Ints
    hit_spans: Ints
    curve_spans: Ints
    starts: Ints
    cells: Ints


def average_precision_plan(
    detections: Sequence[Detections], truths: Sequence[GroundTruth], classes: int, *, masks: bool = False
) -> AveragePrecisionPlan:
    """Match every image once, at each of COCO's IoU thresholds and size classes.

    Args:
        detections: one for each image; labels below `classes`.
        truths: the same images in the same order.
        classes: number of classes.
        masks: match by the IoU of masks instead of boxes.
    """
    return plan_of(match_images(detections, truths, classes, masks=masks), classes)


def match_images(
    detections: Sequence[Detections], truths: Sequence[GroundTruth], classes: int, *, masks: bool = False
) -> list[dict[int, Matched]]:
    """Return for each image what was matched of each class that was found in it or should be; args as above."""
    matched: list[dict[int, Matched]] = []
    for found, truth in zip(detections, truths, strict=True):
        matched.append({})
        for label in range(classes):
            of_class, to_find = found.labels == label, truth.labels == label
            if of_class.any() or to_find.any():
                matched[-1][label] = _match(found[of_class], truth[to_find], masks=masks)
    return matched


def plan_of(images: Sequence[Mapping[int, Matched]], classes: int) -> AveragePrecisionPlan:
    """Return the plan for images that are matched already.

    Args:
        images: label -> what was matched, for each image; all with the same size classes.
        classes: number of classes.
    """
    areas = next((len(one.truths) for image in images for one in image.values()), _AREAS)
    counts = np.zeros((len(images), classes, areas), np.int64)
    builder = _Builder()
    for label in range(classes):
        matched = {index: image[label] for index, image in enumerate(images) if label in image}
        for index, one in matched.items():
            counts[index, label] = one.truths
        if matched:
            builder.add_class(label, classes, matched)
    return builder.plan(classes, counts.reshape(len(images), classes * areas))


def _match(found: Detections, truth: GroundTruth, *, masks: bool) -> Matched:
    best = found[np.argsort(-found.scores, kind="stable")[:MAX_DETECTIONS]]
    if masks:
        areas, ious = mask_areas(best), crowd_mask_iou(best, truth)
    else:
        corners = best.boxes.astype(np.float64)
        areas = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
        ious = crowd_iou(best.boxes, truth.boxes, truth.crowd)
    outside = (areas < _LOW) | (areas > _HIGH)
    ignore = truth.crowd | (truth.areas_px < _LOW) | (truth.areas_px > _HIGH)
    matches = greedy_match(ious, IOU_THRESHOLDS, ignore, truth.crowd)
    hit = matches >= 0
    # -1 picks the last column, an arbitrary value that `hit` masks; the extra column keeps that legal without truths.
    padded = np.concatenate([ignore, np.ones((_AREAS, 1), np.bool_)], axis=1)
    ignored = np.take_along_axis(padded[:, None, :], matches, axis=2)
    counted = np.where(hit, ~ignored, ~outside[:, None, :])
    return Matched(best.scores, hit & counted, counted, outside, (~ignore).sum(axis=1))


@dataclass
class _Builder:
    """Collects events and true positives, class after class."""

    events: int = 0
    event_images: list[Ints] = field(default_factory=list)
    event_signs: list[Ints] = field(default_factory=list)
    hit_images: list[Ints] = field(default_factory=list)
    hit_spans: list[Ints] = field(default_factory=list)
    curve_spans: list[list[int]] = field(default_factory=list)
    cells: list[int] = field(default_factory=list)

    def add_class(self, label: int, classes: int, matched: dict[int, Matched]) -> None:
        parts = list(matched.values())
        scores = np.concatenate([part.scores for part in parts])
        order = np.argsort(-scores, kind="stable")
        images = np.repeat(list(matched), [len(part.scores) for part in parts])[order]
        right = np.concatenate([part.right for part in parts], axis=2)[..., order]
        counted = np.concatenate([part.counted for part in parts], axis=2)[..., order]
        inside = ~np.concatenate([part.outside for part in parts], axis=1)[:, order]
        areas = len(inside)
        for area in range(areas):
            low = self.events
            base = self._add_events(images, inside[area].astype(np.int64))
            for level in range(_LEVELS):
                hits = np.flatnonzero(right[area, level])
                if len(hits) == 0:
                    continue
                change = counted[area, level].astype(np.int64) - inside[area]
                self.curve_spans.append([low, self.events])
                self.hit_spans.append(np.stack([base[hits], self._add_events(images, change)[hits]]))
                self.hit_images.append(images[hits])
                self.cells.append((level * classes + label) * areas + area)

    def _add_events(self, images: Ints, signs: Ints) -> Ints:
        """Append the events where `signs` is not 0; return `(N,)`: where those up to each detection end."""
        used = signs != 0
        self.event_images.append(images[used])
        self.event_signs.append(signs[used])
        ends = self.events + np.cumsum(used)
        self.events += int(used.sum())
        return np.asarray(ends)

    def plan(self, classes: int, truths: Ints) -> AveragePrecisionPlan:
        nothing = np.zeros(0, np.int64)
        lengths = np.asarray([len(hits) for hits in self.hit_images], np.int64)
        return AveragePrecisionPlan(
            classes=classes,
            truths=truths,
            event_images=np.concatenate([nothing, *self.event_images]),
            event_signs=np.concatenate([nothing, *self.event_signs]),
            hit_images=np.concatenate([nothing, *self.hit_images]),
            hit_spans=np.concatenate([np.zeros((2, 0), np.int64), *self.hit_spans], axis=1),
            curve_spans=np.asarray(self.curve_spans, np.int64).reshape(-1, 2).T,
            starts=np.cumsum(lengths) - lengths,
            cells=np.asarray(self.cells, np.int64),
        )


def average_precisions(plan: AveragePrecisionPlan, weights: Ints) -> NDArray[np.float64]:
    """Return the average precision of every curve with image i counted `weights[i]` times.

    Args:
        plan: from `average_precision_plan`.
        weights: int64 `(images,)`, 0 or more.

    Returns:
        float64 `(T, K, A)`: thresholds, classes, size classes; NaN where there is nothing to find.
    """
    to_find = weights @ plan.truths
    result = np.zeros((_LEVELS, len(to_find)))
    if len(plan.cells):
        result.flat[plan.cells] = _interpolated(plan, weights, to_find)
    result[:, to_find == 0] = np.nan
    return result.reshape(_LEVELS, plan.classes, -1)


def _interpolated(plan: AveragePrecisionPlan, weights: Ints, to_find: Ints) -> NDArray[np.float64]:
    # Whole numbers in float64 are exact, and spare a conversion before the division. In place: this is the hot loop.
    counts = weights.astype(np.float64)
    sums = np.concatenate([[0.0], np.cumsum(plan.event_signs * counts.take(plan.event_images))])
    hits = counts.take(plan.hit_images).cumsum()
    ends = np.append(plan.starts[1:], len(hits))
    before = np.where(plan.starts > 0, hits[plan.starts - 1], 0.0)
    counted = sums.take(plan.hit_spans[0])
    counted += sums.take(plan.hit_spans[1])
    counted -= np.repeat(sums[plan.curve_spans].sum(axis=0), ends - plan.starts)
    counted += np.spacing(1.0)  # pycocotools does this against 0 / 0
    precision = hits - np.repeat(before, ends - plan.starts)
    precision /= counted

    wanted = before[:, None] + _hits_needed(to_find)[plan.cells % len(to_find)]
    first = np.searchsorted(hits, wanted.ravel()).reshape(wanted.shape)
    reached = first < ends[:, None]
    first = np.minimum(first, ends[:, None] - 1)
    # Precision at a recall is the best one at that recall or beyond: the maximum of each stretch between two wanted
    # positions, then the running maximum from the right. A stretch that runs into the next curve meets zeros only.
    stretches = np.maximum.reduceat(precision, first.ravel()).reshape(first.shape)
    best = np.maximum.accumulate(stretches[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(np.where(reached, best, 0.0).mean(axis=1))


def _hits_needed(to_find: Ints) -> Ints:
    """Return the fewest true positives, `(cells, 101)`, whose recall reaches each threshold in floating point."""
    total = np.maximum(to_find, 1)[:, None]
    needed = np.ceil(RECALL_THRESHOLDS * total).astype(np.int64) - 1
    for _ in range(2):
        needed += needed / total < RECALL_THRESHOLDS
    return np.asarray(np.maximum(needed, 1))
