"""Measuring the variants of a session, one model at a time, all its variants interleaved image by image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from detq.bench.control import make_control
from detq.bench.progress import Progress
from detq.bench.results import Recorded, VariantResult, summarize
from detq.bench.rounds import Budget, Undecided, take_rounds
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
PEAK_IMAGES = 4


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

    def __init__(
        self, settings: Settings, build: Build, progress: Progress, undecided: Undecided | None, models: int
    ) -> None:
        """Prepare to measure.

        Args:
            settings: of the session.
            build: builds predictors.
            progress: is told what happens.
            undecided: tells whether more rounds may decide a variant; None for one round of each.
            models: how many models the session is going to measure.
        """
        self._settings, self._build, self._progress = settings, build, progress
        self._undecided = undecided
        self._budget = Budget(settings.budget_s, models)
        self._results: dict[str, VariantResult] = {}
        self._failures: dict[str, Exception] = {}

    def result(self, variant_id: str, selected: Iterable[str]) -> VariantResult:
        """Return what was measured of a variant; the first call for a model measures it.

        Args:
            variant_id: which.
            selected: ids of all variants of the session, so that those of one model are measured together.

        Raises:
            DetqError: the variant, or its model's fp32, cannot be built. The others of its model are measured all the
                same.
        """
        if variant_id not in self._results and variant_id not in self._failures:
            variant = find_variant(variant_id)
            mine = [item for item in map(find_variant, selected) if item.model == variant.model]
            recipes = dict.fromkeys([REFERENCE, *(item.recipe for item in mine), variant.recipe])
            try:
                self._results |= self._measure(variant.model, list(recipes))
            except Exception as error:  # noqa: BLE001  # raised below, for each of the tests
                # What took minutes and failed is not tried again for each of the model's tests.
                self._failures |= {Variant(variant.model, recipe).id: error for recipe in recipes}
        if variant_id in self._failures:
            raise self._failures[variant_id]
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
        with pinned_threads(self._settings.threads, keep_memory=True):
            predictors = self._predictors(model, recipes, dataset)
            dataset.masks = getattr(predictors[REFERENCE], "has_masks", False) and dataset.has_masks
            recorded = self._record(dataset, images, predictors)
        data = {"name": dataset.name, "identity": dataset.identity(), "images": images}
        return {
            info["variant"]: VariantResult(
                variant=Variant(model, recipe),
                times_s=recorded.times(recipe).medians(images),
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
        found = {}
        for recipe in recipes:
            variant = Variant(model, recipe)
            try:
                found[recipe] = self._build(
                    variant,
                    weights=weights,
                    classes=classes,
                    seed=SEED,
                    prove_on=image,
                    calibration=settings.calibration,
                    say=self._progress.say,
                )
            except Exception as error:
                if recipe == REFERENCE:
                    raise
                # Its own tests raise it; what else the model has can be measured.
                self._failures[variant.id] = error
        return found

    def _record(self, dataset: Dataset, images: int, predictors: Mapping[str, Predictor]) -> Recorded:
        from detq.measure.peak import inference_peak
        from detq.measure.proposals import count_proposals

        timing, threads = self._settings.timing, self._settings.threads
        title = "measuring" if timing else "running"
        self._progress.begin(f"{title} {', '.join(predictors)} on {images} images, {threads} threads")
        self._budget.begin()
        recorded = self._first_round(dataset, images, predictors)
        if timing:
            self._more_rounds(recorded, images)
        self._budget.end()
        if not timing:
            return recorded
        for recipe, predictor in predictors.items():
            first = (dataset.load(index).image for index in range(min(images, PEAK_IMAGES)))
            recorded.peak_bytes[recipe] = inference_peak(predictor, first)
        proposals = count_proposals(
            predictors[REFERENCE],
            (dataset.load(index).image for index in range(min(images, PROPOSAL_IMAGES))),
        )
        return replace(recorded, proposals=proposals) if proposals else recorded

    def _first_round(self, dataset: Dataset, images: int, predictors: Mapping[str, Predictor]) -> Recorded:
        from detq.measure.timing import interleave

        timing = self._settings.timing
        recorded = Recorded(
            dataset,
            predictors,
            rounds_ms={recipe: [[]] for recipe in predictors},
            detections={recipe: [] for recipe in predictors},
            truths=[],
            image_ids=[],
            control_ms=[[]] if timing else [],
            proposals=None,
            samples=[],
        )
        measured = interleave(predictors, dataset, range(images), seed=SEED, warmup=2 if timing else 0)
        for done, (sample, answers) in enumerate(measured, start=1):
            _keep(recorded, sample, answers)
            _keep_times(recorded, answers)
            if timing:
                recorded.control_ms[-1].append(self._control())
                self._progress.update(done, images)
        return recorded

    def _more_rounds(self, recorded: Recorded, images: int) -> None:
        """Measure again what is undecided; what was found in the images is known from the first round."""
        from detq.measure.timing import interleave

        if self._undecided is None:
            return

        def measure(recipes: Sequence[str], number: int, over: Callable[[], bool]) -> None:
            chosen = {recipe: recorded.predictors[recipe] for recipe in recipes}
            for rows in (*(recorded.rounds_ms[recipe] for recipe in recipes), recorded.control_ms):
                rows.append([])
            for _, answers in interleave(chosen, recorded.dataset, range(images), seed=SEED + number, warmup=0):
                _keep_times(recorded, answers)
                recorded.control_ms[-1].append(self._control())
                if over():
                    break

        take_rounds(recorded, self._undecided, measure, self._budget, self._progress.say)

    @cached_property
    def _control(self) -> Callable[[], float]:
        return make_control()


def _keep(recorded: Recorded, sample: Sample, measured: Iterable[Any]) -> None:
    recorded.image_ids.append(sample.image_id)
    truth = GroundTruth.empty() if sample.target is None else sample.target.compact()
    recorded.truths.append(truth)
    if len(recorded.samples) < PICTURES:
        recorded.samples.append(replace(sample, target=truth))
    for item in measured:
        predictor = recorded.predictors[item.variant]
        found = select_classes(item.detections, predictor.classes, recorded.dataset.classes)
        recorded.detections[item.variant].append(found)


def _keep_times(recorded: Recorded, measured: Iterable[Any]) -> None:
    for item in measured:
        recorded.rounds_ms[item.variant][-1].append(item.elapsed_ms)
