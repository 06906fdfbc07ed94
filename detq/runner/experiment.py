"""`run_experiment`: from the arguments to a folder of results, with or without somebody watching."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from detq.errors import DataError
from detq.measure.threads import pinned_threads
from detq.measure.timing import Measured, interleave
from detq.out_folder import OutFolder
from detq.quantization.recipes import REFERENCE
from detq.results import RunResult
from detq.runner.artifacts import model_of, open_artifacts
from detq.runner.conclude import Session, conclude
from detq.runner.config import RunConfig
from detq.runner.journal import Journal, Row
from detq.runner.prepare import Prepared, prepare, settings_of
from detq.runner.progress import Progress
from detq.types import select_classes

__all__ = ["run_experiment"]


def run_experiment(config: RunConfig, progress: Progress | None = None) -> RunResult:
    """Measure every variant on every image and write the results to `config.out`.

    Everything is checked before the first image is timed. A run that was interrupted goes on where it stopped when
    it is repeated with `resume`.

    Args:
        config: what to do.
        progress: is told what happens; nobody by default.

    Returns:
        What `metrics.json` holds.

    Raises:
        DetqError: a mistake in the arguments, the data or the weights, or a folder that cannot be written.
    """
    progress = progress or Progress()
    folder = OutFolder(config.out, "run", config.out / "run.json", "detq-run-settings/1")
    folder.check(resume=config.resume)
    with pinned_threads(config.threads, keep_memory=not config.system_allocator):
        artifacts = open_artifacts(config, progress)
        config = replace(config, model=model_of(config, artifacts))
        prepared = prepare(config, progress, artifacts)
        folder.claim(settings_of(config, prepared))
        with folder.locked():
            session = _measure(config, prepared, progress)
            return conclude(config, prepared, session, progress)


def _measure(config: RunConfig, prepared: Prepared, progress: Progress) -> Session:
    """Time every variant on the images that are left, appending each image to the folder's files."""
    view, recipes = prepared.view, list(prepared.predictors)
    journal = Journal(
        config.out, lambda: ((image, recipe) for image in view.image_ids() for recipe in recipes), len(recipes)
    )
    if journal.done:
        progress.say(f"Going on after {journal.done} of {len(view)} images.")
    progress.begin("measuring", len(view), journal.done)
    inference_s = writing_s = 0.0
    view.loading_s = 0.0
    with journal.appending(view.classes) as append:
        left = range(journal.done, len(view))
        with _going_on(config):
            for _, measured in interleave(prepared.predictors, view, left, seed=config.seed):
                start = time.perf_counter()
                append(_rows(measured, prepared))
                writing_s += time.perf_counter() - start
                inference_s += sum(one.elapsed_ms for one in measured if one.variant == REFERENCE) / 1000
                progress.step(measured[0].index + 1)
    progress.end()
    return Session(inference_s, view.loading_s, writing_s)


@contextlib.contextmanager
def _going_on(config: RunConfig) -> Iterator[None]:
    """Say with a mistake in an image, which only decoding finds, that the images before it are not lost."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{error}; then go on with --resume, {config.out} holds the images before it") from None


def _rows(measured: Sequence[Measured], prepared: Prepared) -> list[Row]:
    """Return one image's rows in the order of recipes: whatever ran first, the files' lines stay in place."""
    rows = {
        one.variant: Row(
            one.image_id,
            one.variant,
            one.order,
            one.elapsed_ms,
            select_classes(one.detections, prepared.predictors[one.variant].classes, prepared.view.classes),
            one.split,
        )
        for one in measured
    }
    return [rows[recipe] for recipe in prepared.predictors]
