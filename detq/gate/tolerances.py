"""How much worse a figure may get: defaults, and `[tool.detq.gate]` of a project's pyproject.toml."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from detq.errors import DetqError, unknown_name

__all__ = ["Tolerances", "tolerances_from"]


@dataclass(frozen=True)
class Tolerances:
    """How much worse each figure may get before the gate fails.

    Attributes:
        latency: fraction by which the median may grow. Two runs of the same code on a machine that also does other
            things differ by 2 to 10 %.
        ap: AP may fall by this. It is deterministic on one machine; other instruction sets round differently.
        metrics: each of the report's four metrics may fall by this. One car more or less on 20 images is 0.005.
        weight_bytes: fraction by which the weights may grow. Scales and zero points differ a little between versions.
        int8_share: the share of the multiply-accumulates in int8 may fall by this. It varies a little with the number
            of proposals.
        speedup_floor: on a machine class without a baseline, a quantized variant must reach this speed-up over fp32 of
            the same run. What int8 buys differs by 20 % and more between CPUs, so it only catches the absurd.
    """

    latency: float = 0.10
    ap: float = 0.005
    metrics: float = 0.01
    weight_bytes: float = 0.005
    int8_share: float = 0.001
    speedup_floor: float = 0.8


def tolerances_from(table: Mapping[str, Any], where: str = "[tool.detq.gate]") -> Tolerances:
    """Return the tolerances that a configuration table sets, and the defaults for what it leaves out.

    Raises:
        DetqError: an unknown key, or a value that is no number in [0, 1).
    """
    known = [field.name for field in fields(Tolerances)]
    for name, value in table.items():
        if name not in known:
            raise unknown_name(f"{where} key", name, known)
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if not number or not 0 <= value < 1:
            raise DetqError(f"{where} {name}: expected a number from 0 up to, not including, 1, got {value!r}")
    return Tolerances(**{name: float(value) for name, value in table.items()})
