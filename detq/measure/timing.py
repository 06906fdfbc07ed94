"""Per-image times of several variants, interleaved: each image goes through all of them, in random order.

A machine's speed drifts by a third between runs; within one image's few hundred milliseconds it hardly does. So the
variants are compared image by image, and every ratio is a paired one.
"""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from detq.measure.split import Marks, Split, watching
from detq.types import Detections, Sample

__all__ = ["Latency", "Measured", "interleave", "no_collection", "percentiles", "variant_order"]

_COLLECT_EVERY = 100

Predict = Callable[[NDArray[np.uint8]], Detections]


class _Images(Protocol):
    """What `interleave` needs of a `detq.datasets.base.Dataset`."""

    def load(self, index: int) -> Sample: ...


@dataclass(frozen=True, eq=False)
class Measured:
    """One variant on one image.

    Attributes:
        index: the image's place in the data set.
        image_id: its name.
        variant: the key of the variant in `interleave`'s `predictors`, by convention its recipe.
        elapsed_ms: from the decoded image to the detections.
        order: when it ran among the variants of this image, from 0.
        detections: what it found, masks as run lengths.
        split: the parts of `elapsed_ms`, or None for a detector that is not divided.
    """

    index: int
    image_id: str
    variant: str
    elapsed_ms: float
    order: int
    detections: Detections
    split: Split | None = None


def variant_order(names: Sequence[str], seed: int, index: int) -> list[str]:
    """Return `names` in the random order that belongs to image `index` of a run with `seed`, whatever ran before."""
    order = np.random.default_rng([seed, index]).permutation(len(names))
    return [names[place] for place in order]


def interleave(
    predictors: Mapping[str, Predict],
    dataset: _Images,
    indices: Iterable[int],
    *,
    seed: int,
    warmup: int = 2,
) -> Iterator[tuple[Sample, list[Measured]]]:
    """Yield, image by image, the image and what each variant made of it, in the order in which the variants ran.

    Decoding is outside the timed region, and Python's garbage collector is off inside it. Threads are the caller's to
    pin. A run that was interrupted goes on with the indices that are left: the order of variants does not depend on it.

    Args:
        predictors: name -> `Predictor`, or anything that takes an image and returns `Detections`.
        dataset: loads images by index.
        indices: the images to measure, in this order.
        seed: of the variants' order.
        warmup: untimed calls of each variant at the start, on the first images.
    """
    with contextlib.ExitStack() as watched:
        marks = {name: watched.enter_context(watching(predict)) for name, predict in predictors.items()}
        yield from _interleave(predictors, marks, dataset, indices, seed=seed, warmup=warmup)


def _interleave(
    predictors: Mapping[str, Predict],
    marks: Mapping[str, Marks],
    dataset: _Images,
    indices: Iterable[int],
    *,
    seed: int,
    warmup: int,
) -> Iterator[tuple[Sample, list[Measured]]]:
    names = list(predictors)
    todo = list(indices)
    for index in (todo * warmup)[:warmup]:
        image = dataset.load(index).image
        for predict in predictors.values():
            predict(image)
    for count, index in enumerate(todo):
        if count % _COLLECT_EVERY == 0:
            gc.collect()
        sample = dataset.load(index)
        measured = []
        for predict in predictors.values():
            _prepare(predict, sample.image)
        with no_collection():
            for order, name in enumerate(variant_order(names, seed, index)):
                start = time.perf_counter_ns()
                detections = predictors[name](sample.image)
                end = time.perf_counter_ns()
                split = marks[name].split(start, end)
                # Outside the timed region, and before the next variant answers: an image's masks can be a gigabyte.
                found = detections.compact()
                del detections  # or the next variant's time would include freeing it
                measured.append(Measured(index, sample.image_id, name, (end - start) / 1e6, order, found, split))
        yield sample, measured


def _prepare(predict: Predict, image: NDArray[np.uint8]) -> None:
    """Let a variant do now what the first image of a size costs once: compiling would be no part of its latency."""
    prepare = getattr(predict, "prepare", None)
    if callable(prepare):
        prepare(image)


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """Keep Python's garbage collector off while the block runs."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@dataclass(frozen=True)
class Latency:
    """A summary of per-image times.

    Attributes:
        images: how many.
        total_s: their sum.
        mean_ms: their mean.
        median_ms: half of the images took at most this.
        p90_ms: nine of ten took at most this.
        p99_ms: ninety-nine of a hundred took at most this.
    """

    images: int
    total_s: float
    mean_ms: float
    median_ms: float
    p90_ms: float
    p99_ms: float

    def to_json(self) -> dict[str, float]:
        """Return it ready for JSON."""
        return asdict(self)


def percentiles(elapsed_ms: ArrayLike) -> Latency:
    """Summarize per-image times in milliseconds; percentiles are interpolated linearly, as NumPy does.

    Raises:
        ValueError: there are none.
    """
    times = np.asarray(elapsed_ms, np.float64).ravel()
    if not times.size:
        raise ValueError("no times to summarize: nothing was measured")
    median, p90, p99 = (float(value) for value in np.percentile(times, [50, 90, 99]))
    return Latency(times.size, float(times.sum()) / 1000, float(times.mean()), median, p90, p99)
