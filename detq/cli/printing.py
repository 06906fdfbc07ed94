"""Tables with their notes, on a terminal and in a log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from detq.report.table import Table

__all__ = ["print_table", "wide_console"]


def wide_console() -> Console:
    """Return a console on standard output that does not fold tables at 80 columns where it writes a log."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=160)


def print_table(console: Console, table: Table) -> None:
    """Print a table, its notes below it, and an empty line."""
    console.print(table.to_rich())
    for note in table.notes:
        console.print(Text(note, style="dim"))
    console.print()
