"""The gate: does a run stand up to the saved baseline? Pure functions on what was measured; no model and no torch."""

from __future__ import annotations

from detq.gate.evidence import Evidence, Verdict
from detq.gate.judge import Outcome, Selection, judge
from detq.gate.table import render
from detq.gate.tolerances import Tolerances, tolerances_from

__all__ = ["Evidence", "Outcome", "Selection", "Tolerances", "Verdict", "judge", "render", "tolerances_from"]
