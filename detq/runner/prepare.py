"""Everything that is made before the first image is timed: variants, data, proof, and what identifies the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import detq
from detq.datasets import open_dataset
from detq.engine.calibration import Calibration, missing
from detq.errors import QuantizationError
from detq.files import file_sha256
from detq.measure.environment import environment, machine_class
from detq.metrics.evaluate import choose_report_class
from detq.models.weights import WeightsSource, parse_weights
from detq.models.zoo import find_model
from detq.predictor import Predictor, build_predictor
from detq.quantization.recipes import REFERENCE
from detq.runner.artifacts import ArtifactFile, check_artifacts
from detq.runner.config import RunConfig
from detq.runner.progress import Progress
from detq.runner.view import View
from detq.variants import Variant, split_by_calibration, variants_of

__all__ = ["Prepared", "open_arguments", "prepare", "settings_of"]

PROOF_IMAGES = 8


@dataclass(frozen=True)
class Prepared:
    """What a run measures, on what, and where.

    Attributes:
        predictors: by recipe, or name of the file, fp32 first, with their proofs.
        view: the images.
        environment: of the machine; see `detq.measure.environment`.
        machine_class: its id.
        calibration: the images that static int8 took its ranges from, or None where no variant needs them.
        artifacts: the files among the variants, by name.
    """

    predictors: Mapping[str, Predictor]
    view: View
    environment: dict[str, Any]
    machine_class: str
    calibration: Calibration | None = None
    artifacts: Mapping[str, ArtifactFile] = field(default_factory=dict)

    @property
    def reference(self) -> Predictor:
        """The fp32 predictor."""
        return self.predictors[REFERENCE]

    @property
    def meaningful(self) -> bool:
        """Whether detections say anything: not with random weights."""
        return self.reference.meaningful


def prepare(config: RunConfig, progress: Progress, artifacts: Mapping[str, ArtifactFile]) -> Prepared:
    """Build the variants, open and check the data, and prove what runs in int8.

    Args:
        config: with the name of its model.
        progress: is told what happens.
        artifacts: opened, by name.

    Raises:
        DetqError: a mistake in the arguments, the data or the weights.
    """
    variants = _choose_variants(config, progress)
    data = open_dataset(**open_arguments(config))
    calibration = _draw(config, variants, progress)
    # A mistake in the data shows before the other variants are built, which can take minutes.
    reference = _build(config, variants[:1], calibration, progress)[REFERENCE]
    check_artifacts(artifacts, reference)
    view = View(data, reference.classes, labelled=not config.unlabelled, limit=config.limit, masks=reference.has_masks)
    choose_report_class(view.classes, config.report_class)  # a wrong name shows now, and not after the last image
    progress.begin("checking data", len(view))
    view.check(lambda done, _total: progress.step(done))
    progress.end()
    predictors = {REFERENCE: reference, **_build(config, variants[1:], calibration, progress)}
    predictors |= {name: file.predictor for name, file in artifacts.items()}
    _expect(config, predictors, progress)
    for sentence in view.describe_ignored():
        progress.say(sentence)
    if reference.has_masks and not (view.masks or config.unlabelled):
        progress.say(f"Mask AP is n/a: not every object of {view.name} has an instance mask.")
    if not reference.meaningful:
        progress.say("The weights are RANDOM: this run is for timing only, accuracy is n/a.")
    _prove_all(predictors, view, progress)
    found = environment(config.threads)
    return Prepared(predictors, view, found, machine_class(found).id, calibration, artifacts)


def _choose_variants(config: RunConfig, progress: Progress) -> tuple[Variant, ...]:
    """Return the variants to measure, fp32 first and always among them.

    Raises:
        QuantizationError: a recipe was named that needs calibration images, and there are none.
    """
    variants = variants_of(config.model, () if config.artifacts and config.recipes is None else config.recipes)
    source = parse_weights(config.weights, find_model(config.model), config.seed)
    variants, without = split_by_calibration(variants, possible=config.calibration.suits(source.kind))
    if without:
        sentence = missing(variant.recipe for variant in without)
        if config.recipes is not None:
            raise QuantizationError(sentence)
        progress.say(f"Left out: {sentence}.")
    if config.recipes is not None and REFERENCE not in config.recipes:
        progress.say(f"{REFERENCE} is measured too: every ratio and difference refers to it.")
    return variants


def _draw(config: RunConfig, variants: tuple[Variant, ...], progress: Progress) -> Calibration | None:
    """Return the calibration images, opened before anything is built, or None where no variant needs them."""
    if not any(variant.recipe_spec.calibrates for variant in variants):
        return None
    calibration = config.calibration.draw()
    if config.calibration.data is None:
        progress.say(
            f"Static int8 is calibrated on {len(calibration.indices)} rendered frames; --calibration PATH takes "
            "images of yours."
        )
    return calibration


def open_arguments(config: RunConfig) -> dict[str, Any]:
    """Return the keyword arguments of `open_dataset`, also for another process."""
    return {
        "path": config.data,
        "format": config.format,
        "classes": config.data_classes,
        "class_map": config.class_map,
        "split": config.split,
        "allow_unlabelled": config.allow_unlabelled,
        "unlabelled": config.unlabelled,
    }


def _build(
    config: RunConfig, variants: tuple[Variant, ...], calibration: Calibration | None, progress: Progress
) -> Mapping[str, Predictor]:
    """Return the variants by recipe, ready to run."""
    progress.begin("building variants", len(variants))
    predictors = {}
    for done, variant in enumerate(variants, start=1):
        predictors[variant.recipe] = build_predictor(
            variant,
            weights=config.weights,
            classes=config.classes,
            seed=config.seed,
            calibration=calibration,
            say=progress.say,
        )
        progress.step(done)
    progress.end()
    return predictors


def _expect(config: RunConfig, predictors: Mapping[str, Predictor], progress: Progress) -> None:
    """Get compiled stages ready for the sizes that were named."""
    progress.begin("getting ready for image sizes", len(predictors))
    for done, predictor in enumerate(predictors.values(), start=1):
        for height, width in config.image_sizes:
            predictor.expect(height, width)
        progress.step(done)
    progress.end()


def _prove_all(predictors: Mapping[str, Predictor], view: View, progress: Progress) -> None:
    """Set each predictor's proof of what it runs in int8.

    An image without anything on it can leave a box head without work, so several are tried before that is an error.

    Raises:
        QuantizationError: a recipe that quantizes left everything in fp32.
    """
    progress.begin("proving int8", len(predictors))
    for done, predictor in enumerate(predictors.values(), start=1):
        images = list(_proof_images(view))
        for index in images:
            try:
                _prove(predictor, view, index)
                break
            except QuantizationError:
                if index == images[-1]:
                    raise
        progress.step(done)
    progress.end()


def _prove(predictor: Predictor, view: View, index: int) -> None:
    from detq.quantization.proof import prove

    predictor.proof = prove(
        predictor.module,
        view.load(index).image,
        quantizes=predictor.variant.recipe_spec.quantizes,
        reference_weight_bytes=predictor.fp32_weight_bytes,
    )


def _proof_images(view: View) -> Iterator[int]:
    """Yield a few images, those with most objects first; without labels the first ones."""
    few = range(min(len(view), PROOF_IMAGES))
    yield from sorted(few, key=lambda index: -len(view.target(index) or ()))


def settings_of(config: RunConfig, prepared: Prepared) -> dict[str, Any]:
    """Return all that the files of a run depend on: what `--resume` compares. No path or host is in it."""
    source, view = prepared.reference.weights, prepared.view
    return {
        "detq": detq.__version__,
        "model": config.model,
        "variants": list(prepared.predictors),
        "weights": source.describe(),
        "weights_sha256": _weights_hash(source),
        "data_identity": view.identity(),
        "images": len(view),
        "classes": list(view.classes),
        "map": config.class_map,
        "format": config.format,
        "allow_unlabelled": config.allow_unlabelled,
        "unlabelled": config.unlabelled,
        "seed": config.seed,
        "calibration": None if prepared.calibration is None else prepared.calibration.describe(),
        "threads": config.threads,
        "machine_class": prepared.machine_class,
        # Not there where not given, so that runs of earlier versions go on.
        "artifacts": {name: file.sha256 for name, file in prepared.artifacts.items()} or None,
        "image_sizes": [list(size) for size in config.image_sizes] or None,
        "allocator": "system" if config.system_allocator else None,
    }


def _weights_hash(source: WeightsSource) -> str | None:
    return "+".join(file_sha256(path) for path in source.paths) or None
