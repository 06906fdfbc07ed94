"""The gate's table and sentences, as text."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from detq.baseline.entry import Entry
from detq.gate.evidence import Evidence, Verdict
from detq.gate.judge import Outcome
from detq.gate.saved_accuracy import saved_ap
from detq.gate.text import NARROWEST, make_table, to_text

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

__all__ = ["STYLES", "render", "shout"]

STYLES = {
    Verdict.IMPROVEMENT: "cyan",
    Verdict.PASS: "green",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.REGRESSION: "bold red",
    Verdict.MISSING: "bold red",
}
"""How rich writes each verdict."""

COST = {
    "time and memory": 24,
    "median": 20,
    "interval": 18,
    "p90": 20,
    "p99": 20,
    "memory": 16,
}
FOUND = {
    "accuracy and size": 24,
    "AP": 17,
    "report's metrics": 23,
    "weights": 17,
    "in int8": 16,
    "verdict": 12,
}

MOST_NAMES = 3
"""Of more variants than this that one sentence is said about, it gives the number."""

Line = tuple[str, str]
"""A sentence and its style."""


def render(
    outcome: Outcome,
    run: Mapping[str, Entry],
    *,
    record: str,
    accepted: bool = False,
    width: int = NARROWEST,
    colour: bool = False,
) -> str:
    """Return the table, then a line for everything that somebody should act on, then the gate's last word.

    Args:
        outcome: of `judge`.
        run: what was measured, by variant id.
        record: the command that records or refreshes the baseline.
        accepted: this run is to become the baseline, so nothing fails.
        width: of the terminal, in characters.
        colour: whether to write terminal colours.
    """
    from rich.text import Text

    last = [("what differs is accepted by this update", "cyan")] if accepted else _last_words(outcome, run, record)
    lines = [Text(line, style=style) for line, style in (*_sentences(outcome), *last)]
    return to_text([*_tables(outcome, run), *lines], width=width, colour=colour)


def _tables(outcome: Outcome, run: Mapping[str, Entry]) -> list[Text | Table]:
    """Return a heading and two tables for each model."""
    from rich.text import Text

    by_model: dict[str, dict[str, None]] = {}
    for item in outcome.evidence:
        by_model.setdefault(item.variant.rpartition("-")[0], {})[item.variant] = None
    result: list[Text | Table] = []
    for model, variants in by_model.items():
        cost, found = make_table(COST), make_table(FOUND)
        for variant in variants:
            worst = outcome.worst(variant)
            recipe = variant.rpartition("-")[2]
            evidence = [item for item in outcome.evidence if item.variant == variant]
            cost.add_row(recipe, *_cost(evidence, run.get(variant)))
            found.add_row(recipe, *_found(evidence, run.get(variant)), Text(shout(worst), style=STYLES[worst]))
        result += [Text(model, style="bold"), cost, Text(""), found]
    return result


def shout(verdict: Verdict) -> str:
    """Return a verdict's name, in capitals where somebody should look."""
    return str(verdict).upper() if verdict.fails or verdict is Verdict.INCONCLUSIVE else str(verdict)


def _cost(evidence: list[Evidence], entry: Entry | None) -> list[str]:
    """Return what a variant takes, with changes; a new variant's alone."""
    found = {(item.kind, item.name): item for item in evidence}
    median, p90, p99 = (found.get(("latency", name)) for name in ("median", "p90", "p99"))
    interval = "n/a"
    if median is not None and median.low is not None and median.high is not None:
        interval = "unknown" if math.isinf(median.high) else f"{median.low:+.1%} to {median.high:+.1%}"
    memory = None if entry is None or entry.peak_bytes is None else float(entry.peak_bytes)
    return [
        _cell(median, None if entry is None else statistics.median(entry.times_s), _milliseconds, relative=True),
        interval,
        _cell(p90, None, _milliseconds, relative=True),
        _cell(p99, None, _milliseconds, relative=True),
        _cell(found.get(("memory", "peak")), memory, _megabytes, relative=True),
    ]


def _found(evidence: list[Evidence], entry: Entry | None) -> list[str]:
    """Return what a variant finds and is, with changes; a new variant's alone."""
    found = {(item.kind, item.name): item for item in evidence}
    plain: tuple[float | None, ...] = (None,) * 3
    if entry is not None:
        plain = (saved_ap(entry), entry.weight_bytes, entry.int8_share)
    return [
        _cell(found.get(("accuracy", "AP")), plain[0], _four_digits),
        _worst_metric([item for item in evidence if item.kind == "accuracy" and item.name != "AP"]),
        _cell(found.get(("weights", "weight_bytes")), plain[1], _megabytes, relative=True),
        _cell(found.get(("int8", "int8_share")), plain[2], _percent),
    ]


def _cell(item: Evidence | None, plain: float | None, show: Callable[[float], str], *, relative: bool = False) -> str:
    if item is not None and item.now is not None and item.change is not None:
        return f"{show(item.now)} ({_signed(item, relative=relative)})"
    return "n/a" if plain is None else f"{show(plain)} (?)"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms"


def _four_digits(value: float) -> str:
    return f"{value:.4f}"


def _megabytes(count: float) -> str:
    return f"{count / 1e6:.1f} MB"


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _worst_metric(items: list[Evidence]) -> str:
    judged = [item for item in items if item.change is not None]
    if not judged:
        return "n/a"
    worst = max(judged, key=lambda item: item.change or 0.0)
    return f"{worst.name} {_signed(worst, relative=False)}" if worst.change else "="


def _signed(item: Evidence, *, relative: bool) -> str:
    """Write the change as now − before, whichever direction is the worse one."""
    if not item.change:
        return "="
    if relative:
        return f"{item.change:+.1%}"
    change = (item.now or 0.0) - (item.before or 0.0)
    return f"{change:+.2%}" if item.kind == "int8" else f"{change:+.4f}"


def _sentences(outcome: Outcome) -> list[Line]:
    """Return what somebody should know or act on; what `notes` say once is not repeated for every variant."""
    lines = [(f"! {note}", "bold yellow") for note in outcome.notes]
    said: dict[tuple[Verdict, str], list[str]] = {}
    for item in outcome.evidence:
        if item.detail and not (item.kind == "latency" and item.before is None):
            said.setdefault((item.verdict, item.detail), []).append(item.variant)
    for (verdict, detail), variants in said.items():
        who = ", ".join(variants) if len(variants) <= MOST_NAMES else f"{len(variants)} variants"
        lines.append((f"{shout(verdict)} {who}: {detail}", STYLES[verdict]))
    return lines


def _last_words(outcome: Outcome, run: Mapping[str, Entry], record: str) -> list[Line]:
    lines: list[Line] = []
    if outcome.improved:
        better = ", ".join(outcome.better)
        lines.append((f"better than the baseline beyond tolerance: {better}; refresh it with `{record}`", "cyan"))
    count = f"{len(run)} variant{'s' * (len(run) != 1)}"
    if outcome.failed:
        lines.append((f"gate: FAILED; mend it, or, if it is meant to be so, accept it with `{record}`", "bold red"))
    elif undecided := {item.variant for item in outcome.evidence if item.verdict is Verdict.INCONCLUSIVE}:
        lines.append((f"gate: passed, but {len(undecided)} of {count} had figures that could not be judged", "yellow"))
    else:
        lines.append((f"gate: passed: {count}", "green"))
    return lines
