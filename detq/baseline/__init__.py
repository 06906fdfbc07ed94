"""Saved baselines: one JSON file a machine class, in pytest-benchmark's own format.

Everything here reads and writes JSON; no model and no torch.
"""

from __future__ import annotations

from detq.baseline.entry import Entry, entry_from_json
from detq.baseline.restrict import restrict
from detq.baseline.scrub import scrub
from detq.baseline.store import Baseline, Choice, choose, read_baseline, read_baselines
from detq.baseline.times import Times
from detq.baseline.update import merge, state_of, write_baseline

__all__ = [
    "Baseline",
    "Choice",
    "Entry",
    "Times",
    "choose",
    "entry_from_json",
    "merge",
    "read_baseline",
    "read_baselines",
    "restrict",
    "scrub",
    "state_of",
    "write_baseline",
]
