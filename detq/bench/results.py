"""What a benchmark session knows of one variant, and the JSON that goes into pytest-benchmark's `extra_info`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from detq.baseline.entry import FORMAT, MATCHES
from detq.baseline.times import Times, per_image
from detq.datasets.base import Dataset
from detq.errors import DataError
from detq.gate.drift import drift, drift_words
from detq.types import Detections, GroundTruth, Sample

if TYPE_CHECKING:
    from detq.predictor import Predictor
    from detq.variants import Variant

__all__ = ["Recorded", "VariantResult", "image_digest", "summarize", "unsteady"]

DIGITS = 5

AP_FIGURES = ("AP", "AP50", "AP75")


@dataclass(frozen=True, eq=False)
class Recorded:
    """What was measured of one model: all its variants on the same images.

    Attributes:
        dataset: where the images are from.
        predictors: recipe -> what was measured.
        rounds_ms: recipe -> for each round that it took part in, milliseconds of each image in the data set's order;
            the last round may have ended early.
        detections: recipe -> what was found in each image, labels as indices into `dataset.classes`.
        truths: the annotations of each image.
        image_ids: the images' names.
        control_ms: the control's milliseconds beside each image of each round; empty where times do not count.
        proposals: of the first few images, or None for a detector without proposals.
        samples: the first few images, for pictures.
        looks: recipe -> how often its times were looked at before it was decided that they are enough.
        peak_bytes: recipe -> the most memory that running an image took, or None where that is not known.
    """

    dataset: Dataset
    predictors: Mapping[str, Predictor]
    rounds_ms: Mapping[str, list[list[float]]]
    detections: Mapping[str, list[Detections]]
    truths: list[GroundTruth]
    image_ids: list[str]
    control_ms: list[list[float]]
    proposals: list[int] | None
    samples: list[Sample]
    looks: dict[str, int] = field(default_factory=dict)
    peak_bytes: dict[str, int | None] = field(default_factory=dict)

    @cached_property
    def digests(self) -> tuple[str, ...]:
        """`image_digest` of each image, once all are there."""
        return tuple(image_digest(*pair) for pair in zip(self.image_ids, self.truths, strict=True))

    def times(self, recipe: str) -> Times:
        """Return a recipe's times as the gate reads them."""
        rounds = self.rounds_ms[recipe]
        control = per_image(self.control_ms[: len(rounds)], len(self.image_ids)) if self.control_ms else ()
        seconds = tuple(tuple(value / 1e3 for value in row) for row in rounds)
        return Times(self.digests, seconds, tuple(value / 1e3 for value in control))


@dataclass(frozen=True, eq=False)
class VariantResult:
    """One variant of a measured model, as a benchmark's test sees it.

    Attributes:
        variant: which.
        times_s: seconds of each image, the median of its rounds.
        detections: of each image, labels as indices into the data set's classes.
        truths: annotations of each image.
        samples: the first few images.
        classes: the data set's.
        quantizes: whether the recipe promises int8.
        meaningful: whether its accuracy means anything.
        info: what goes into pytest-benchmark's `extra_info`, ready for JSON.
    """

    variant: Variant
    times_s: tuple[float, ...]
    detections: Sequence[Detections]
    truths: Sequence[GroundTruth]
    samples: Sequence[Sample]
    classes: tuple[str, ...]
    quantizes: bool
    meaningful: bool
    info: dict[str, Any]

    def with_info(self, **more: Any) -> VariantResult:
        """Return the same with more in `info`."""
        return replace(self, info={**self.info, **more})


def image_digest(image_id: str, truth: GroundTruth) -> str:
    """Return eight hexadecimal digits of an image's name and annotations: the same image in two runs has the same."""
    digest = hashlib.sha256(image_id.encode())
    digest.update(np.round(truth.boxes, 1).astype("<f4").tobytes() + truth.labels.astype("<i8").tobytes())
    return digest.hexdigest()[:8]


def summarize(recorded: Recorded) -> dict[str, dict[str, Any]]:
    """Return each recipe's `extra_info`: accuracy and differences to fp32, bytes, proof, speed-up, per-image values."""
    from detq.metrics.evaluate import choose_report_class, evaluate

    classes = recorded.dataset.classes
    meaningful = all(getattr(item, "meaningful", True) for item in recorded.predictors.values())
    accuracy = evaluate(recorded.detections, recorded.truths, classes) if meaningful else {}
    chosen = choose_report_class(classes) if meaningful else None
    images = list(recorded.digests)
    changed = unsteady(recorded.control_ms)
    return {
        recipe: {
            **_identity(predictor),
            **_proof(predictor),
            "proposals": None if recorded.proposals is None else float(np.median(recorded.proposals)),
            "speedup": _speedup(recorded, recipe),
            "accuracy": _rounded(_figures(accuracy[recipe])) if meaningful else None,
            "difference_to_fp32": _rounded(accuracy[recipe]["difference"]) if meaningful else None,
            "peak_bytes": recorded.peak_bytes.get(recipe),
            "looks": recorded.looks.get(recipe, 1),
            "unsteady": changed,
            "per_image": {
                "images": images,
                "control_ms": [round(value * 1e3, 2) for value in recorded.times(recipe).control_s],
                "metrics": _per_image(recorded, recipe, chosen),
                **(_kept(recorded, recipe) if meaningful else {}),
                **(_matches(recorded, recipe, masks=accuracy[recipe]["masks"] is not None) if meaningful else {}),
                **_rounds(recorded.rounds_ms[recipe]),
            },
        }
        for recipe, predictor in recorded.predictors.items()
    }


