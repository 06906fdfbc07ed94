"""`train(config)`: from arguments to a model with its card."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from detq.datasets import open_dataset
from detq.datasets.base import Dataset
from detq.errors import DataError, DetqError, WeightsError
from detq.files import file_sha256, read_json, write_json
from detq.measure.threads import pinned_threads
from detq.models.state import save_state
from detq.models.weights import load_model, parse_weights
from detq.models.zoo import ModelSpec, find_model
from detq.training.card import (
    FORMAT,
    describe_software,
    describe_sources,
    describe_start,
    describe_training,
    public_name,
)
from detq.training.checkpoint import Progressed
from detq.training.config import SourceSpec, TrainConfig
from detq.training.data import Source, TrainingImages, images_per_epoch
from detq.training.folder import Folder
from detq.training.freeze import freeze
from detq.training.learner import default_short_sides
from detq.training.loop import Loop
from detq.training.losses import final_losses
from detq.training.precision import choose_compute
from detq.training.progress import TrainProgress
from detq.training.schedule import total_steps
from detq.training.start import FRESH_MASKS, Start, load_start, load_untuned
from detq.training.validate import TRAINED, UNTUNED, Judged, validate

__all__ = ["check_half", "train"]


def train(config: TrainConfig, progress: TrainProgress | None = None) -> dict[str, Any]:
    """Train a detector and return its model card, which also lies in `config.out` with the weights.

    On a CPU the result depends on the arguments, the data and the start alone: not on worker processes, and not on
    whether the training was killed and resumed.

    Raises:
        DetqError: arguments, data, weights or the output folder cannot be used, or a loss is not finite.
        KeyboardInterrupt: it was interrupted; a checkpoint was written before.
    """
    progress = progress or TrainProgress()
    folder = Folder(config.out)
    folder.out.check(resume=config.resume)
    spec = find_model(config.model)
    sources, validation = _open(config.data, "--data"), _open(config.val, "--val")
    classes = _common_classes([*sources, *validation])
    if spec.has_masks:
        _check_masks(sources, spec)
    compute = choose_compute(config.precision)
    with pinned_threads(config.threads, keep_memory=True):
        start = load_start(config, spec, classes)
        _limit_rois(start.module, config)
        freeze(start.module, config)
        loop = Loop(
            config=config,
            steps=total_steps(
                images=images_per_epoch(sources),
                batch_size=config.batch_size,
                epochs=config.epochs,
                steps=config.steps,
            ),
            short_sides=_short_sides(config, start.module, progress),
            compute=compute,
            folder=folder,
            progress=progress,
        )
        recipe = _recipe(loop, spec, start, sources, validation)
        if not (config.resume and folder.out.settings.is_file()):
            _check_labels([*sources, *validation], progress)
        folder.out.claim(_settings(recipe, config))
        with folder.out.locked():
            if _finished(folder):
                progress.say(f"{folder.path}: this training is finished; nothing to do")
                return dict(read_json(folder.card, DetqError, "model card"))
            _announce(progress, loop, start, images_per_epoch(sources))
            images = TrainingImages(
                sources, start.classes, seed=config.seed, augmented=config.augment, masks=spec.has_masks
            )
            with _going_on(folder):
                done = loop.run(start.module, images)
                return _finish(loop, start, validation, recipe, done)


@contextlib.contextmanager
def _going_on(folder: Folder) -> Iterator[None]:
    """Say with a mistake in an image, which only decoding finds, that the steps before it are not lost."""
    try:
        yield
    except DataError as error:
        raise DataError(
            f"{error}; then go on with the same command and --resume, {folder.path} holds the steps before it"
        ) from None


def _open(specs: Sequence[SourceSpec], option: str) -> list[Source]:
    sources = [Source(open_dataset(spec.location), spec.repeat) for spec in specs]
    for source in sources:
        if not len(source.data):
            raise DataError(f"{option} {source.data.name}: expected images, found none")
    return sources


def _common_classes(sources: Sequence[Source]) -> tuple[str, ...]:
    first = sources[0].data
    for source in sources[1:]:
        if set(source.data.classes) != set(first.classes):
            raise DataError(
                f"--data {source.data.name}: expected the classes of {first.name} ({', '.join(first.classes)}), found "
                f"{', '.join(source.data.classes)}; merge or rename them with a map: DIR?map={first.classes[0]}=A,B"
            )
    return first.classes


def _check_masks(sources: Sequence[Source], spec: ModelSpec) -> None:
    for source in sources:
        if not source.data.has_masks:
            raise DataError(
                f"--data {source.data.name}: expected an instance mask for every object, as {spec.name} learns from "
                "them, found objects without; use a data set with masks, or a --model without"
            )


def _short_sides(config: TrainConfig, module: nn.Module, progress: TrainProgress) -> tuple[int, ...]:
    sides = default_short_sides(module)
    if config.min_sizes and not sides:
        progress.say(f"--min-sizes does nothing: {config.model} resizes every image to one size of its own")
    return config.min_sizes or sides if sides else ()


def _limit_rois(module: nn.Module, config: TrainConfig) -> None:
    sampler: Any = getattr(getattr(module, "roi_heads", None), "fg_bg_sampler", None)
    if config.rois_per_image is None:
        return
    if sampler is None:
        raise DetqError(f"--rois-per-image: {config.model} has no second stage to sample for; leave it out")
    sampler.batch_size_per_image = config.rois_per_image


def _recipe(
    loop: Loop, spec: ModelSpec, start: Start, sources: Sequence[Source], validation: Sequence[Source]
) -> dict[str, Any]:
    """Return the part of the model card that is known beforehand."""
    config = loop.config
    return {
        "format": FORMAT,
        "model": spec.name,
        "classes": list(start.classes),
        "data": describe_sources(sources),
        "validation_data": describe_sources(validation),
        "licences": list(config.licence_notes),
        "start": describe_start(start),
        "training": describe_training(
            config, steps=loop.steps, images=images_per_epoch(sources), short_sides=loop.short_sides
        ),
        "software": describe_software(loop.compute, config.threads),
    }


def _settings(recipe: Mapping[str, Any], config: TrainConfig) -> dict[str, Any]:
    """Return what must be the same for a training to go on, flat, under names that a message can use."""
    software = recipe["software"]
    return {
        "model": recipe["model"],
        "classes": recipe["classes"],
        "data": recipe["data"],
        "validation data": recipe["validation_data"],
        "validation limit": config.val_limit,
        "licence notes": recipe["licences"],
        "start": recipe["start"]["source"],
        "start's sha256": recipe["start"]["sha256"],
        **{name.replace("_", " "): value for name, value in recipe["training"].items()},
        **{name: software[name] for name in ("device", "precision", "threads", "torch", "torchvision")},
    }


def _check_labels(sources: Sequence[Source], progress: TrainProgress) -> None:
    for source in sources:
        data: Dataset = source.data
        if data.name.startswith("synthetic:"):
            continue  # correct by construction, and as slow as rendering

        def count(done: int, total: int, name: str = data.name) -> None:
            progress.count(f"checking the labels of {name}", done, total)

        data.check(count)
        progress.end_stage()


def _announce(progress: TrainProgress, loop: Loop, start: Start, images: int) -> None:
    config, compute = loop.config, loop.compute
    progress.say(
        f"training {config.model} ({', '.join(start.classes)}) from {start.source.describe()} on {images} images: "
        f"{loop.steps} steps of {config.batch_size}, {compute.precision} on the {compute.device} ({compute.why}), "
        f"{config.threads} threads"
    )
    if start.fresh:
        progress.say(f"{start.fresh} starts with random parameters: the weights have nothing that fits")


def _finished(folder: Folder) -> bool:
    return folder.card.is_file() and folder.weights.is_file()


def _finish(
    loop: Loop, start: Start, validation: Sequence[Source], recipe: Mapping[str, Any], done: Progressed
) -> dict[str, Any]:
    """Store the weights, validate what was stored, and write the card, whose presence says that all is done."""
    folder, spec = loop.folder, find_model(loop.config.model)
    check_half(start.module.state_dict())
    save_state(folder.weights, start.module, start.classes, spec.name, half=True)
    accuracy = _validate(loop, start, validation) if validation else {}
    card = {
        **recipe,
        "weights": {"file": folder.weights.name, "dtype": "float16", "sha256": file_sha256(folder.weights)},
        "duration_s": round(done.seconds, 1),
        "final_losses": final_losses(folder.losses),
        "validation": {name: found[TRAINED] for name, found in accuracy.items()},
        "validation_untuned": {name: found[UNTUNED] for name, found in accuracy.items() if UNTUNED in found},
    }
    write_json(folder.card, card)
    return card


def _validate(loop: Loop, start: Start, validation: Sequence[Source]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the accuracy on each set of the trained detector, and of the one that it was trained from."""
    config, spec = loop.config, find_model(loop.config.model)
    # From the file: the figures are those of the fp16 weights that the user gets.
    stored = load_model(spec, parse_weights(str(loop.folder.weights), spec))
    models = {TRAINED: Judged(stored.module, stored.classes)}
    if (untuned := load_untuned(config, spec, start.classes)) is not None:
        before = Judged(untuned.module.eval(), untuned.classes, masks=untuned.fresh != FRESH_MASKS)
        models = {UNTUNED: before, **models}
    return {
        public_name(source.data.name): validate(models, source.data, limit=config.val_limit, progress=loop.progress)
        for source in validation
    }


def check_half(state: Mapping[str, torch.Tensor]) -> None:
    """Make sure that fp16 holds the parameters: what overflows in it would be stored as infinity.

    Small numbers are no problem. A running variance of 1 - 1e-5 becomes 1, and one below 6e-8 becomes 0: both are far
    below what the norm's eps of 1e-5 leaves visible.

    Raises:
        WeightsError: a value is not finite in fp16.
    """
    for name, value in state.items():
        if value.is_floating_point() and not torch.isfinite(value.half()).all():
            largest = value.abs().max().item()
            raise WeightsError(
                f"the trained {name} cannot be stored in fp16: its largest value is {largest:.4g}, fp16 ends at 65504; "
                "train again with a lower --learning-rate or more --weight-decay"
            )
