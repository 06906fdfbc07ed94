"""Figures without noise: bytes, and shares of the arithmetic. Both gates compare them in the same way."""

from __future__ import annotations

from detq.gate.evidence import Evidence, verdict_of

__all__ = ["bytes_evidence", "share_evidence"]

Pair = tuple[float, float]
"""Now, and before."""


def bytes_evidence(variant: str, name: str, what: str, pair: Pair, tolerance: float) -> Evidence:
    """Return what is to be said about a size in bytes, which may grow by a fraction.

    Args:
        variant: id.
        name: of the figure.
        what: the same in words, for a sentence.
        pair: see `Pair`.
        tolerance: the fraction.
    """
    now, before = pair
    change = now / before - 1 if before else float(now > 0)
    verdict = verdict_of(change, tolerance)
    detail = f"{what} {before:,.0f} → {now:,.0f} bytes" if verdict.fails else ""
    return Evidence("weights", name, variant, verdict, now, before, change, tolerance, detail)


def share_evidence(variant: str, name: str, what: str, pair: Pair, tolerance: float) -> Evidence:
    """Return what is to be said about a share in int8, in [0, 1], which may fall by `tolerance`; args as above."""
    now, before = pair
    change = round(before - now, 6)
    verdict = verdict_of(change, tolerance)
    detail = f"{what} {before:.2%} → {now:.2%}" if verdict.fails else ""
    return Evidence("int8", name, variant, verdict, now, before, change, tolerance, detail)
