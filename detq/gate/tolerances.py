"""How much worse a figure may get: defaults, and `[tool.detq.gate]` of a project's pyproject.toml."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from detq.errors import DetqError, unknown_name
from detq.variants import find_variant

__all__ = ["Tolerances", "tolerances_from"]

NOISY = {"noisy": True}
"""Of figures that differ from run to run: a tolerance of 0 would fail one run in two."""


@dataclass(frozen=True)
class Tolerances:
    """How much worse each figure may get before the gate fails.

    Attributes:
        latency: fraction by which the median may grow against the saved baseline. Two runs of the same code on a
            machine that also does other things differ by 2 to 10 %.
        latency_p90: the same of the 90th percentile.
        latency_p99: the same of the 99th percentile.
        peak_memory: fraction by which the peak of memory of an image may grow against the saved baseline. Runs of the
            same code differed by 30 %: what an allocator holds depends on what ran before.
        int8_stage: the share of a stage's multiply-accumulates in int8 may fall by this against the saved baseline.
        ap: AP and AP50 may fall by this. They are deterministic on one machine; other instruction sets round
            differently.
        metrics: each of the report's four metrics may fall by this. One car more or less on 20 images is 0.005.
        weight_bytes: fraction by which the weights may grow. Scales and zero points differ a little between versions.
        int8_share: the share of the multiply-accumulates in int8 may fall by this. It varies a little with the number
            of proposals.
        speedup_floor: on a machine class without a baseline, a quantized variant must reach this speed-up over fp32 of
            the same run. What int8 buys differs by 20 % and more between CPUs, so it only catches the absurd.
        paired_median: fraction by which the median may grow in the paired gate, which measures both commits at once.
        paired_p90: the same of the 90th percentile.
        paired_p99: the same of the 99th percentile.
        kept: the share of the base's fp32 detections that a variant finds too may fall by this.
        memory: fraction by which the peak of memory may grow in the paired gate. Processes of the same code differ by
            10 %: an allocator keeps what it may need again.
        leak_mb: megabytes by which memory may grow with every image, more than the base's does.
        variants: what holds for single variants instead, by id.
    """

    latency: float = field(default=0.10, metadata=NOISY)
    latency_p90: float = field(default=0.20, metadata=NOISY)
    latency_p99: float = field(default=0.40, metadata=NOISY)
    peak_memory: float = field(default=0.40, metadata=NOISY)
    int8_stage: float = 0.001
    ap: float = 0.005
    metrics: float = 0.01
    weight_bytes: float = 0.005
    int8_share: float = 0.001
    speedup_floor: float = 0.8
    paired_median: float = field(default=0.03, metadata=NOISY)
    paired_p90: float = field(default=0.10, metadata=NOISY)
    paired_p99: float = field(default=0.25, metadata=NOISY)
    kept: float = 0.01
    memory: float = field(default=0.15, metadata=NOISY)
    leak_mb: float = field(default=0.25, metadata=NOISY)
    variants: Mapping[str, Tolerances] = field(default_factory=dict)

    def of(self, variant: str) -> Tolerances:
        """Return what holds for a variant."""
        return self.variants.get(variant, self)


def tolerances_from(table: Mapping[str, Any], where: str = "[tool.detq.gate]") -> Tolerances:
    """Return the tolerances that a configuration table sets, and the defaults for what it leaves out.

    The table `variants` in it holds a table for each variant that is to have its own: what that one leaves out is as
    for all variants.

    Raises:
        DetqError: an unknown key or variant, or a value that is no number in [0, 1), or 0 for a figure that is noisy.
    """
    plain = {name: value for name, value in table.items() if name != "variants"}
    common = _values(plain, where)
    overrides = table.get("variants", {})
    if not isinstance(overrides, Mapping):
        raise DetqError(f"{where} variants: expected a table for each variant, got {overrides!r}")
    return Tolerances(
        **common, variants={name: _of_variant(name, value, common, where) for name, value in overrides.items()}
    )


def _of_variant(name: str, table: Any, common: dict[str, float], where: str) -> Tolerances:
    where = f"{where[:-1]}.variants.{name}]"
    if not isinstance(table, Mapping):
        raise DetqError(f"{where}: expected a table of tolerances, got {table!r}")
    try:
        find_variant(name)
    except DetqError as error:
        raise type(error)(f"{where}: {error}") from None
    return Tolerances(**(common | _values(table, where)), variants={})


def _values(table: Mapping[str, Any], where: str) -> dict[str, float]:
    known = {item.name: item for item in fields(Tolerances) if item.name != "variants"}
    for name, value in table.items():
        if name not in known:
            raise unknown_name(f"{where} key", name, [*known, "variants"])
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if not number or not 0 <= value < 1:
            raise DetqError(f"{where} {name}: expected a number from 0 up to, not including, 1, got {value!r}")
        if value == 0 and known[name].metadata.get("noisy"):
            raise DetqError(
                f"{where} {name}: expected a number above 0, got {value!r}; the figure differs a little from run to "
                "run, so 0 would fail every other one"
            )
    return {name: float(value) for name, value in table.items()}
