"""What this machine's arithmetic reaches on one large plain matrix product: the limit that a stage is held against."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

__all__ = ["SHAPE", "measure_limits"]

SHAPE = (1024, 12544, 1024)
"""Rows, inner length and columns of the product: the first linear layer of a box head with 1024 proposals."""


def measure_limits(rounds: int = 5) -> dict[str, float]:
    """Return multiply-accumulates a second, in 1e9, by precision, on as many threads as torch is set to.

    int8 is torch's own kernel of static linear layers (uint8 activations, int8 weights, prepacked); a precision that
    this build of torch cannot compute in is left out. The products are timed in turns, untimed once before.

    Args:
        rounds: how often each is timed; the median counts.
    """
    import torch

    with torch.inference_mode():
        products = {name: make() for name, make in _PRODUCTS.items()}
        runs = {name: run for name, run in products.items() if run is not None and _works(run)}
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(rounds):
            for name, run in runs.items():
                start = time.perf_counter()
                run()
                times[name].append(time.perf_counter() - start)
    macs = SHAPE[0] * SHAPE[1] * SHAPE[2]
    return {name: macs / statistics.median(spent) / 1e9 for name, spent in times.items()}


def _works(run: Callable[[], Any]) -> bool:
    try:
        run()
    except RuntimeError:  # this build or this CPU has no such kernel
        return False
    return True


def _float(dtype: str) -> Callable[[], Any]:
    import torch

    rows, inner, columns = SHAPE
    kind = getattr(torch, dtype)
    left, right = torch.rand(rows, inner).to(kind), torch.rand(columns, inner).to(kind)
    return lambda: torch.nn.functional.linear(left, right)


def _int8() -> Callable[[], Any] | None:
    import torch

    rows, inner, columns = SHAPE
    operators = torch.ops.onednn
    if not (hasattr(operators, "qlinear_prepack") and hasattr(operators, "qlinear_pointwise")):
        return None
    left = torch.randint(0, 256, (rows, inner), dtype=torch.uint8)
    right = torch.randint(-127, 128, (columns, inner), dtype=torch.int8)
    scales, zeros = torch.full((columns,), 0.01), torch.zeros(columns, dtype=torch.int64)
    try:
        packed = operators.qlinear_prepack(right, [rows, inner])
    except RuntimeError:
        return None
    return lambda: operators.qlinear_pointwise(
        left, 0.01, 128, packed, scales, zeros, None, 1.0, 0, torch.float32, "none", [], ""
    )


_PRODUCTS: dict[str, Callable[[], Callable[[], Any] | None]] = {
    "fp32": lambda: _float("float32"),
    "bf16": lambda: _float("bfloat16"),
    "int8": _int8,
}
