"""What follows from a study for `mixed_int8`: which stages run in int8, and which blocks of the backbone do not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from detq.quantization.recipes import INT8
from detq.sensitivity.result import Sensitivity
from detq.sensitivity.trials import Trial

__all__ = ["BUDGET", "MOST_ERROR", "SAME_TIME", "Choice", "as_document", "choose", "further_trials"]

BUDGET = 0.002
"""The loss of AP that a stage may cost by itself before mixed_int8 leaves it in floating point."""

MOST_ERROR = 0.1
"""How far int8 may move the feature maps, as `Study.judge` measures it: AP of some hundred images hides small harm."""

SAME_TIME = 0.05
"""By which share int8 may take longer than bf16: its weights are half as large, and it needs no CPU with bf16."""


@dataclass(frozen=True)
class Choice:
    """What `mixed_int8` runs in int8; the rest runs in bf16, or fp32 where the CPU has no bf16.

    Attributes:
        int8: stages.
        bf16: the other stages.
        keep: of a backbone in int8, the blocks that stay in floating point.
        loss: of AP by stage, alone in int8; of the backbone without what is kept.
        slower: stages of `bf16` that would keep AP in int8, and take longer in it than in bf16 here. A CPU without bf16
            runs them in int8: fp32 takes longer than either.
    """

    int8: list[str]
    bf16: list[str]
    keep: list[str]
    loss: dict[str, float]
    slower: list[str]

    def to_json(self) -> dict[str, object]:
        """Return it ready for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        kept = f" (but {', '.join(self.keep)})" if self.keep else ""
        slower = f"; {', '.join(self.slower)} would be slower in int8" if self.slower else ""
        named = [stage + kept * (stage == "backbone") for stage in self.int8]
        return f"{', '.join(named) or 'nothing'} in int8, {', '.join(self.bf16) or 'nothing'} in bf16{slower}"


def further_trials(study: Sensitivity) -> Iterator[Trial]:
    """Yield the trials of a backbone without some blocks in int8 that `choose` asks for.

    First without those that `static_int8` keeps in floating point, then without the worst too, the two worst, and so on
    up to a third of all. The worst is what harms the feature maps most by itself. Ask for the next while `study`, which
    may grow in between, has none that stays within `BUDGET` and `MOST_ERROR`.
    """
    for keep in _candidates(study):
        trial = _without(study, keep)
        if keep:
            yield trial
        if _keeps_ap(study, trial):
            return


def _keeps_ap(study: Sensitivity, trial: Trial) -> bool:
    return study.loss(trial) <= BUDGET and study.found[trial.id]["error"] <= MOST_ERROR


def _candidates(study: Sensitivity) -> Iterator[list[str]]:
    """Yield blocks to keep: what is known to harm a MobileNet and costs next to nothing is never tried in int8."""
    usual = [part for part in study.parts if part in INT8.rule("backbone").keep]
    yield usual
    others = [part for part in study.parts if part not in usual]
    worst = sorted(others, key=lambda part: -study.found[Trial("only", "backbone", part).id]["error"])
    for count in range(1, len(study.parts) // 3 + 1 - len(usual)):
        yield usual + worst[:count]


def choose(study: Sensitivity) -> Choice:
    """Return what `mixed_int8` should run in int8, once `study` has the trials that `further_trials` asks for.

    A stage does if it loses at most `BUDGET` of AP by itself; the backbone, of which blocks may be left out for that
    (see `further_trials`), must not move its maps by more than `MOST_ERROR` either. Of those stages the costliest are
    taken back until all of them together lose at most twice `BUDGET`, as far as single losses tell, and so are those
    that were measured to be slower than in bf16 by `SAME_TIME`.
    """
    losses = {stage: study.loss(Trial("only", stage)) for stage in study.stages}
    good = {stage for stage, loss in losses.items() if loss <= BUDGET and stage != "backbone"}
    blocks = next((each for each in _candidates(study) if _keeps_ap(study, _without(study, each))), None)
    if blocks is not None:
        losses["backbone"] = study.loss(_without(study, blocks))
        good.add("backbone")
    kept = sorted(good, key=lambda stage: losses[stage])
    while kept and sum(max(losses[stage], 0.0) for stage in kept) > 2 * BUDGET:
        kept.pop()
    slower = [stage for stage in kept if study.times and _slower(study.times[stage])]
    int8 = [stage for stage in study.stages if stage in kept and stage not in slower]
    return Choice(
        int8=int8,
        bf16=[stage for stage in study.stages if stage not in int8],
        keep=[part for part in study.parts if part in blocks] if blocks and "backbone" in kept else [],
        loss={stage: round(loss, 4) for stage, loss in losses.items()},
        slower=slower,
    )


def as_document(study: Sensitivity, choice: Choice) -> dict[str, Any]:
    """Return the content of `sensitivity.json`."""
    return {**study.to_json(), "choice": choice.to_json()}


def _slower(times_ms: Mapping[str, float]) -> bool:
    return times_ms["int8"] > (1 + SAME_TIME) * times_ms["bf16"]


def _without(study: Sensitivity, parts: list[str]) -> Trial:
    if not parts:
        return Trial("only", "backbone")
    return Trial("but", "backbone", "+".join(part for part in study.parts if part in parts))
