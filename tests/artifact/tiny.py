"""A detector of a user's own, small enough to be compiled in a test."""

from __future__ import annotations

import torch
from torch import nn

from tests.engine.small import small_detector


def build() -> nn.Module:
    """Return the same detector in every process."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return small_detector(seed=3)


build.classes = ("car", "bus")  # type: ignore[attr-defined]
