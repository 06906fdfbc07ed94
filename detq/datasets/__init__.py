"""Data sets: `open_dataset` recognises the format and returns a `Dataset`."""

from __future__ import annotations

from detq.datasets.base import Dataset

__all__ = ["Dataset"]
