"""Measuring the variants of a session, one model at a time, all its variants interleaved image by image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from detq.bench.control import make_control
from detq.bench.progress import Progress
from detq.bench.results import Recorded, VariantResult, summarize
from detq.bench.settings import IMAGES_TIMED, Settings
from detq.datasets.base import Dataset
from detq.datasets.busiest import busiest
from detq.errors import DataError
from detq.quantization.recipes import REFERENCE
from detq.types import GroundTruth, Sample, select_classes
from detq.variants import Variant, find_variant

if TYPE_CHECKING:
    from detq.predictor import Predictor

__all__ = ["Build", "Suite", "open_images"]

Build = Callable[..., "Predictor"]
"""`detq.predictor.build_predictor`, or a function of a user's own that wraps it."""

SEED = 0
PICTURES = 3
PROPOSAL_IMAGES = 16


def open_images(settings: Settings) -> Dataset:
    """Return the data set of a session: the project's own, or synthetic frames that no model was trained on.

    Raises:
        DataError: it cannot be read, or has no images.
    """
    from detq.datasets import open_dataset
    from detq.datasets.synthetic import SEEDS, traffic_camera

    if settings.project.data is None:
        # However few of them a run measures, it is the same set: its name, identity and image for the proof.
        return traffic_camera(max(settings.images, IMAGES_TIMED), seed=SEEDS["benchmark"][0])
    dataset = open_dataset(settings.project.data, classes=settings.project.classes)
    if not len(dataset):
        raise DataError(f"[tool.detq] data: {settings.project.data} has no images")
    return dataset


class Suite:
    """The measurements of one session, made when they are first asked for."""

    def __init__(self, settings: Settings, build: Build, progress: Progress) -> None:
        self._settings, self._build, self._progress = settings, build, progress
        self._results: dict[str, VariantResult] = {}

    def result(self, variant_id: str, selected: Iterable[str]) -> VariantResult:
        """Return what was measured of a variant; the first call for a model measures it.

        Args:
            variant_id: which.
            selected: ids of all variants of the session, so that those of one model are measured together.
        """
        if variant_id not in self._results:
            variant = find_variant(variant_id)
            mine = [item for item in map(find_variant, selected) if item.model == variant.model]
            recipes = dict.fromkeys([REFERENCE, *(item.recipe for item in mine), variant.recipe])
            self._results |= self._measure(variant.model, list(recipes))
        return self._results[variant_id]

    @property
    def results(self) -> Mapping[str, VariantResult]:
        """Everything measured up to now, by variant id."""
        return self._results

    def _measure(self, model: str, recipes: list[str]) -> dict[str, VariantResult]:
        from detq.measure.threads import pinned_threads

        dataset = open_images(self._settings)
        images = min(self._settings.images, len(dataset))
        self._progress.begin(f"building {model}: {', '.join(recipes)}")
        with pinned_threads(self._settings.threads):
            predictors = self._predictors(model, recipes, dataset)
            dataset.masks = getattr(predictors[REFERENCE], "has_masks", False) and dataset.has_masks
            recorded = self._record(dataset, images, predictors)
        data = {"name": dataset.name, "identity": dataset.identity(), "images": images}
        return {
            info["variant"]: VariantResult(
                variant=Variant(model, recipe),
                times_s=tuple(value / 1e3 for value in recorded.times_ms[recipe]),
                detections=recorded.detections[recipe],
                truths=recorded.truths,
                samples=recorded.samples,
                classes=dataset.classes,
                quantizes=Variant(model, recipe).recipe_spec.quantizes,
                meaningful=info["accuracy"] is not None,
                info=info | {"data": data},
            )
            for recipe, info in summarize(recorded).items()
        }

    def _predictors(self, model: str, recipes: list[str], dataset: Dataset) -> dict[str, Predictor]:
        settings = self._settings
        image = dataset.load(busiest(dataset)).image
        weights = settings.weights or settings.project.weights
        # Weights that were named for this run find what is in its images, whether or not their file says so.
        classes = settings.project.classes or (dataset.classes if settings.weights else None)
        return {
            recipe: self._build(
                Variant(model, recipe),
                weights=weights,
                classes=classes,
                seed=SEED,
                prove_on=image,
                calibration=settings.calibration,
                say=self._progress.say,
            )
            for recipe in recipes
        }

    def _record(self, dataset: Dataset, images: int, predictors: Mapping[str, Predictor]) -> Recorded:
        from detq.measure.proposals import count_proposals
        from detq.measure.timing import interleave

        recorded = Recorded(
            dataset,
            predictors,
            times_ms={recipe: [] for recipe in predictors},
            detections={recipe: [] for recipe in predictors},
            truths=[],
            image_ids=[],
            control_ms=[],
            proposals=None,
            samples=[],
        )
        control = make_control() if self._settings.timing else None
        timing = self._settings.timing
        title = "measuring" if timing else "running"
        self._progress.begin(f"{title} {', '.join(predictors)} on {images} images, {self._settings.threads} threads")
        for done, (sample, measured) in enumerate(
            interleave(predictors, dataset, range(images), seed=SEED, warmup=2 if timing else 0), start=1
        ):
            _keep(recorded, sample, measured)
            if control is not None:
                recorded.control_ms.append(control())
            if timing:
                self._progress.update(done, images)
        proposals = self._settings.timing and count_proposals(
            predictors[REFERENCE],
            (dataset.load(index).image for index in range(min(images, PROPOSAL_IMAGES))),
        )
        return recorded if not proposals else _with_proposals(recorded, proposals)


def _keep(recorded: Recorded, sample: Sample, measured: Iterable[Any]) -> None:
    recorded.image_ids.append(sample.image_id)
    truth = GroundTruth.empty() if sample.target is None else sample.target.compact()
    recorded.truths.append(truth)
    if len(recorded.samples) < PICTURES:
        recorded.samples.append(replace(sample, target=truth))
    for item in measured:
        predictor = recorded.predictors[item.variant]
        found = select_classes(item.detections, predictor.classes, recorded.dataset.classes)
        recorded.times_ms[item.variant].append(item.elapsed_ms)
        recorded.detections[item.variant].append(found)


def _with_proposals(recorded: Recorded, proposals: list[int]) -> Recorded:
    return replace(recorded, proposals=proposals)
