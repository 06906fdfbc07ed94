"""What low precision gains on a CPU, and what environment variables forbid."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from detq.engine.build import build_staged
from detq.engine.capability import Capability, capability, fit_plan
from detq.quantization.plan import Plan, StageRule
from detq.quantization.recipes import INT8
from tests.engine.small import small_detector


@pytest.mark.parametrize("limit", ["AVX2", "AVX512_CORE", "AVX512_CORE_VNNI", "avx2_vnni"])
def test_instructions_that_are_forbidden_are_not_counted_on(monkeypatch, limit):
    """bf16 by neither of these; VNNI where its name says so."""
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    found = capability()
    assert not found.bf16
    assert not found.amx
    assert "VNNI" in limit.upper() or not found.vnni


def test_avx512_alone_is_no_bf16(monkeypatch):
    """oneDNN accepts bf16 there and computes in fp32: a plan for such a CPU has fp32 in its place, and says so."""
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_supported", lambda: True, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False, raising=False)
    found = capability()
    assert not found.bf16
    plan, notes = fit_plan(Plan.uniform("inductor", "bf16"), found)
    assert plan.backbone.precision == "fp32"
    assert notes == (
        "backbone, rpn_head, box_head, box_pool in fp32 instead of bf16, which this CPU does not have natively",
    )
    with_masks = fit_plan(Plan.uniform("inductor", "bf16"), found, masks=True)[1][0]
    assert with_masks.startswith("backbone, rpn_head, box_head, mask_head, box_pool, mask_pool in fp32")


def test_int8_without_vnni_says_so():
    """It keeps a bit of every activation unused, and computes in smaller steps."""
    without = Capability(bf16=False, vnni=False, amx=False, avx512=False)
    pool = "box_pool in fp32 instead of bf16, which this CPU does not have natively"
    assert fit_plan(INT8, without)[1] == ("int8 without VNNI (7-bit activations)", pool)
    assert fit_plan(INT8, replace(without, vnni=True))[1] == (pool,)
    assert fit_plan(INT8, replace(without, vnni=True, bf16=True))[1] == fit_plan(Plan(), without)[1] == ()


def test_a_detector_with_masks_says_what_their_stages_lose(monkeypatch):
    """One without has nothing to lose there."""
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    plan = Plan(mask_pool=StageRule("eager", "bf16"))
    lost = ("mask_pool in fp32 instead of bf16, which this CPU does not have natively",)
    assert build_staged(small_detector(masks=True), plan).notes == lost
    assert build_staged(small_detector(), plan).notes == ()
