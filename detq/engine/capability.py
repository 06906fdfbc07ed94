"""What this CPU computes quickly, as torch's libraries see it; a plan is fitted to it, and says what it lost."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from detq.quantization.plan import DENSE_STAGES, Plan, StageRule

__all__ = ["Capability", "capability", "fit_plan"]

# Values of ONEDNN_MAX_CPU_ISA that keep oneDNN from VNNI; torch's own queries ask the CPU alone.
_WITHOUT_VNNI = {"SSE41", "AVX", "AVX2", "AVX512_CORE"}
_WITHOUT_BF16 = _WITHOUT_VNNI | {"AVX2_VNNI", "AVX512_CORE_VNNI"}


@dataclass(frozen=True)
class Capability:
    """What low precision gains here.

    Attributes:
        bf16: convolutions and matrix products in bf16 are native.
        vnni: u8×s8 products are summed in 32 bits; without it pairs of them can saturate in 16.
        amx: matrix tiles.
        avx512: vectors of 512 bits.
    """

    bf16: bool
    vnni: bool
    amx: bool
    avx512: bool

    @property
    def reduce_range(self) -> bool:
        """Whether int8 activations must leave one bit unused."""
        return not self.vnni

    def describe(self) -> str:
        """Return the instructions that int8 runs with."""
        if not self.vnni:
            return "int8 without VNNI (7-bit activations)"
        return "int8 with AMX" if self.amx else "int8 with VNNI"


def capability() -> Capability:
    """Return what this process may use: the CPU's instructions, less what environment variables forbid."""
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    vnni = limit not in _WITHOUT_VNNI and _asks("_is_vnni_supported", "_is_avx512_vnni_supported")
    amx = vnni and ("AMX" in limit or limit in {"", "ALL", "DEFAULT"}) and _asks("_is_amx_tile_supported")
    avx512 = torch.backends.cpu.get_cpu_capability() == "AVX512"
    return Capability(limit not in _WITHOUT_BF16 and _has_bf16(), vnni, amx, avx512)


def _has_bf16() -> bool:
    """Ask for bf16 that is native: oneDNN also supports it with AVX-512 alone, where it computes in fp32."""
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():  # noqa: SLF001  # torch has no public way to ask
        return False
    may_emulate = _asks("_is_avx512_supported") and hasattr(torch.cpu, "_is_avx512_bf16_supported")
    return not may_emulate or _asks("_is_avx512_bf16_supported")


def _asks(*names: str) -> bool:
    """Ask torch under the names that its releases have used."""
    return any(bool(getattr(torch.cpu, name)()) for name in names if hasattr(torch.cpu, name))


def fit_plan(plan: Plan, found: Capability, *, masks: bool = False) -> tuple[Plan, tuple[str, ...]]:
    """Return the plan with bf16 replaced by fp32 where the CPU has none, and sentences on what it lost here.

    Args:
        plan: see `Plan`.
        found: of this process.
        masks: the detector has stages for masks.
    """
    notes = [found.describe()] if plan.int8_stages and not found.vnni else []
    named = [stage for stage in (*DENSE_STAGES, "box_pool", "mask_pool") if masks or not stage.startswith("mask")]
    lost = [stage for stage in named if plan.rule(stage).precision == "bf16" and not found.bf16]
    for stage in lost:
        plan = plan.with_rule(stage, StageRule(plan.rule(stage).engine, "fp32"))
    if lost:
        notes.append(f"{', '.join(lost)} in fp32 instead of bf16, which this CPU does not have natively")
    return plan, tuple(notes)