def unsteady(control_ms: Iterable[Sequence[float]]) -> str:
    """Return what is to be said of a machine that changed its speed while the control ran, or nothing.

    Args:
        control_ms: milliseconds of the same work, by round, in the order in which they were measured.
    """
    return drift_words(*drift(np.log([*chain.from_iterable(control_ms)])))


def _identity(predictor: Predictor) -> dict[str, Any]:
    variant = predictor.variant
    return {
        "format": FORMAT,
        "variant": variant.id,
        "model": variant.model,
        "recipe": variant.recipe,
        "weights": predictor.weights.describe(),
    }


def _proof(predictor: Predictor) -> dict[str, Any]:
    from detq.measure.file_size import file_bytes

    proof = predictor.proof
    if proof is None:
        raise DataError(f"{predictor.variant.id} was built without `prove_on`; pass it on to `build_predictor`")
    return {
        "weight_bytes": predictor.weight_bytes,
        "artifact_bytes": file_bytes(predictor.module),
        "fp32_weight_bytes": predictor.fp32_weight_bytes,
        "int8_share": round(proof.share, DIGITS),
        "int8_by_stage": {stage: round(share, DIGITS) for stage, share in proof.by_stage.items()},
        "kernels": list(proof.kernels),
    }


def _speedup(recorded: Recorded, recipe: str) -> dict[str, float] | None:
    from dataclasses import asdict

    from detq.metrics.bootstrap import paired_speedup
    from detq.quantization.recipes import REFERENCE

    if recipe == REFERENCE:
        return None
    # The reference took part in every round of every recipe.
    mine = list(chain.from_iterable(recorded.rounds_ms[recipe]))
    reference = list(chain.from_iterable(recorded.rounds_ms[REFERENCE]))[: len(mine)]
    found: dict[str, float] = _rounded(asdict(paired_speedup(reference, mine)))
    return found


def _rounds(rounds_ms: Sequence[Sequence[float]]) -> dict[str, list[list[float]]]:
    """Return the times of each round where there was more than one: of one, pytest-benchmark's own list has them."""
    if len(rounds_ms) == 1:
        return {}
    return {"rounds_ms": [[round(value, 3) for value in row] for row in rounds_ms]}


def _figures(entry: Mapping[str, Any]) -> dict[str, float | None]:
    boxes = {name: entry["coco"][name] for name in AP_FIGURES}
    masks = {f"mask_{name}": entry["masks"][name] for name in AP_FIGURES} if entry["masks"] else {}
    return {**entry["report"], **boxes, **masks}


def _matches(recorded: Recorded, recipe: str, *, masks: bool) -> dict[str, str]:
    """Return which detections were right in each image, so that a later run's AP can be compared image by image."""
    from detq.metrics.curves import match_images
    from detq.metrics.packed import pack

    detections, classes = recorded.detections[recipe], len(recorded.dataset.classes)
    return {
        key: pack(match_images(detections, recorded.truths, classes, masks=bool(name)))
        for name, key in MATCHES.items()
        if masks or not name
    }


def _kept(recorded: Recorded, recipe: str) -> dict[str, list[int]]:
    """Return how many objects fp32 found in each image, and how many of them this recipe did too."""
    from detq.metrics.agreement import kept_by_image
    from detq.quantization.recipes import REFERENCE

    found, kept = kept_by_image(recorded.detections[REFERENCE], recorded.detections[recipe])
    return {"reference_found": found, "reference_kept": kept}


def _per_image(recorded: Recorded, recipe: str, report_class: str | None) -> dict[str, list[float]]:
    from detq.metrics.report2024 import METRICS, dataset_metrics

    if report_class is None:
        return {}
    label = recorded.dataset.classes.index(report_class)
    rows = dataset_metrics(recorded.detections[recipe], recorded.truths, label)
    return {name: np.round(rows[:, column], DIGITS).tolist() for column, name in enumerate(METRICS)}


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    return round(value, DIGITS) if isinstance(value, float) else value
