"""What follows the measuring: metrics, proposals, pictures, memory, and the files that say it all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from detq.errors import DetqError
from detq.files import write_text
from detq.measure.memory import measure_memory
from detq.measure.proposals import count_proposals
from detq.predictions import write_coco_results
from detq.quantization.recipes import REFERENCE
from detq.report.advice import advise
from detq.report.document import to_markdown
from detq.report.speed_accuracy import NAME, draw_if_possible, points_of_run
from detq.results import DataSummary, Proposals, RunResult
from detq.runner.config import RunConfig
from detq.runner.pictures import draw_pictures, pictures_to_draw, spread
from detq.runner.prepare import Prepared, open_arguments
from detq.runner.progress import Progress
from detq.runner.summary import Measurements, bin_proposals, read_measurements, summarize_variants
from detq.runner.view import View

__all__ = ["COCO", "METRICS", "REPORT", "Session", "conclude"]

METRICS = "metrics.json"
REPORT = "report.md"
COCO = "coco"

MEMORY_IMAGES = 8

PROPOSAL_IMAGES = 60
"""The untimed pass that counts proposals takes this many images: thirds of 20, at the price of 60 images in fp32."""


@dataclass(frozen=True)
class Session:
    """Seconds of the measuring session by what they went into."""

    inference_fp32_s: float
    loading_s: float
    writing_s: float


def conclude(config: RunConfig, prepared: Prepared, session: Session, progress: Progress) -> RunResult:
    """Judge what is in the folder's files, draw pictures and write the result."""
    view = prepared.view
    progress.begin("computing metrics", 1)
    measured = read_measurements(config, view, list(prepared.predictors), meaningful=prepared.meaningful)
    progress.end()
    _write_coco(config, view, measured)
    proposals = _count_proposals(config, prepared, measured, progress)
    indices = pictures_to_draw(config.draw, len(view), measured.agreements)
    pictures = draw_pictures(config, view, measured.found, indices, progress)
    peaks = _peak_memory(config, prepared, progress)
    result = RunResult(
        model=config.model,
        weights=prepared.reference.weights.describe(),
        meaningful_accuracy=prepared.meaningful,
        data=DataSummary(view.name, view.identity(), len(view), view.classes, view.describe_ignored()),
        environment=prepared.environment,
        machine_class=prepared.machine_class,
        threads=config.threads,
        seed=config.seed,
        score=config.score,
        iou=config.iou,
        variants=summarize_variants(measured, prepared.predictors, peaks, config.seed),
        calibration=None if prepared.calibration is None else prepared.calibration.describe(),
        proposals=proposals,
        overhead=_overhead(measured, session),
        pictures=pictures,
        artifacts={name: file.describe() for name, file in prepared.artifacts.items()},
    )
    result = replace(result, advice=advise(result))
    result.write(config.out / METRICS)
    write_text(config.out / REPORT, to_markdown(result))
    _draw_points(config, result, progress)
    return result


def _draw_points(config: RunConfig, result: RunResult, progress: Progress) -> None:
    """Draw speed-up against AP where both are known."""
    title = f"{result.model}, {result.data.images} images of {result.data.name}, {result.threads} threads"
    if sentence := draw_if_possible(points_of_run(result), config.out / NAME, title):
        progress.say(sentence)


def _write_coco(config: RunConfig, view: View, measured: Measurements) -> None:
    """Write what each variant found in the form that every COCO evaluator reads."""
    for recipe, found in measured.found.items():
        write_coco_results(config.out / COCO / f"{recipe}.json", found, view)


def _count_proposals(
    config: RunConfig, prepared: Prepared, measured: Measurements, progress: Progress
) -> Proposals | None:
    view = prepared.view
    indices = spread(PROPOSAL_IMAGES, len(view))
    progress.begin("counting proposals", len(indices))

    def images() -> Iterator[NDArray[np.uint8]]:
        for done, index in enumerate(indices):
            progress.step(done)
            yield view.load(index).image

    counts = count_proposals(prepared.reference, images())
    progress.end()
    return None if counts is None else bin_proposals(indices, counts, measured.times_ms, config.seed)


def _peak_memory(config: RunConfig, prepared: Prepared, progress: Progress) -> dict[str, int | None]:
    """Return the variants' peak memory, each measured in a process of its own; None where it is not known."""
    peaks: dict[str, int | None] = dict.fromkeys(prepared.predictors)
    if not config.memory:
        return peaks
    progress.begin("measuring memory", len(peaks))
    for done, (recipe, predictor) in enumerate(prepared.predictors.items(), start=1):
        try:
            peaks[recipe] = measure_memory(
                predictor.variant,
                open_arguments(config),
                weights=config.weights,
                classes=predictor.classes if recipe in prepared.artifacts else config.classes,
                seed=config.seed,
                calibration=config.calibration,
                threads=config.threads,
                images=min(MEMORY_IMAGES, len(prepared.view)),
                artifact=file.path if (file := prepared.artifacts.get(recipe)) else None,
                image_sizes=config.image_sizes,
                keep_memory=not config.system_allocator,
            ).peak_bytes
        except DetqError as error:
            # Hours of measuring must not be lost to one figure, be it unsupported here or its process out of memory.
            progress.say(f"No peak memory: {error}.")
            break
        progress.step(done)
    progress.end()
    return peaks


def _overhead(measured: Measurements, session: Session) -> dict[str, float]:
    """Return the seconds around the model, and their share of fp32's inference; the goal is at most 5 %."""
    total_s = float(measured.times_ms[REFERENCE].sum()) / 1000
    around = session.loading_s + session.writing_s
    share = measured.metrics_s / total_s + (around / session.inference_fp32_s if session.inference_fp32_s else 0.0)
    return {
        "inference_fp32_s": total_s,
        "loading_s": session.loading_s,
        "writing_s": session.writing_s,
        "metrics_s": measured.metrics_s,
        "share_of_fp32": share,
    }
