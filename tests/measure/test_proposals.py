"""Counting region proposals."""

from __future__ import annotations

from detq.measure.proposals import count_proposals
from detq.predictor import build_predictor


def test_proposals_are_counted_image_by_image_and_the_hook_is_gone(fp32_predictor, int8_predictor, noise):
    """The speed-up depends on them, so both variants must see as many."""
    counts = count_proposals(fp32_predictor, [noise, noise[:60]])
    assert counts is not None
    assert len(counts) == 2
    assert all(0 < count <= 150 for count in counts)
    assert count_proposals(int8_predictor, [noise, noise[:60]]) == counts
    assert not fp32_predictor.module.roi_heads.box_roi_pool._forward_pre_hooks


def test_a_one_stage_detector_has_none():
    """Not zero: the question does not arise."""
    predictor = build_predictor("ssdlite320_mobilenet_v3_large-fp32", weights="random")
    assert count_proposals(predictor, []) is None
