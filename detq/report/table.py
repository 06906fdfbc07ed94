"""A table of text that goes to a terminal and to Markdown alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import rich.table

    from detq.metrics.bootstrap import Interval

__all__ = ["Table", "bytes_text", "interval_text"]


@dataclass(frozen=True)
class Table:
    """Cells of text.

    Attributes:
        title: what the table says.
        columns: headings.
        rows: as many cells each as there are columns.
        notes: sentences below the table.
        words: how many columns from the left hold words; the others hold numbers and are aligned to the right.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    words: int = 1

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row must have {len(self.columns)} cells as the heading has, got {row}")

    def to_rich(self) -> rich.table.Table:
        """Return it for `rich.print`."""
        from rich.table import Table as RichTable
        from rich.text import Text

        table = RichTable(title=Text(self.title) if self.title else None, title_justify="left", caption=None)
        for number, column in enumerate(self.columns):
            table.add_column(column, justify="left" if number < self.words else "right", no_wrap=not number)
        for row in self.rows:
            table.add_row(*(Text(cell) for cell in row))  # Text: a "[" in a name is no markup
        return table

    def to_markdown(self) -> str:
        """Return it as a section with a Markdown table."""
        lines = [
            f"### {self.title}",
            "",
            _line(self.columns),
            "|---" * self.words + "|---:" * (len(self.columns) - self.words) + "|",
        ]
        lines += [_line(row) for row in self.rows]
        if self.notes:
            lines += ["", *(f"{note}  " for note in self.notes)]
        return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", "<br>") for cell in cells) + " |"


def interval_text(interval: Interval | None, digits: int, *, signed: bool = False) -> str:
    """Return `1.18 (1.15 to 1.21)`, or "n/a" for None."""
    if interval is None:
        return "n/a"
    sign = "+" if signed else ""
    low, high = (f"{value:{sign}.{digits}f}" for value in (interval.low, interval.high))
    return f"{interval.estimate:{sign}.{digits}f} ({low} to {high})"


def bytes_text(count: int | None) -> str:
    """Return a number of bytes in megabytes of a million bytes, or "n/a"."""
    return "n/a" if count is None else f"{count / 1e6:.1f} MB"
