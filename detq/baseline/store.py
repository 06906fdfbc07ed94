"""Reading the folder of baselines and choosing the file that a run is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detq.baseline.entry import Entry, entry_from_json, is_ours
from detq.errors import BaselineError
from detq.files import read_json

__all__ = ["Baseline", "Choice", "choose", "read_baseline", "read_baselines"]


@dataclass(frozen=True)
class Baseline:
    """One file of saved benchmarks.

    Attributes:
        path: the file.
        machine_class: id of the class of machines that it was recorded on.
        fields: what makes up that class.
        entries: what was recorded, by variant id.
        json: the whole document, pytest-benchmark's own.
    """

    path: Path
    machine_class: str
    fields: Mapping[str, Any]
    entries: Mapping[str, Entry]
    json: Mapping[str, Any]


@dataclass(frozen=True)
class Choice:
    """The baseline that a run is compared with.

    Attributes:
        baseline: it, or None where there is none at all.
        same_class: whether it was recorded on this machine class, so that times can be compared.
    """

    baseline: Baseline | None
    same_class: bool


def read_baseline(path: Path) -> Baseline:
    """Return the baseline in `path`.

    Raises:
        BaselineError: the file is no pytest-benchmark JSON, is damaged, or holds none of detq's benchmarks.
    """
    try:
        document = read_json(path, BaselineError, "baseline")
    except BaselineError as error:
        raise BaselineError(
            f"{error}; restore the file, or remove it and record it again with --detq-gate-update"
        ) from None
    try:
        machine = document["machine_info"]
        machine_class, fields = str(machine["machine_class"]), dict(machine["fields"])
        ours = [benchmark for benchmark in document["benchmarks"] if is_ours(benchmark)]
    except (KeyError, TypeError, AttributeError, ValueError):
        raise BaselineError(
            f"baseline {path}: expected a file that --detq-gate-update wrote, got other JSON; remove or restore it"
        ) from None
    entries = [entry_from_json(benchmark, f"baseline {path}") for benchmark in ours]
    if not entries:
        raise BaselineError(f"baseline {path} holds no benchmark; remove it or restore it")
    by_variant = {entry.variant: entry for entry in entries}
    if len(by_variant) != len(entries):
        raise BaselineError(f"baseline {path} holds a variant twice; record it again with --detq-gate-update")
    return Baseline(path, machine_class, fields, by_variant, document)


def read_baselines(folder: Path) -> list[Baseline]:
    """Return the baselines in `folder`, by file name; none where there is no such folder.

    Raises:
        BaselineError: see `read_baseline`.
    """
    return [read_baseline(path) for path in sorted(folder.glob("*.json"))]


def choose(baselines: Sequence[Baseline], machine_class: str, fields: Mapping[str, Any]) -> Choice:
    """Return the baseline of `machine_class`, or else the one whose machine is most like it.

    Accuracy, size and int8 share hardly depend on the machine, so any class can judge them; the more of its fields
    agree (instruction sets, torch version), the less. Of equals the first by file name wins, so that the choice is
    the same everywhere.
    """
    for baseline in baselines:
        if baseline.machine_class == machine_class:
            return Choice(baseline, same_class=True)
    alike = sorted(baselines, key=lambda baseline: -_agreeing(baseline.fields, fields))
    return Choice(alike[0] if alike else None, same_class=False)


def _agreeing(one: Mapping[str, Any], other: Mapping[str, Any]) -> int:
    return sum(name in other and other[name] == value for name, value in one.items())
