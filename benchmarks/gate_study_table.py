"""The table of `gate_study.py`: what was promised, and what the runs did."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gate_study_kinds import KINDS, SETTINGS, Kind

__all__ = ["binomial_interval", "table"]

Row = Mapping[str, Any]

HEADINGS = (
    "kind", "promised", "runs", "caught", "95 % interval", "kept", "other false alarms", "inconclusive",
    "stage right", "caught by", "s outside",
)  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """Return a Markdown table for each setting."""
    text = []
    for setting, chosen in SETTINGS.items():
        mine = [row for row in rows if row["setting"] == setting]
        if not mine:
            continue
        text += [f"{chosen.model}, {chosen.budget_s} s a run, commit {mine[0]['commit'][:10]}", ""]
        text += [_line(HEADINGS), _line(["---"] * len(HEADINGS))]
        for name, kind in KINDS.items():
            found = [row for row in mine if row["kind"] == name]
            if found:
                text.append(_line(_cells(name, kind, found)))
        text.append("")
    return "\n".join(text)


def _line(cells: Iterable[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _cells(name: str, kind: Kind, rows: Sequence[Row]) -> list[object]:
    done = [row for row in rows if row["verdict"] != "error"]
    errors = len({row["run"] for row in rows} - {row["run"] for row in done})
    caught = [row for row in done if _caught(name, kind, row)]
    count, most = len(done), name == "same"
    low, high = binomial_interval(len(caught), count)
    share = len(caught) / count if count else math.nan
    kept = "n/a" if not count else "yes" if (share <= kind.share if most else share >= kind.share) else "NO"
    others = sum(any(not _expected(name, kind, item) for item in row["failed"]) for row in done)
    figures = sorted({f"{item['name']}" for row in caught for item in row["failed"]})
    outside = [row["seconds"] - row["measured_s"] for row in done if row.get("measured_s") is not None]
    return [
        name,
        kind.promise,
        f"{count} (+{errors} that could not be made)" if errors else count,
        f"{len(caught)} of {count}",
        f"{low:.0%} to {high:.0%}",
        kept,
        "" if most else others,
        sum(row["verdict"] == "inconclusive" for row in done),
        sum(_named(row) for row in caught) if kind.slows and not kind.in_base else "",
        ", ".join(figures),
        f"{statistics.median(outside):.0f}" if outside else "",
    ]


def _caught(name: str, kind: Kind, row: Row) -> bool:
    """Whether the right evidence failed; of `same` any, and of what became faster whether it was seen and passed."""
    if name == "same":
        return bool(row["failed"])
    if kind.in_base:
        return not row["failed"] and any(item["name"] in kind.by for item in row["improved"])
    return any(item["name"] in kind.by and _of_kind(kind, item) for item in row["failed"])


def _expected(name: str, kind: Kind, item: Row) -> bool:
    if name == "same":
        return False
    return _of_kind(kind, item) and (item["name"] in kind.by or item["kind"] in kind.with_it)


def _of_kind(kind: Kind, item: Row) -> bool:
    """A fault of the dynamic recipe does nothing to fp32."""
    return "dynamic_int8" not in kind.file or item["variant"].endswith("dynamic_int8")


def _named(row: Row) -> bool:
    return any(f"most of it in {row['stage']}:" in item["detail"] for item in row["failed"])


def binomial_interval(hits: int, runs: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return Clopper and Pearson's interval (Biometrika 26 (1934), 404-413) for a probability."""
    tail = (1 - confidence) / 2

    def at_least(probability: float, least: int) -> float:
        terms = (math.comb(runs, k) * probability**k * (1 - probability) ** (runs - k) for k in range(least, runs + 1))
        return sum(terms)

    low = 0.0 if hits == 0 else _solve(lambda p: at_least(p, hits), tail)
    high = 1.0 if hits == runs else _solve(lambda p: at_least(p, hits + 1), 1 - tail)
    return low, high


def _solve(rising: Any, wanted: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < wanted else (low, middle)
    return (low + high) / 2
