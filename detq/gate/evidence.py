"""What the gate says about one figure of one variant."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["KEPT", "Evidence", "Verdict"]

KEPT = "fp32 detections kept"
"""The figure of that name: the share of what fp32 finds that a variant finds too."""


class Verdict(enum.StrEnum):
    """The outcome of one comparison, from good to bad."""

    IMPROVEMENT = "improvement"
    PASS = "pass"  # noqa: S105  # a verdict, no password
    INCONCLUSIVE = "inconclusive"
    REGRESSION = "regression"
    MISSING = "missing"

    @property
    def fails(self) -> bool:
        """Whether it fails the build. What cannot be decided does not, but is said."""
        return self in {Verdict.REGRESSION, Verdict.MISSING}

    @property
    def severity(self) -> int:
        """Rank from good (0) to bad."""
        return list(Verdict).index(self)


@dataclass(frozen=True)
class Evidence:
    """One comparison.

    Attributes:
        kind: "presence", "latency", "speedup", "accuracy", "weights", "memory" or "int8".
        name: the figure: "median", "AP", "recall", "weight_bytes", ….
        variant: id.
        verdict: what it comes to.
        now: this run's figure, or None where there is none.
        before: the baseline's.
        change: how much worse (positive) or better (negative) in the unit of `tolerance`: a fraction for latency and
            bytes, a difference for accuracy and int8 share.
        tolerance: how large `change` may be.
        detail: a sentence for whoever has to act on it; empty for an ordinary pass.
        low: the lower end of the interval of `change`, or None for a figure that is exact.
        high: its upper end.
    """

    kind: str
    name: str
    variant: str
    verdict: Verdict
    now: float | None = None
    before: float | None = None
    change: float | None = None
    tolerance: float | None = None
    detail: str = ""
    low: float | None = None
    high: float | None = None


def verdict_of(change: float, tolerance: float) -> Verdict:
    """Return what a change comes to, positive being worse. The tolerance itself is still tolerated.

    >>> verdict_of(0.2, 0.1), verdict_of(-0.2, 0.1), verdict_of(0.1, 0.1)
    (<Verdict.REGRESSION: 'regression'>, <Verdict.IMPROVEMENT: 'improvement'>, <Verdict.PASS: 'pass'>)
    """
    if change > tolerance:
        return Verdict.REGRESSION
    if change < -tolerance:
        return Verdict.IMPROVEMENT
    return Verdict.PASS if change <= tolerance else Verdict.INCONCLUSIVE  # no number is no pass
