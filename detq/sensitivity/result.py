"""What a study of sensitivity found, as data, as tables and as advice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from detq.report.table import Table
from detq.sensitivity.trials import Trial

__all__ = ["Sensitivity", "choose"]

FORMAT = "detq-sensitivity/1"


@dataclass(frozen=True)
class Sensitivity:
    """AP of each trial, and what identifies the study.

    Attributes:
        settings: model, weights, data, calibration; what `--resume` compares.
        stages: the dense stages, in order.
        parts: of the backbone, in order.
        found: AP and AP50 by trial id.
    """

    settings: Mapping[str, Any]
    stages: tuple[str, ...]
    parts: tuple[str, ...]
    found: Mapping[str, Mapping[str, float]]

    def loss(self, trial: Trial) -> float:
        """Return how much AP a trial lacks of fp32's; negative where it has more."""
        return self.found[Trial("none").id]["AP"] - self.found[trial.id]["AP"]

    def to_json(self) -> dict[str, Any]:
        """Return the content of `sensitivity.json`."""
        return {
            "format": FORMAT,
            "settings": dict(self.settings),
            "stages": list(self.stages),
            "parts": list(self.parts),
            "trials": {name: dict(values) for name, values in self.found.items()},
            "choice": choose(self),
        }

    def tables(self) -> tuple[Table, ...]:
        """Return a table of stages, and one of the backbone's parts."""
        ends = f"AP in fp32 {self.found['none']['AP']:.4f}, with every layer in int8 {self.found['all']['AP']:.4f}."
        columns = ("AP, only this in int8", "change", "AP, all but this in int8", "change")
        notes = (ends, f"{self.settings['images']} images: differences of a few thousandths are chance.")
        made = [Table("Sensitivity by stage", ("stage", *columns), tuple(map(self._stage_row, self.stages)), notes)]
        if self.parts:
            about = f"Other stages in fp32. The whole backbone in int8: {self.found['only:backbone']['AP']:.4f}."
            rows = tuple(self._row("backbone", part, part) for part in self.parts)
            made.append(Table("Sensitivity inside the backbone", ("part", *columns), rows, (about,)))
        return tuple(made)

    def _stage_row(self, stage: str) -> tuple[str, ...]:
        return self._row(stage, "", stage)

    def _row(self, stage: str, part: str, name: str) -> tuple[str, ...]:
        cells = [name]
        for kind in ("only", "but"):
            trial = Trial(kind, stage, part)
            cells += [f"{self.found[trial.id]['AP']:.4f}", f"{-self.loss(trial):+.4f}"]
        return tuple(cells)


BUDGET = 0.002
"""The loss of AP that a stage may cost by itself before mixed_int8 leaves it in floating point."""


def choose(study: Sensitivity) -> dict[str, Any]:
    """Return which stages `mixed_int8` runs in int8; the others run in bf16, or fp32 where the CPU has no bf16.

    A stage stays in int8 if it loses at most `BUDGET` of AP by itself. Of those, the costliest are taken back until all
    of them together lose at most twice that, as far as single losses tell.

    Returns:
        "int8" and "float", stages each, and "loss" by stage.
    """
    losses = {stage: study.loss(Trial("only", stage)) for stage in study.stages}
    kept = sorted((stage for stage in losses if losses[stage] <= BUDGET), key=lambda stage: losses[stage])
    while kept and sum(max(losses[stage], 0.0) for stage in kept) > 2 * BUDGET:
        kept.pop()
    return {
        "int8": [stage for stage in study.stages if stage in kept],
        "float": [stage for stage in study.stages if stage not in kept],
        "loss": {stage: round(loss, 4) for stage, loss in losses.items()},
    }
