"""More rounds over the images, for the variants whose latency is not decided yet."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from detq.baseline.store import Choice
from detq.baseline.times import Times, common_images
from detq.bench.results import Recorded
from detq.gate.decision import look_alpha
from detq.gate.saved import judge_saved_latency, more_rounds_help
from detq.gate.tolerances import Tolerances
from detq.quantization.recipes import REFERENCE

__all__ = ["Budget", "Undecided", "always", "take_rounds", "undecided_against"]

Undecided = Callable[[str, Times, int], bool]
"""Tells from a variant's id, its times, and the number of the look whether more rounds may decide something."""

Measure = Callable[[Sequence[str], int, Callable[[], bool]], None]
"""Measures a round of some recipes, given its number from 0, until it ends or until what it is given says so."""


def always(_variant: str, _times: Times, _look: int) -> bool:
    """Return True: a baseline is the better, the more rounds it has."""
    return True


def undecided_against(choice: Choice, tolerances: Tolerances, alpha: float) -> Undecided:
    """Return what tells whether the comparison with a saved baseline is undecided.

    Args:
        choice: the baseline.
        tolerances: how much worse a figure may get.
        alpha: the error probability of one figure's interval, over all looks.
    """
    saved = choice.baseline.entries if choice.baseline and choice.same_class else {}

    def undecided(variant: str, times: Times, look: int) -> bool:
        before = saved.get(variant)
        images = common_images(times.images, before.images) if before else 0
        if before is None or not images:
            return False
        own = tolerances.of(variant)
        share = look_alpha(look, alpha)
        return more_rounds_help(judge_saved_latency(variant, times, before.timed, images, own, share))

    return undecided


@dataclass
class Budget:
    """The time that all models of a session together may be measured for.

    Attributes:
        seconds: of measuring, first rounds included; those are finished in any case.
        models: how many models will be measured.
        clock: tells the time.
    """

    seconds: float
    models: int
    clock: Callable[[], float] = field(default=time.monotonic)
    _spent: float = 0.0
    _start: float | None = None

    def begin(self) -> None:
        """Start the next model's share."""
        self._start = self.clock()

    def left(self) -> float:
        """Return how many seconds the current model still has, 0 or less when its share is used up."""
        if self._start is None:
            return 0.0
        return (self.seconds - self._spent) / max(1, self.models) - (self.clock() - self._start)

    def end(self) -> None:
        """Leave what the current model did not need to the others."""
        if self._start is not None:
            self._spent += self.clock() - self._start
            self._start, self.models = None, self.models - 1


def take_rounds(
    recorded: Recorded, undecided: Undecided, measure: Measure, budget: Budget, say: Callable[[str], None]
) -> None:
    """Measure those that are undecided again, with fp32 and the control, until none is or the budget is used up.

    Before each look the number of rounds doubles, so that looks stay few: each costs some of the error probability.

    Args:
        recorded: what one round found; its times, control and looks grow.
        undecided: tells whether more rounds may decide a variant.
        measure: adds a round of some recipes to `recorded`.
        budget: begun before the first round.
        say: is told what happens.
    """
    ids = {recipe: predictor.variant.id for recipe, predictor in recorded.predictors.items()}
    look, left = 1, list(ids)
    while left := [recipe for recipe in left if undecided(ids[recipe], recorded.times(recipe), look)]:
        if budget.left() <= 0:
            return
        look += 1
        names = list(dict.fromkeys([REFERENCE, *left]))
        total = len(recorded.rounds_ms[REFERENCE])
        say(f"{', '.join(left)}: up to {total} more rounds; {budget.left():.0f} s left")
        for number in range(total, 2 * total):
            if budget.left() > 0:
                measure(names, number, lambda: budget.left() <= 0)
        recorded.looks.update(dict.fromkeys(left, look))
