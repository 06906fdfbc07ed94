"""Made-up evaluations: truths and imperfect detections of them."""

from __future__ import annotations

import numpy as np

from detq.types import Detections, GroundTruth


def some_boxes(rng: np.random.Generator, count: int, *, whole: bool = False) -> np.ndarray:
    """Boxes from 5 to 300 px a side, in all of COCO's sizes; with `whole`, on a coarse grid that makes ties."""
    corner = rng.uniform(0, 1000, (count, 2))
    sides = np.exp(rng.uniform(np.log(5), np.log(300), (count, 2)))
    if whole:
        corner, sides = corner // 200 * 8, np.maximum(sides // 16 * 16, 8)
    return np.concatenate([corner, corner + sides], axis=1).astype(np.float32)


def scene(rng: np.random.Generator, classes: int, *, crowd: float = 0.1, objects: int = 8, whole: bool = False):
    """One image: its truth, and a function that draws detections of it."""
    count = rng.integers(0, objects + 1)
    boxes = some_boxes(rng, count, whole=whole)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) * rng.uniform(0.6, 1, count)
    truth = GroundTruth(boxes, rng.integers(0, classes, count), rng.random(count) < crowd, areas)

    def detect() -> Detections:
        seen = rng.random(count) < 0.8
        sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
        noisy = boxes + (0 if whole else rng.normal(0, 0.06, boxes.shape) * sides)
        noisy = np.concatenate([np.minimum(noisy[:, :2], noisy[:, 2:]), np.maximum(noisy[:, :2], noisy[:, 2:])], axis=1)
        wrong = rng.integers(0, objects)
        found = np.concatenate([noisy[seen], some_boxes(rng, wrong, whole=whole)])
        labels = np.concatenate([truth.labels[seen], rng.integers(0, classes, wrong)])
        scores = rng.random(len(found)).astype(np.float32)
        return Detections(found, np.round(scores, 1) if whole else scores, labels)

    return truth, detect


def evaluation(seed: int, images: int, classes: int = 1, *, variants: int = 1, **how):
    """Truths of some images, and for each variant detections of them."""
    rng = np.random.default_rng(seed)
    scenes = [scene(rng, classes, **how) for _ in range(images)]
    return [truth for truth, _ in scenes], *([detect() for _, detect in scenes] for _ in range(variants))
