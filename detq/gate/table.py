"""The gate's table and sentences, as text."""

from __future__ import annotations

import io
from collections.abc import Mapping

from detq.baseline.entry import Entry
from detq.gate.evidence import Evidence, Verdict
from detq.gate.judge import Outcome

__all__ = ["render"]

NARROWEST = 110
STYLES = {
    Verdict.IMPROVEMENT: "cyan",
    Verdict.PASS: "green",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.REGRESSION: "bold red",
    Verdict.MISSING: "bold red",
}


def render(
    outcome: Outcome, run: Mapping[str, Entry], *, record: str, width: int = NARROWEST, colour: bool = False
) -> str:
    """Return the table, then a line for everything that somebody should act on, then the gate's last word.

    Args:
        outcome: of `judge`.
        run: what was measured, by variant id.
        record: the command that records or refreshes the baseline.
        width: of the terminal, in characters; the table takes at least 110.
        colour: whether to write terminal colours.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=io.StringIO(), width=max(width, NARROWEST), force_terminal=colour, highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("variant", "median", "AP", "report's metrics", "weights", "int8", "verdict"):
        table.add_column(name, justify="left" if name in {"variant", "verdict"} else "right", overflow="fold")
    model = None
    for variant in sorted({item.variant: None for item in outcome.evidence}):
        name, _, recipe = variant.rpartition("-")
        if name != model:
            table.add_row(Text(name, style="bold"))
            model = name
        worst = outcome.worst(variant)
        cells = _cells([item for item in outcome.evidence if item.variant == variant])
        table.add_row(f"  {recipe}", *cells, Text(_shout(worst), style=STYLES[worst]))
    if outcome.evidence:
        console.print(table)
    for line, style in _sentences(outcome, run, record):
        console.print(Text(line, style=style), soft_wrap=True)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines())


def _shout(verdict: Verdict) -> str:
    return str(verdict).upper() if verdict.fails or verdict is Verdict.INCONCLUSIVE else str(verdict)


def _cells(evidence: list[Evidence]) -> list[str]:
    by_kind: dict[str, list[Evidence]] = {}
    for item in evidence:
        by_kind.setdefault("AP" if item.name == "AP" else item.kind, []).append(item)
    return [
        _cell(by_kind.get("latency"), lambda value: f"{value * 1e3:.1f} ms", relative=True),
        _cell(by_kind.get("AP"), lambda value: f"{value:.4f}"),
        _worst_metric(by_kind.get("accuracy")),
        _cell(by_kind.get("weights"), lambda value: f"{value / 1e6:.1f} MB", relative=True),
        _cell(by_kind.get("int8"), lambda value: f"{value:.1%}"),
    ]


def _cell(items: list[Evidence] | None, show, *, relative: bool = False) -> str:  # type: ignore[no-untyped-def]  # noqa: ANN001
    if not items or items[0].now is None:
        return "n/a"
    item = items[0]
    if item.change is None:
        return f"{show(item.now)} (?)"
    return f"{show(item.now)} ({_signed(item, relative=relative)})"


def _worst_metric(items: list[Evidence] | None) -> str:
    judged = [item for item in items or [] if item.change is not None]
    if not judged:
        return "n/a"
    worst = max(judged, key=lambda item: item.change or 0.0)
    return f"{worst.name} {_signed(worst, relative=False)}"


def _signed(item: Evidence, *, relative: bool) -> str:
    """Write the change as now − before, whichever direction is the worse one."""
    if not item.change:
        return "="
    if relative:
        return f"{item.change:+.1%}"
    change = (item.now or 0.0) - (item.before or 0.0)
    return f"{change:+.2%}" if item.kind == "int8" else f"{change:+.4f}"


def _sentences(outcome: Outcome, run: Mapping[str, Entry], record: str) -> list[tuple[str, str]]:
    lines = [(f"! {note}", "yellow") for note in outcome.notes]
    lines += [
        (f"{_shout(item.verdict)} {item.variant}: {item.detail}", STYLES[item.verdict])
        for item in outcome.evidence
        if item.detail and not (item.kind == "latency" and item.before is None)
    ]
    if outcome.improved:
        better = sorted({item.variant for item in outcome.evidence if item.verdict is Verdict.IMPROVEMENT})
        lines.append(
            (f"better than the baseline beyond tolerance: {', '.join(better)}; refresh it with `{record}`", "cyan")
        )
    if outcome.failed:
        lines.append((f"gate: FAILED; mend it, or, if it is meant to be so, accept it with `{record}`", "bold red"))
    else:
        undecided = any(item.verdict is Verdict.INCONCLUSIVE for item in outcome.evidence)
        verdict = "passed, with figures that could not be judged" if undecided else "passed"
        lines.append(
            (f"gate: {verdict}: {len(run)} variant{'s' * (len(run) != 1)}", "yellow" if undecided else "green")
        )
    return lines
