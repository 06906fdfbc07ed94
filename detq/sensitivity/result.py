"""What a study of sensitivity found, as data and as tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from detq.report.table import Table
from detq.sensitivity.trials import Trial

__all__ = ["Sensitivity"]

FORMAT = "detq-sensitivity/2"


@dataclass(frozen=True)
class Sensitivity:
    """AP of each trial, and what identifies the study.

    Attributes:
        settings: model, weights, data, calibration; what `--resume` compares.
        stages: the dense stages, in order.
        parts: of the backbone, in order.
        found: "AP", "AP50" and "error" (see `Study.judge`) by trial id.
        times: median milliseconds of each stage when compiled, by precision; empty where they were not measured.
    """

    settings: Mapping[str, Any]
    stages: tuple[str, ...]
    parts: tuple[str, ...]
    found: Mapping[str, Mapping[str, float]]
    times: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def loss(self, trial: Trial) -> float:
        """Return how much AP a trial lacks of fp32's; negative where it has more."""
        return self.found[Trial("none").id]["AP"] - self.found[trial.id]["AP"]

    def to_json(self) -> dict[str, Any]:
        """Return it ready for JSON."""
        return {
            "format": FORMAT,
            "settings": dict(self.settings),
            "stages": list(self.stages),
            "parts": list(self.parts),
            "trials": {name: dict(values) for name, values in self.found.items()},
            "times": {stage: dict(values) for stage, values in self.times.items()},
        }

    def tables(self) -> tuple[Table, ...]:
        """Return a table of stages, and one of the backbone's parts."""
        ends = f"AP in fp32 {self.found['none']['AP']:.4f}, with every layer in int8 {self.found['all']['AP']:.4f}."
        columns = ("AP, only this in int8", "change", "AP, all but this in int8", "change")
        timed = ("bf16, ms", "int8, ms") if self.times else ()
        notes = (ends, f"{self.settings['images']} images: differences of a few thousandths are chance.")
        rows = tuple(map(self._stage_row, self.stages))
        made = [Table("Sensitivity by stage", ("stage", *columns, *timed), rows, notes)]
        if self.parts:
            about = (
                f"Other stages in fp32. The whole backbone in int8: {self.found['only:backbone']['AP']:.4f}.",
                "Error: what this part alone in int8 changes of the feature maps, root mean square.",
                *self._several(),
            )
            rows = tuple((*self._row("backbone", part, part), self._error(part)) for part in self.parts)
            made.append(Table("Sensitivity inside the backbone", ("part", *columns, "error"), rows, about))
        return tuple(made)

    def _several(self) -> list[str]:
        """Return a sentence for each trial of the backbone without several parts in int8."""
        trials = [Trial("but", "backbone", name.rpartition(":")[2]) for name in self.found if "+" in name]
        return [
            f"All but {trial.part.replace('+', ', ')} in int8: {self.found[trial.id]['AP']:.4f} "
            f"({-self.loss(trial):+.4f}), error {self.found[trial.id]['error']:.1%}."
            for trial in trials
        ]

    def _stage_row(self, stage: str) -> tuple[str, ...]:
        timed = tuple(f"{self.times[stage][precision]:.1f}" for precision in ("bf16", "int8")) if self.times else ()
        return (*self._row(stage, "", stage), *timed)

    def _error(self, part: str) -> str:
        return f"{self.found[Trial('only', 'backbone', part).id]['error']:.1%}"

    def _row(self, stage: str, part: str, name: str) -> tuple[str, ...]:
        cells = [name]
        for kind in ("only", "but"):
            trial = Trial(kind, stage, part)
            cells += [f"{self.found[trial.id]['AP']:.4f}", f"{-self.loss(trial):+.4f}"]
        return tuple(cells)
