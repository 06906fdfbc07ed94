"""How a training tells what it is doing, without knowing about terminals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["StepReport", "TrainProgress"]


@dataclass(frozen=True)
class StepReport:
    """What a step did.

    Attributes:
        step: steps done, this one included.
        total: steps in all.
        losses: running mean of each loss.
        learning_rate: of this step.
        images_per_s: running mean, loading included.
        eta_s: seconds to the last step at this pace.
    """

    step: int
    total: int
    losses: Mapping[str, float]
    learning_rate: float
    images_per_s: float
    eta_s: float


class TrainProgress:
    """Receives what a training does; this one keeps it to itself, the command line's subclass shows it."""

    def say(self, text: str) -> None:
        """Say one sentence that the user should know."""

    def step(self, report: StepReport) -> None:
        """Take note of a step of training."""

    def count(self, what: str, done: int, total: int) -> None:
        """Take note of `done` of `total` images in another stage: "checking labels", "validating"."""

    def end_stage(self) -> None:
        """Leave the stage that `step` or `count` spoke of."""
