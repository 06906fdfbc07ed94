"""The paired gate's table and sentences, as text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from detq.gate.evidence import Evidence, Verdict
from detq.gate.judge import Outcome
from detq.gate.table import STYLES, shout
from detq.gate.text import NARROWEST, make_table, to_text

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

__all__ = ["cells_of", "last_word", "render_paired"]

COLUMNS = dict.fromkeys(
    ("variant", "median", "head / base", "noise", "AP", "fp32 kept", "weights", "memory", "in int8", "verdict"), 0
)
WIDTH = 160
"""Characters of the widest table: one with changes in every column."""


def render_paired(
    outcome: Outcome, variants: Mapping[str, Mapping[str, Any]], *, width: int = NARROWEST, colour: bool = False
) -> str:
    """Return the table, a line for everything that somebody should act on, and the gate's last word.

    Args:
        outcome: what was found.
        variants: id -> "pairs" and "noise_floor" of what was measured.
        width: of the terminal, in characters.
        colour: whether to write terminal colours.
    """
    from rich.text import Text

    lines = [Text(f"! {note}", style="bold yellow") for note in outcome.notes]
    lines += [
        Text(f"{shout(item.verdict)} {item.variant}: {item.detail}", style=STYLES[item.verdict])
        for item in outcome.evidence
        if item.detail
    ]
    word, style = last_word(outcome)
    return to_text([_table(outcome, variants), *lines, Text(word, style=style)], width=max(width, WIDTH), colour=colour)


def _table(outcome: Outcome, variants: Mapping[str, Mapping[str, Any]]) -> Table:
    from rich.text import Text

    table = make_table(COLUMNS)
    names = list(dict.fromkeys(item.variant for item in outcome.evidence))
    several = len({name.rpartition("-")[0] for name in names}) > 1
    for variant in names:
        worst = outcome.worst(variant)
        cells: list[str | Text] = list(cells_of(outcome, variant, variants.get(variant, {})))
        cells[0] = variant if several else cells[0]
        table.add_row(*cells, Text(shout(worst), style=STYLES[worst]))
    return table


def cells_of(outcome: Outcome, variant: str, measured: Mapping[str, Any]) -> list[str]:
    """Return what stands in a variant's row before the verdict."""
    found = {(item.kind, item.name): item for item in outcome.evidence if item.variant == variant}
    median = found.get(("latency", "median"))
    floor = measured.get("noise_floor")
    return [
        variant.rpartition("-")[2],
        "n/a" if median is None or median.now is None else f"{median.now * 1e3:.1f} ms",
        _ratio(median),
        "n/a" if floor is None else f"{floor:.1%}",
        _figure(found.get(("accuracy", "AP")), "{:.4f}", "{:+.4f}"),
        _figure(found.get(("accuracy", "fp32 detections kept")), "{:.1%}", "{:+.1%}"),
        _figure(found.get(("weights", "weight_bytes")), "{:.1f} MB", "{:+.1%}", scale=1e-6, relative=True),
        _figure(found.get(("memory", "peak")), "{:.0f} MB", "{:+.1%}", scale=1e-6, relative=True),
        _figure(found.get(("int8", "int8_share")), "{:.1%}", "{:+.1%}"),
    ]


def _ratio(item: Evidence | None) -> str:
    if item is None or item.change is None or item.low is None or item.high is None:
        return "n/a"
    if math.isinf(item.high):
        return f"{1 + item.change:.3f} (too few)"
    return f"{1 + item.change:.3f} ({1 + item.low:.3f} to {1 + item.high:.3f})"


def _figure(item: Evidence | None, plain: str, signed: str, *, scale: float = 1.0, relative: bool = False) -> str:
    """Write head's figure and, where it differs, head − base, whichever direction is the worse one."""
    if item is None or item.now is None or item.before is None:
        return "n/a"
    text = plain.format(item.now * scale)
    change = (item.now / item.before - 1 if item.before else 0.0) if relative else item.now - item.before
    difference = signed.format(change)
    return text if not any(digit in "123456789" for digit in difference) else f"{text} ({difference})"


def last_word(outcome: Outcome) -> tuple[str, str]:
    """Return the gate's verdict on the whole run in a sentence, and its style."""
    variants = {item.variant for item in outcome.evidence}
    worst = {variant: outcome.worst(variant) for variant in variants}
    failed = sorted(variant for variant, verdict in worst.items() if verdict.fails)
    undecided = sorted(variant for variant, verdict in worst.items() if verdict is Verdict.INCONCLUSIVE)
    count = f"{len(variants)} variant{'s' * (len(variants) != 1)}"
    if outcome.failed:
        return f"gate: FAILED: {', '.join(failed) or 'nothing was measured'}", "bold red"
    better = f"; better beyond tolerance: {', '.join(outcome.better)}; refresh the baseline" if outcome.improved else ""
    if undecided:
        return f"gate: passed, but {len(undecided)} of {count} had figures that could not be judged{better}", "yellow"
    return f"gate: passed: {count}{better}", "cyan" if better else "green"
