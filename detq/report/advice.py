"""The closing line of a run: which variant to ship, and why. A pure function of the result."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from detq.metrics.report2024 import METRICS
from detq.results import REFERENCE, Interval, RunResult, VariantResult

__all__ = ["TOLERANCES", "advise"]

TOLERANCES: Mapping[str, float] = {"AP": 0.003, "mask_AP": 0.003, **dict.fromkeys(METRICS, 0.005)}
"""The loss that nobody will notice: below what two trainings of one detector differ by (AP about 0.003), and for the
report's metrics half of the smallest step that its tables show (0.01)."""

FEWEST_IMAGES = 30
"""A bootstrap knows only what is among the images: with fewer than this its intervals are too narrow."""

MOST_IMAGES = 50_000
"""Beyond this "more images" is no advice."""


@dataclass(frozen=True)
class _Loss:
    """A metric that moved, or may have moved, by more than its tolerance."""

    metric: str
    interval: Interval

    @property
    def certain(self) -> bool:
        return self.interval.high < -TOLERANCES[self.metric]

    @property
    def likely_nothing(self) -> bool:
        """The estimate itself is within the tolerance."""
        return self.interval.estimate >= -TOLERANCES[self.metric]

    def __str__(self) -> str:
        low, high = self.interval.low, self.interval.high
        return f"{self.metric} changed by {self.interval.estimate:+.4f} ({low:+.4f} to {high:+.4f})"


def advise(result: RunResult) -> str:
    """Return one line that says which variant to ship, and why.

    That is the fastest variant whose speed-up interval is clear of 1 and whose intervals exclude a loss beyond
    `TOLERANCES`. Where an interval is too wide to tell, the line says so, and how many images would do; beside the
    variant to ship it names the fastest one that more images may show to be better.
    """
    rivals = sorted(_rivals(result), key=lambda pair: -pair[1].estimate)
    if not rivals:
        return "Only fp32 was measured: name other recipes with --variants to compare it with."
    if not result.meaningful_accuracy:
        return f"No advice, because the weights are random and accuracy is n/a; for timing only: {_speeds(rivals)}."
    if result.data.images < FEWEST_IMAGES:
        return (
            f"Not enough images to say: {result.data.images} is fewer than {FEWEST_IMAGES}, and a few hundred are "
            f"better; so far {_speeds(rivals)}."
        )
    if not result.labelled:
        return _without_labels(result, rivals)
    return _with_labels(result, rivals)


def _rivals(result: RunResult) -> Iterator[tuple[str, Interval]]:
    for recipe, variant in result.variants.items():
        if recipe != REFERENCE and variant.speedup is not None:
            yield recipe, variant.speedup


def _times(speedup: Interval) -> str:
    return f"{speedup.estimate:.2f}× as fast as {REFERENCE} ({speedup.low:.2f} to {speedup.high:.2f})"


def _speeds(rivals: list[tuple[str, Interval]]) -> str:
    return ", ".join(f"{recipe} is {_times(speedup)}" for recipe, speedup in rivals)


def _with_labels(result: RunResult, rivals: list[tuple[str, Interval]]) -> str:
    tolerances = f"AP {TOLERANCES['AP']:g}, the report's metrics {TOLERANCES[METRICS[0]]:g}"
    undecided: list[str] = []
    promising: list[str] = []
    refused: list[str] = []
    for recipe, speedup in rivals:
        losses = list(_losses(result.variants[recipe]))
        certain = [loss for loss in losses if loss.certain]
        if speedup.high <= 1 or certain:
            why = f"lost accuracy: {certain[0]}" if certain else f"is {_times(speedup)}"
            refused.append(f"{recipe} {why}")
        elif speedup.low > 1 and not losses:
            more = f" {promising[0]}." if promising else ""
            return (
                f"Ship {recipe}: it is {_times(speedup)}, and no metric lost more than tolerated ({tolerances}).{more}"
            )
        else:
            doubt = _doubt(result.data.images, losses)
            undecided.append(f"{recipe} is {_times(speedup)}{doubt}")
            if speedup.low > 1 and all(loss.likely_nothing for loss in losses):
                promising.append(f"{recipe} may be better: it is {_times(speedup)}{doubt}")
    if undecided:
        return f"Not enough images to say, so keep {REFERENCE} for now: {'; '.join(undecided)}."
    return f"Ship {REFERENCE}: {'; '.join(refused)}."


def _losses(variant: VariantResult) -> Iterator[_Loss]:
    """Yield the metrics whose interval does not exclude a loss beyond the tolerance, the most certain one first."""
    differences = (variant.accuracy.difference if variant.accuracy else None) or {}
    losses = [
        _Loss(metric, interval)
        for metric in TOLERANCES
        if (interval := differences.get(metric)) is not None and interval.low < -TOLERANCES[metric]
    ]
    yield from sorted(losses, key=lambda loss: loss.interval.high)


def _doubt(images: int, losses: list[_Loss]) -> str:
    if not losses:
        return ""
    needed = max((_images_needed(images, loss) for loss in losses), default=0.0)
    more = f"; about {_rounded(needed)} images would tell" if needed <= MOST_IMAGES else ""
    return f", but on {images} images {losses[0]}, and {TOLERANCES[losses[0].metric]:g} is tolerated{more}"


def _images_needed(images: int, loss: _Loss) -> float:
    """How many images make the interval clear of the tolerance, if the estimate stays: widths shrink with the root."""
    distance = abs(loss.interval.estimate + TOLERANCES[loss.metric])
    half_width = loss.interval.estimate - loss.interval.low
    return math.inf if distance == 0 else images * max(1.0, (half_width / distance) ** 2)


def _rounded(number: float) -> int:
    """Round up to two digits: nobody should read more into it."""
    step = 10 ** max(0, math.floor(math.log10(max(number, 1))) - 1)
    return int(math.ceil(number / step) * step)


def _without_labels(result: RunResult, rivals: list[tuple[str, Interval]]) -> str:
    faster = [(recipe, speedup) for recipe, speedup in rivals if speedup.low > 1]
    if not faster:
        return f"Ship {REFERENCE}: no variant is clearly faster; {_speeds(rivals)}."
    recipe, speedup = faster[0]
    agreement = result.variants[recipe].agreement
    if agreement is None or agreement.share_matched is None or agreement.share_candidate_matched is None:
        return f"{recipe} is {_times(speedup)}, but nothing was found on these images, so there is nothing to compare."
    return (
        f"{recipe} is {_times(speedup)}, has {agreement.share_matched:.1%} of its detections, and "
        f"{1 - agreement.share_candidate_matched:.1%} of its own are new: look at the pictures of the images that "
        "differ most before you ship it; only labels can tell its accuracy."
    )
