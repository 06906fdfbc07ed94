"""Which images of a run are drawn, and drawing them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from detq.files import atomic_path
from detq.metrics.agreement import Agreement
from detq.quantization.recipes import REFERENCE
from detq.report.overlay import draw_overlay, side_by_side
from detq.runner.config import RunConfig
from detq.runner.progress import Progress
from detq.runner.view import View
from detq.types import Detections

__all__ = ["FOLDER", "draw_pictures", "pictures_to_draw", "spread"]

FOLDER = "pictures"

JPEG_QUALITY = 90

Found = Mapping[str, Sequence[Detections]]


def spread(count: int, total: int) -> list[int]:
    """Return `count` of `total` indices, evenly spread from the first on; all where there are not as many."""
    if count >= total:
        return list(range(total))
    return [number * total // count for number in range(count)]


def pictures_to_draw(count: int, total: int, agreements: Mapping[str, Agreement]) -> list[int]:
    """Return which images to draw: spread over the set, or where variants are compared those that differ most."""
    if not agreements:
        return spread(count, total)
    worst = np.max([found.per_image for found in agreements.values()], axis=0)
    order = np.argsort(-worst, kind="stable")[:count]
    return [int(index) for index in order if worst[index] > 0]


def draw_pictures(
    config: RunConfig, view: View, found: Found, indices: Sequence[int], progress: Progress
) -> tuple[str, ...]:
    """Draw images into the run's folder and return their paths in it.

    With labels: each variant against the ground truth, side by side. Without: each variant against fp32.

    Raises:
        OutputError: a picture cannot be written.
    """
    paths = []
    progress.begin("drawing pictures", len(indices))
    for done, index in enumerate(indices, start=1):
        name = f"{FOLDER}/{index:06d}_{_slug(view.image_id(index))}.jpg"
        picture = Image.fromarray(side_by_side(list(_panels(config, view, found, index))))
        with atomic_path(config.out / name) as path:
            picture.save(path, format="JPEG", quality=JPEG_QUALITY)
        paths.append(name)
        progress.step(done)
    progress.end()
    return tuple(paths)


def _panels(config: RunConfig, view: View, found: Found, index: int) -> Iterator[np.ndarray]:
    sample = view.load(index)
    alone = len(found) == 1
    for recipe, detections in found.items():
        if config.unlabelled and recipe == REFERENCE and not alone:
            continue  # it is the other colour of every panel
        compared = None if alone else found[REFERENCE][index]
        yield draw_overlay(
            sample.image,
            detections[index],
            compared if config.unlabelled else sample.target,
            view.classes,
            score_threshold=config.score,
            iou_threshold=config.iou,
            names=(recipe, REFERENCE if config.unlabelled else "ground truth"),
            title=sample.image_id,
        )


def _slug(image_id: str) -> str:
    """Return the image's own name in letters that every file system takes; the number before it makes it unique."""
    stem = Path(image_id).with_suffix("").name
    return re.sub(r"[^A-Za-z0-9._-]+", "_", stem)[:60] or "image"
