"""All that a run has to say, in order: for the terminal and, as Markdown, for `report.md`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from detq.report.accuracy_table import MOST_SIDE_BY_SIDE, accuracy_overview, accuracy_table
from detq.report.table import Table
from detq.report.tables import agreement_table, context_lines, proposals_table, split_table, summary_table, time_table
from detq.results import Accuracy, RunResult

__all__ = ["tables_of", "to_markdown"]


def tables_of(result: RunResult, *, terminal: bool = False) -> Iterator[Table]:
    """Yield the tables of a run: time and size, accuracy or agreement, the speed-up by proposals; at last a summary.

    Args:
        result: of the run.
        terminal: many variants are a row each in the table of accuracy, which has no room for differences then.
    """
    yield time_table(result)
    wide = not terminal or len(result.variants) <= MOST_SIDE_BY_SIDE
    accuracy = _accuracy_table if wide else _accuracy_overview
    makers = (split_table, accuracy, agreement_table, proposals_table, summary_table)
    yield from (table for make in makers if (table := make(result)) is not None)


def to_markdown(result: RunResult) -> str:
    """Return `report.md`."""
    parts = [f"# {result.model}", f"**{result.advice}**", *(table.to_markdown() for table in tables_of(result))]
    parts.append("\n".join(f"- {line}" for line in context_lines(result)))
    if result.pictures:
        parts.append("### Pictures\n\n" + "\n\n".join(f"![{path}]({path})" for path in result.pictures))
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _accuracy_table(result: RunResult) -> Table | None:
    known = _accuracies(result)
    return accuracy_table(known, **_conditions(result, known)) if known else None


def _accuracy_overview(result: RunResult) -> Table | None:
    known = _accuracies(result)
    if not known:
        return None
    return accuracy_overview(known, **_conditions(result, known), more="report.md and metrics.json")


def _accuracies(result: RunResult) -> dict[str, Accuracy]:
    return {recipe: found.accuracy for recipe, found in result.variants.items() if found.accuracy is not None}


def _conditions(result: RunResult, known: Mapping[str, Accuracy]) -> dict[str, Any]:
    report_class = next(iter(known.values())).report_class
    return {
        "images": result.data.images,
        "score": result.score,
        "iou": result.iou,
        "report_class": report_class,
    }
