"""Tables as text, for terminals and files."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["NARROWEST", "make_table", "to_text"]

NARROWEST = 130
"""Characters that a table may take at least: on a narrower terminal its lines wrap instead of losing columns."""


def make_table(columns: Mapping[str, int]) -> Table:
    """Return an empty table: the first column to the left, the others to the right, so wide at least.

    Tables with the same columns then stand in line below each other.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, (name, width) in enumerate(columns.items()):
        table.add_column(name, justify="right" if place else "left", no_wrap=True, min_width=width)
    return table


def to_text(items: Iterable[Any], *, width: int = NARROWEST, colour: bool = False) -> str:
    """Return what rich makes of tables and lines.

    Args:
        items: rich's tables and texts, or plain strings, which are taken as they are.
        width: of the terminal, in characters.
        colour: whether to write terminal colours.
    """
    from rich.console import Console
    from rich.table import Table

    stream = io.StringIO()
    console = Console(
        file=stream,
        width=max(width, NARROWEST),
        force_terminal=colour,
        no_color=not colour,
        highlight=False,
        markup=False,
        emoji=False,
    )
    for item in items:
        console.print(item, soft_wrap=not isinstance(item, Table))
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())
