"""The end of a session: what was measured, the verdict on it, and the new baseline."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from detq.baseline import Entry, entry_from_json, merge, write_baseline
from detq.baseline.entry import is_ours
from detq.bench.comparison import Comparison, Machine
from detq.bench.rounds import Undecided, always, undecided_against
from detq.bench.settings import Settings, known_models
from detq.gate import Outcome, Selection, judge
from detq.gate.judge import latency_alpha
from detq.gate.report import github_lines, write_reports

__all__ = ["judge_run", "measured_entries", "publish", "save_baseline", "selection_of", "what_is_undecided"]


def measured_entries(config: pytest.Config) -> dict[str, Entry]:
    """Return what pytest-benchmark recorded of detq's benchmarks in this session, by variant id."""
    recorded = config._benchmarksession.benchmarks  # type: ignore[attr-defined]  # noqa: SLF001  # pytest-benchmark's
    documents = [item.as_dict(include_data=True) for item in recorded if not item.has_error]
    entries = [entry_from_json(document, "this run") for document in documents if is_ours(document)]
    return {entry.variant: entry for entry in entries}


def judge_run(run: Mapping[str, Entry], settings: Settings, comparison: Comparison, selected: Iterable[str]) -> Outcome:
    """Return the gate's outcome for what a session measured.

    Args:
        run: see `measured_entries`.
        settings: of the session.
        comparison: of the session.
        selected: ids of the variants that deselection left.
    """
    chosen = selection_of(settings, selected)
    return judge(run, comparison.choice, chosen, settings.project.gate, record=settings.record)


def selection_of(settings: Settings, selected: Iterable[str]) -> Selection:
    """Return what a session set out to measure; see `judge_run`."""
    return Selection(
        models=frozenset(settings.models),
        every_model=settings.every_model,
        registered=frozenset(variant.id for variant in settings.variants),
        selected=frozenset(selected),
        known_models=known_models(settings.models),
    )


def what_is_undecided(settings: Settings, comparison: Comparison, selected: Iterable[str]) -> Undecided | None:
    """Return what tells whether a variant needs more rounds, or None where each is measured once."""
    if settings.gate:
        alpha = latency_alpha(selection_of(settings, selected))
        return undecided_against(comparison.choice, settings.project.gate, alpha)
    return always if settings.update and settings.more_rounds else None


def save_baseline(
    config: pytest.Config, run: Mapping[str, Entry], outcome: Outcome, comparison: Comparison, machine: Machine
) -> int:
    """Write the baseline of this machine class and return how many variants it holds."""
    same = comparison.choice.baseline if comparison.choice.same_class else None
    saved = [entry.json for entry in same.entries.values()] if same else []
    benchmarks = merge([entry.json for entry in run.values()], saved, outcome.vanished)
    write_baseline(comparison.path, benchmarks, _document(config), machine.id, machine.fields, state=comparison.state)
    return len(benchmarks)


def publish(outcome: Outcome, run: Mapping[str, Entry], settings: Settings, comparison: Comparison) -> list[str]:
    """Write the reports that were asked for; return lines for the terminal, GitHub's annotations among them.

    Raises:
        OutputError: a report cannot be written.
    """
    baseline = comparison.choice.baseline
    context = {
        "machine_class": comparison.path.stem,
        "baseline": None if baseline is None else baseline.path.name,
        "images": max((len(entry.images) for entry in run.values()), default=0),
        "threads": settings.threads,
    }
    variants = {
        name: {"pairs": len(entry.images), "rounds": len(entry.timed.rounds_s), "looks": entry.looks}
        for name, entry in run.items()
    }
    write_reports(list(settings.gate_reports), outcome, context, variants)
    return github_lines(outcome) if os.environ.get("GITHUB_ACTIONS") else []


def _document(config: pytest.Config) -> dict[str, Any]:
    import pytest_benchmark

    return {
        "commit_info": config.hook.pytest_benchmark_generate_commit_info(config=config),
        "datetime": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": pytest_benchmark.__version__,
    }
