"""Where the time of variants goes, stage by stage, beside what this machine's arithmetic would allow."""

from __future__ import annotations

import contextlib
import functools
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detq.measure.limits import measure_limits
from detq.measure.stages import StageClock, watching_stages
from detq.measure.threads import pinned_threads
from detq.measure.timing import no_collection, variant_order
from detq.models.stages import STAGES, stage_of
from detq.predictor import Predictor

__all__ = ["Profile", "StageCost", "VariantCost", "profile_variants", "stage_medians"]

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class StageCost:
    """One stage of one variant.

    Attributes:
        median_ms: over images.
        share: of the variant's time, in [0, 1].
        gmacs: multiply-accumulates of its convolutions and linear layers, in 1e9, mean of an image; 0 for glue.
        gmacs_per_s: what it reached, or None for glue.
        precision: of those layers: fp32, bf16 or int8.
        of_limit: `gmacs_per_s` by what a plain matrix product reaches in that precision, or None.
    """

    median_ms: float
    share: float
    gmacs: float
    gmacs_per_s: float | None
    precision: str
    of_limit: float | None


@dataclass(frozen=True)
class VariantCost:
    """One variant on a number of threads.

    Attributes:
        variant: its id.
        threads: of torch.
        median_ms: of an image, over images.
        speedup: median over images of the first variant's time by this one's, on the same image.
        gmacs: of all stages, mean of an image.
        times_limit: the mean time by the least time that all its multiply-accumulates would take in the fastest
            precision's plain matrix product; None where no arithmetic is counted.
        proposals: median over images of those that reached the box head, or None.
        detections: median over images.
        stages: by name in the order in which they run; empty where the detector cannot be watched.
    """

    variant: str
    threads: int
    median_ms: float
    speedup: float
    gmacs: float
    times_limit: float | None
    proposals: float | None
    detections: float
    stages: dict[str, StageCost]


