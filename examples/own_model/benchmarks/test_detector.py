"""Each variant of the detector is accurate, and its time goes into pytest-benchmark's table and detq's gate."""

from __future__ import annotations


def test_detector(detq_result, detq_replay):
    """Assert first, then hand the measured times over."""
    assert detq_result.info["accuracy"]["AP50"] > 0.9
    detq_replay()
