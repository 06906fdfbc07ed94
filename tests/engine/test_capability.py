"""What low precision gains on a CPU, and what environment variables forbid."""

from __future__ import annotations

import pytest
import torch

from detq.engine.capability import capability, fit_plan
from detq.quantization.plan import Plan


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
    assert "backbone runs in fp32: this CPU has no native bf16" in notes