@dataclass(frozen=True)
class Profile:
    """What `detq profile` found.

    Attributes:
        images: how many were timed.
        limits: for each number of threads, the multiply-accumulates a second of a plain matrix product by precision,
            in 1e9, measured in the same run.
        variants: in the order asked for, for each number of threads.
    """

    images: int
    limits: dict[int, dict[str, float]]
    variants: tuple[VariantCost, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it ready for JSON."""
        return asdict(self)


def profile_variants(
    predictors: Mapping[str, Predictor],
    images: Sequence[Image],
    *,
    threads: Sequence[int],
    seed: int = 0,
    step: Callable[[int], None] = lambda _done: None,
) -> Profile:
    """Time every stage of every variant on every image, in random order for each image.

    Whatever the first image of a size costs, and one more pass, is untimed.

    Args:
        predictors: by variant id.
        images: uint8 `(height, width, 3)`, RGB.
        threads: numbers of threads, one pass each.
        seed: of the variants' order.
        step: is told how many images are done, those of all passes together.
    """
    _prepare(predictors, images)
    work = {name: _count_work(predictor, images) for name, predictor in predictors.items()}
    limits: dict[int, dict[str, float]] = {}
    costs: list[VariantCost] = []
    for turn, count in enumerate(threads):
        with pinned_threads(count):
            limits[count] = measure_limits()
            timed = _time(predictors, images, seed, functools.partial(_from, turn * len(images), step))
        reference = timed[next(iter(predictors))]
        costs += [_cost((name, count), timed[name], reference, work[name], limits[count]) for name in predictors]
    return Profile(len(images), limits, tuple(costs))


def stage_medians(
    predictors: Mapping[str, Predictor],
    images: Sequence[Image],
    *,
    seed: int = 0,
    step: Callable[[int], None] = lambda _done: None,
) -> dict[str, dict[str, float]]:
    """Return the median milliseconds of every stage of every variant, timed as `profile_variants` does.

    Nothing is counted, and the machine's limits are not measured. Args as there; threads are those of now.
    """
    _prepare(predictors, images)
    found = {name: _spent(timed) for name, timed in _time(predictors, images, seed, step).items()}
    return {
        name: {stage: statistics.median(values) for stage, values in spent.items()} for name, spent in found.items()
    }


def _prepare(predictors: Mapping[str, Predictor], images: Sequence[Image]) -> None:
    for predictor in predictors.values():
        for image in images:
            predictor.prepare(image)


def _from(base: int, step: Callable[[int], None], done: int) -> None:
    step(base + done)


@dataclass(frozen=True)
class _Timed:
    """One variant on one image."""

    elapsed_ms: float
    stages: Mapping[str, float]
    proposals: int | None
    detections: int


@dataclass(frozen=True)
class _Work:
    """Multiply-accumulates of one variant by stage, in 1e9, mean of an image, and their precision."""

    gmacs: Mapping[str, float]
    precision: Mapping[str, str]


def _time(
    predictors: Mapping[str, Predictor], images: Sequence[Image], seed: int, step: Callable[[int], None]
) -> dict[str, list[_Timed]]:
    found: dict[str, list[_Timed]] = {name: [] for name in predictors}
    with contextlib.ExitStack() as watched:
        clocks = {name: watched.enter_context(watching_stages(one.module)) for name, one in predictors.items()}
        for predictor in predictors.values():
            predictor.predict(images[0])
        for index, image in enumerate(images):
            with no_collection():
                for name in variant_order(list(predictors), seed, index):
                    found[name].append(_once(predictors[name], clocks[name] or StageClock(), image))
            step(index + 1)
    return found


def _once(predictor: Predictor, clock: StageClock, image: Image) -> _Timed:
    clock.start()
    detections = predictor.predict(image)
    elapsed_ms, stages = clock.stop()
    return _Timed(elapsed_ms, stages, clock.proposals, len(detections))


def _count_work(predictor: Predictor, images: Sequence[Image]) -> _Work:
    from detq.quantization.work import count_work
    from detq.tensors import as_tensor

    totals: Counter[str] = Counter()
    int8: Counter[str] = Counter()
    for image in images:
        for layer in count_work(predictor.module, as_tensor(image)):
            totals[stage_of(layer.path)] += layer.macs
            int8[stage_of(layer.path)] += layer.macs if layer.int8 else 0
    plan = getattr(predictor.module, "plan", None)
    floating = {stage: "fp32" if plan is None else plan.rule(stage).precision for stage in totals}
    precision = {stage: "int8" if 2 * int8[stage] > totals[stage] else floating[stage] for stage in totals}
    return _Work({stage: count / len(images) / 1e9 for stage, count in totals.items()}, precision)


def _cost(
    key: tuple[str, int],
    timed: Sequence[_Timed],
    reference: Sequence[_Timed],
    work: _Work,
    limits: Mapping[str, float],
) -> VariantCost:
    spent = _spent(timed)
    mean_ms = statistics.fmean(one.elapsed_ms for one in timed)
    gmacs = sum(work.gmacs.values())
    proposals = [one.proposals for one in timed if one.proposals is not None]
    ratios = [slow.elapsed_ms / fast.elapsed_ms for slow, fast in zip(reference, timed, strict=True)]
    return VariantCost(
        *key,
        statistics.median(one.elapsed_ms for one in timed),
        statistics.median(ratios),
        gmacs,
        mean_ms / 1e3 / (gmacs / max(limits.values())) if gmacs else None,
        statistics.median(proposals) if proposals else None,
        statistics.median(one.detections for one in timed),
        # without anything to watch, all of an image is one stage
        {stage: _stage_cost(stage, spent[stage], timed, work, limits) for stage in STAGES if stage in spent}
        if len(spent) > 1
        else {},
    )


def _spent(timed: Sequence[_Timed]) -> dict[str, list[float]]:
    """Return the milliseconds of each stage, of every image."""
    spent: dict[str, list[float]] = defaultdict(list)
    for one in timed:
        for stage, elapsed_ms in one.stages.items():
            spent[stage].append(elapsed_ms)
    return spent


def _stage_cost(
    stage: str, spent_ms: Sequence[float], timed: Sequence[_Timed], work: _Work, limits: Mapping[str, float]
) -> StageCost:
    gmacs, precision = work.gmacs.get(stage, 0.0), work.precision.get(stage, "")
    reached = gmacs / sum(spent_ms) * len(timed) * 1e3 if gmacs else None
    limit = limits.get(precision)
    return StageCost(
        statistics.median(spent_ms),
        sum(spent_ms) / sum(one.elapsed_ms for one in timed),
        gmacs,
        reached,
        precision if gmacs else "",
        reached / limit if reached and limit else None,
    )
