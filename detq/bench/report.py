"""What a session leaves behind: the gate's table, the figures as JSON, and pictures of the first images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detq.bench.results import VariantResult
from detq.files import atomic_path, write_json, write_text
from detq.report.speed_accuracy import NAME, draw_if_possible, points_of_bench

__all__ = ["write_report"]


def write_report(
    folder: Path, results: Mapping[str, VariantResult], outcome: Mapping[str, Any], texts: Mapping[str, str]
) -> str | None:
    """Write `bench.json`, each of `texts` as `<name>.txt`, and a picture of each variant's first images.

    Where several variants have an accuracy and matplotlib is installed, also `speed_accuracy.png`; without matplotlib
    a sentence that says so is returned.

    Args:
        folder: where to; made if it is not there.
        results: what was measured, by variant id.
        outcome: what the gate found, ready for JSON.
        texts: the session's tables by name.

    Raises:
        OutputError: the folder cannot be written.
    """
    for name, text in texts.items():
        write_text(folder / f"{name}.txt", text + "\n")
    variants = {
        variant: {"times_ms": [round(value * 1e3, 3) for value in result.times_s], **result.info}
        for variant, result in results.items()
    }
    write_json(folder / "bench.json", {"format": "detq-bench/1", "gate": outcome, "variants": variants})
    points = points_of_bench({variant: result.info for variant, result in results.items()})
    lacking = draw_if_possible(points, folder / NAME, "Speed-up against accuracy, one point a variant")
    for variant, result in results.items():
        for number, (sample, found, truth) in enumerate(
            zip(result.samples, result.detections, result.truths, strict=False)
        ):
            picture = _draw(sample.image, found, truth, result, f"{variant}  {sample.image_id}")
            name = f"{variant}-{number}.jpg".replace("/", "_").replace(":", "_")
            _save(folder / "pictures" / name, picture)
    return lacking


def _draw(image: NDArray[np.uint8], found: Any, truth: Any, result: VariantResult, title: str) -> NDArray[np.uint8]:
    from detq.report.overlay import draw_overlay

    return draw_overlay(image, found, truth, result.classes, title=title)


def _save(path: Path, picture: NDArray[np.uint8]) -> None:
    from PIL import Image

    with atomic_path(path) as temporary:
        Image.fromarray(picture).save(temporary, format="JPEG", quality=90)
