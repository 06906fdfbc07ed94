"""How long each variant takes an image, measured beside fp32, and proof of what it runs in int8."""

from __future__ import annotations


def test_latency(detq_result, detq_replay):
    """Each variant answers every image in some time, and a quantized one does part of it in int8."""
    assert len(detq_result.times_s) == len(detq_result.truths)
    assert min(detq_result.times_s) > 0
    assert (detq_result.info["int8_share"] > 0) == detq_result.quantizes
    assert bool(detq_result.info["kernels"]) == detq_result.quantizes
    detq_replay()
