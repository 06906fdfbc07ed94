"""All that a run has to say, in order: for the terminal and, as Markdown, for `report.md`."""

from __future__ import annotations

from collections.abc import Iterator

from detq.report.accuracy_table import accuracy_table
from detq.report.table import Table
from detq.report.tables import agreement_table, context_lines, proposals_table, split_table, summary_table, time_table
from detq.results import RunResult

__all__ = ["tables_of", "to_markdown"]


def tables_of(result: RunResult) -> Iterator[Table]:
    """Yield the tables of a run: time and size, accuracy or agreement, the speed-up by proposals; at last a summary."""
    yield time_table(result)
    makers = (split_table, _accuracy_table, agreement_table, proposals_table, summary_table)
    yield from (table for make in makers if (table := make(result)) is not None)


def to_markdown(result: RunResult) -> str:
    """Return `report.md`."""
    parts = [f"# {result.model}", f"**{result.advice}**", *(table.to_markdown() for table in tables_of(result))]
    parts.append("\n".join(f"- {line}" for line in context_lines(result)))
    if result.pictures:
        parts.append("### Pictures\n\n" + "\n\n".join(f"![{path}]({path})" for path in result.pictures))
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _accuracy_table(result: RunResult) -> Table | None:
    known = {recipe: found.accuracy for recipe, found in result.variants.items() if found.accuracy is not None}
    if not known:
        return None
    report_class = next(iter(known.values())).report_class
    return accuracy_table(
        known, images=result.data.images, score=result.score, iou=result.iou, report_class=report_class
    )
