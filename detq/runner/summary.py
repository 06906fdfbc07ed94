"""From the files of a run to its result."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detq.measure.split import PARTS
from detq.measure.timing import percentiles
from detq.metrics.agreement import Agreement, agreement
from detq.metrics.bootstrap import Interval, paired_speedup
from detq.metrics.evaluate import evaluate
from detq.predictions import read_predictions
from detq.predictor import Predictor
from detq.quantization.recipes import REFERENCE
from detq.records import from_json
from detq.results import Accuracy, AgreementSummary, ProposalBin, Proposals, QuantizedShare, VariantResult
from detq.runner.config import RunConfig
from detq.runner.journal import PREDICTIONS, TIMINGS, read_splits, read_timings
from detq.runner.view import View
from detq.types import Detections

__all__ = ["Measurements", "bin_proposals", "read_measurements", "summarize_variants"]

Times = Mapping[str, NDArray[np.float64]]

FEWEST_IMAGES_A_BIN = 5


@dataclass(frozen=True, eq=False)
class Measurements:
    """What the files of a finished run hold, images in the data set's order.

    Attributes:
        times_ms: of each recipe, float64 `(images,)`.
        splits_ms: of each recipe whose time is divided, float64 `(images, 3)`: see `detq.measure.split.PARTS`.
        found: of each recipe, one `Detections` an image.
        agreements: with fp32, of each other recipe, also with random weights; empty for labelled data.
        accuracy: of each recipe; empty without labels or with random weights.
        metrics_s: seconds that the metrics took.
    """

    times_ms: Times
    splits_ms: Times
    found: Mapping[str, Sequence[Detections]]
    agreements: Mapping[str, Agreement]
    accuracy: Mapping[str, Accuracy]
    metrics_s: float


def read_measurements(config: RunConfig, view: View, recipes: Sequence[str], *, meaningful: bool) -> Measurements:
    """Read the files of a finished run and judge what the variants found."""
    start = time.perf_counter()
    folder = Path(config.out)
    times = read_timings(folder / TIMINGS, recipes)
    splits = read_splits(folder / TIMINGS, recipes)
    by_variant = read_predictions(folder / PREDICTIONS, view)
    found = {recipe: by_variant[recipe] for recipe in recipes}
    accuracy: dict[str, Accuracy] = {}
    agreements: dict[str, Agreement] = {}
    if meaningful and not config.unlabelled:
        entries: Mapping[str, Any] = evaluate(
            found,
            view.truths(),
            view.classes,
            score=config.score,
            iou=config.iou,
            report_class=config.report_class,
            seed=config.seed,
        )
        accuracy = {recipe: from_json(Accuracy, entries[recipe], recipe) for recipe in recipes}
    elif config.unlabelled:  # also of random weights: how far quantization moves what they find is a fact
        agreements = {
            recipe: agreement(found[REFERENCE], found[recipe], score=config.score)
            for recipe in recipes
            if recipe != REFERENCE
        }
    return Measurements(times, splits, found, agreements, accuracy, time.perf_counter() - start)


def summarize_variants(
    measured: Measurements,
    predictors: Mapping[str, Predictor],
    peak_memory_bytes: Mapping[str, int | None],
    seed: int,
) -> dict[str, VariantResult]:
    """Return each variant's result.

    Args:
        measured: see `read_measurements`.
        predictors: by recipe, with their proofs.
        peak_memory_bytes: by recipe, None where it is not known.
        seed: of the bootstrap.
    """
    results = {}
    for recipe, predictor in predictors.items():
        agreed = measured.agreements.get(recipe)
        proof = predictor.proof
        results[recipe] = VariantResult(
            latency=percentiles(measured.times_ms[recipe]),
            speedup=_speedup(measured.times_ms, recipe, slice(None), seed),
            peak_memory_bytes=peak_memory_bytes[recipe],
            weight_bytes=predictor.weight_bytes,
            proof=None if proof is None else from_json(QuantizedShare, proof.to_json(), "proof"),
            accuracy=measured.accuracy.get(recipe),
            split=_split(measured.splits_ms.get(recipe)),
            notes=predictor.notes,
            agreement=None if agreed is None else from_json(AgreementSummary, agreed.to_json(), "agreement"),
        )
    return results


def _split(parts_ms: NDArray[np.float64] | None) -> dict[str, float] | None:
    if parts_ms is None:
        return None
    return dict(zip(PARTS, np.median(parts_ms, axis=0).tolist(), strict=True))


def _speedup(times: Times, recipe: str, images: slice | NDArray[np.int64], seed: int) -> Interval | None:
    if recipe == REFERENCE:
        return None
    return paired_speedup(times[REFERENCE][images], times[recipe][images], seed=seed)


def bin_proposals(indices: Sequence[int], counts: Sequence[int], times: Times, seed: int) -> Proposals:
    """Return the speed-up by thirds of the images that were counted, or no thirds where images are too few.

    Images with equally many proposals stay together, so that there can be fewer than three parts of unequal size.

    Args:
        indices: which images were counted.
        counts: how many proposals each of them has.
        times: of each recipe, milliseconds of all images.
        seed: of the bootstrap.
    """
    images, number = np.asarray(indices, np.int64), np.asarray(counts, np.int64)
    part = np.searchsorted(np.quantile(number, [1 / 3, 2 / 3]), number, side="left")
    groups = [np.flatnonzero(part == which) for which in np.unique(part)]
    if len(groups) < 2 or min(len(group) for group in groups) < FEWEST_IMAGES_A_BIN:
        groups = []
    bins = tuple(_bin(number[group], images[group], times, seed) for group in groups)
    return Proposals(images=len(number), median=float(np.median(number)), bins=bins)


def _bin(counts: NDArray[np.int64], images: NDArray[np.int64], times: Times, seed: int) -> ProposalBin:
    speedups = {recipe: _speedup(times, recipe, images, seed) for recipe in times}
    known = {recipe: interval for recipe, interval in speedups.items() if interval is not None}
    return ProposalBin(int(counts.min()), int(counts.max()), len(images), known)
