"""One step of a training: a batch in, losses out, parameters a little better."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from detq.errors import DetqError
from detq.masks import full_size
from detq.tensors import as_tensor
from detq.training.augment import batch_short_side
from detq.training.config import TrainConfig
from detq.training.precision import Compute
from detq.training.schedule import learning_rate
from detq.types import Sample

__all__ = ["Learner", "as_target", "default_short_sides"]

_STEP = 3  # a stream of random numbers of its own, beside those of `augment` and `data`


@dataclass(frozen=True)
class Learner:
    """A detector with its optimizer.

    Attributes:
        module: torchvision's detector in train mode.
        optimizer: of its parameters.
        config: what was asked for.
        compute: where and in which precision.
        short_sides: to draw from, in pixels; empty for a model that resizes to a fixed size.
        steps: in all.
    """

    module: nn.Module
    optimizer: Optimizer
    config: TrainConfig
    compute: Compute
    short_sides: tuple[int, ...]
    steps: int

    def prepare(self, step: int) -> tuple[float, int]:
        """Set what depends on the step alone: random state, learning rate, image size.

        Returns:
            The learning rate, and the short side in pixels (0 for a model that resizes to a fixed size).
        """
        seed = self.config.seed
        # torchvision's sampling of anchors and proposals draws from the global generator. Seeding it for each step
        # makes a step depend on its number alone, not on how the process came to it.
        torch.manual_seed(int(np.random.SeedSequence([_STEP, seed, step]).generate_state(1)[0]))
        rate = learning_rate(step, base=self.config.learning_rate, warmup=self.config.warmup_steps, total=self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        if not self.short_sides:
            return rate, 0
        transform: Any = self.module.get_submodule("transform")
        transform.min_size = (batch_short_side(seed, step, self.short_sides),)
        return rate, transform.min_size[0]

    def learn(self, samples: Sequence[Sample], step: int) -> dict[str, float]:
        """Take a step on `samples` and return the losses before it.

        Raises:
            DetqError: a loss or the gradient is not finite; parameters are as before.
        """
        device = self.compute.device
        pixels = [as_tensor(sample.image).to(device) for sample in samples]
        targets = [as_target(sample, device) for sample in samples]
        with self.compute.autocast():
            losses: Mapping[str, Tensor] = self.module(pixels, targets)
            total = torch.stack([loss.float() for loss in losses.values()]).sum()
        values = {name: loss.item() for name, loss in losses.items()}
        _check_finite(values, samples, step)
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.module.parameters(), self.config.clip_norm)
        _check_finite({"the gradient's norm": norm.item()}, samples, step)
        self.optimizer.step()
        return values


def as_target(sample: Sample, device: str) -> dict[str, Tensor]:
    """Return the objects of `sample` as torchvision's detectors take them in training: label k + 1 for class k."""
    truth = sample.target
    if truth is None:
        raise ValueError(f"{sample.image_id} has no target")
    target = {
        "boxes": torch.from_numpy(truth.boxes.copy()).to(device),
        "labels": torch.from_numpy(truth.labels + 1).to(device),
    }
    if truth.masks is not None:
        target["masks"] = torch.from_numpy(full_size(truth.masks).astype(np.uint8)).to(device)
    return target


def default_short_sides(module: nn.Module) -> tuple[int, ...]:
    """Return 0.6, 0.8 and 1 times the short side that `module` resizes images to; nothing if it is fixed or unknown."""
    transform: Any = getattr(module, "transform", None)
    if getattr(transform, "min_size", None) is None or getattr(transform, "fixed_size", None) is not None:
        return ()
    return tuple(round(share * transform.min_size[-1]) for share in (0.6, 0.8, 1.0))


def _check_finite(values: Mapping[str, float], samples: Sequence[Sample], step: int) -> None:
    wrong = {name: value for name, value in values.items() if not math.isfinite(value)}
    if wrong:
        found = ", ".join(f"{name} = {value}" for name, value in wrong.items())
        raise DetqError(
            f"training stopped at step {step + 1}: expected finite numbers, found {found} with the images "
            f"{', '.join(sample.image_id for sample in samples)}; look at their labels, or start again with a lower "
            "--learning-rate or --precision fp32"
        )
