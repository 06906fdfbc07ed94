"""Figures without noise: bytes, and shares in int8."""

from __future__ import annotations

import pytest

from detq.gate import Verdict
from detq.gate.exact import bytes_evidence, share_evidence


def test_a_share_may_fall_by_exactly_its_tolerance():
    """0.62 - 0.6 is 0.020000000000000018 in floating point, which nobody means."""
    assert share_evidence("v", "int8_share", "share", (0.6, 0.62), 0.02).verdict is Verdict.PASS
    item = share_evidence("v", "int8_share", "share", (0.59, 0.62), 0.02)
    assert (item.verdict, item.detail) == (Verdict.REGRESSION, "share 62.00% → 59.00%")


@pytest.mark.parametrize(
    ("now", "before", "verdict"),
    [
        (0, 0, Verdict.PASS),
        (1, 0, Verdict.REGRESSION),
        (110, 100, Verdict.REGRESSION),
        (104, 100, Verdict.PASS),
        (90, 100, Verdict.IMPROVEMENT),
    ],
)
def test_bytes_may_grow_by_a_fraction_and_not_from_nothing(now, before, verdict):
    """What took none and takes some has no ratio, and is no pass for that."""
    item = bytes_evidence("v", "peak_bytes", "peak", (now, before), 0.05)
    assert (item.verdict, bool(item.detail)) == (verdict, verdict is Verdict.REGRESSION)
