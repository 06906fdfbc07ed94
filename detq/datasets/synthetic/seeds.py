"""Which seeds are for what, so that nothing is ever measured on scenes that something was fitted to."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["SEEDS"]

SEEDS: Mapping[str, range] = MappingProxyType(
    {
        "benchmark": range(100),
        "selection": range(100, 200),
        "calibration": range(200, 300),
        "val": range(300, 400),
        "train": range(1000, 1_000_000),
    }
)
"""Disjoint ranges of seeds. "benchmark" is for results that are reported, "selection" for choosing between recipes,
"calibration" for ranges of activations, "val" for watching a training, "train" for its gradients."""
