"""What a training is asked to do, checked before anything is loaded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from detq.errors import DetqError, unknown_name

__all__ = ["FREEZES", "PRECISIONS", "SourceSpec", "TrainConfig", "parse_source"]

PRECISIONS = ("auto", "fp32", "bf16")
FREEZES = ("backbone", "all-but-heads", "all-but-mask")


@dataclass(frozen=True)
class SourceSpec:
    """One `--data` or `--val`.

    Attributes:
        location: what `open_dataset` opens.
        repeat: how often the set occurs in an epoch, at least 1.
    """

    location: str
    repeat: int = 1


def parse_source(text: str) -> SourceSpec:
    """Split `DIR?map=car=1,2&repeat=2` into what `open_dataset` understands and the number of repetitions.

    Raises:
        DetqError: `repeat` is no whole number from 1.
    """
    location, mark, query = text.partition("?")
    kept, repeat = [], 1
    for part in query.split("&") if mark else ():
        name, _, value = part.partition("=")
        if name != "repeat":
            kept.append(part)
        elif not value.isdecimal() or int(value) < 1:
            raise DetqError(f"--data {text}: expected repeat=N with a whole number from 1, got {value!r}")
        else:
            repeat = int(value)
    return SourceSpec("?".join([location, "&".join(kept)]) if kept else location, repeat)


@dataclass(frozen=True)
class TrainConfig:
    """The arguments of `detq train`.

    Attributes:
        model: a zoo name, or `package.module:callable`.
        data: sources to train on, see `parse_source`.
        val: sources to validate on; empty for none.
        out: the folder for results.
        weights: where to start, see `detq.models.weights.parse_weights`.
        classes: names of the weights' labels where their file brings none.
        new_predictor: start with a new predictor where the weights' classes are not those of the data.
        epochs: how often to show each image; None if `steps` is given.
        steps: optimizer steps in all; None if `epochs` is given.
        batch_size: images a step.
        learning_rate: the highest, after the warm-up.
        warmup_steps: steps of linear growth.
        weight_decay: AdamW's, on all but norms and biases.
        clip_norm: the largest norm of all gradients together.
        min_sizes: short sides in pixels to resize batches to, one drawn a batch; None for 0.6, 0.8 and 1 times the
            model's own.
        rois_per_image: proposals of an image that a two-stage detector's second stage learns from; None for the model's
            own, 512 in torchvision's. Half as many make a step a fifth faster.
        freeze: which part stays as it is: "backbone" (with its FPN), "all-but-heads", "all-but-mask"; None for nothing.
        augment: flip, jitter, crop and blur the training images.
        val_limit: validate on so many images of each source; None for all.
        seed: decides the order, the augmentations, the model's sampling and new parameters.
        threads: of torch's operators, at least 1.
        workers: processes that load images; 0 loads them between steps.
        checkpoint_minutes: between checkpoints.
        resume: go on with the training in `out`.
        precision: "auto" takes bf16 where the processor multiplies it natively.
        licence_notes: sentences for the model card.
    """

    model: str
    data: tuple[SourceSpec, ...]
    out: Path
    val: tuple[SourceSpec, ...] = ()
    weights: str | None = None
    classes: tuple[str, ...] | None = None
    new_predictor: bool = False
    epochs: float | None = None
    steps: int | None = None
    batch_size: int = 4
    learning_rate: float = 2e-4
    warmup_steps: int = 100
    weight_decay: float = 1e-4
    clip_norm: float = 10.0
    min_sizes: tuple[int, ...] | None = None
    rois_per_image: int | None = None
    freeze: str | None = None
    augment: bool = True
    val_limit: int | None = None
    seed: int = 0
    threads: int = 1
    workers: int = 0
    checkpoint_minutes: float = 5.0
    resume: bool = False
    precision: str = "auto"
    licence_notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.data:
            raise DetqError("--data: expected at least one data set to train on, got none")
        if (self.epochs is None) == (self.steps is None):
            both = "both" if self.steps is not None else "neither"
            raise DetqError(f"--epochs, --steps: expected one of the two, got {both}")
        if self.precision not in PRECISIONS:
            raise unknown_name("--precision", self.precision, PRECISIONS)
        if self.freeze is not None and self.freeze not in FREEZES:
            raise unknown_name("--freeze", self.freeze, FREEZES)
        if self.min_sizes is not None and (not self.min_sizes or min(self.min_sizes) < 32):
            raise DetqError(f"--min-sizes: expected short sides of 32 pixels or more, got {self.min_sizes}")
        self._check_counts()
        self._check_rates()

    def _check_counts(self) -> None:
        least = {
            "--steps": (self.steps, 1),
            "--batch-size": (self.batch_size, 1),
            "--warmup-steps": (self.warmup_steps, 0),
            "--rois-per-image": (self.rois_per_image, 1),
            "--val-limit": (self.val_limit, 1),
            "--seed": (self.seed, 0),
            "--threads": (self.threads, 1),
            "--workers": (self.workers, 0),
        }
        for option, (value, lowest) in least.items():
            if value is not None and value < lowest:
                raise DetqError(f"{option}: expected a whole number from {lowest}, got {value}")

    def _check_rates(self) -> None:
        positive = {
            "--epochs": self.epochs,
            "--learning-rate": self.learning_rate,
            "--clip-norm": self.clip_norm,
            "--checkpoint-minutes": self.checkpoint_minutes,
        }
        for option, value in positive.items():
            if value is not None and not (math.isfinite(value) and value > 0):
                raise DetqError(f"{option}: expected a number above 0, got {value}")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise DetqError(f"--weight-decay: expected a number from 0, got {self.weight_decay}")
