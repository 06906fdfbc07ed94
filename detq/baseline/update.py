"""Writing a baseline: what this run measured, beside what the file knew of variants that this run left out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from detq.baseline.entry import is_ours
from detq.baseline.scrub import private_words, scrub, scrub_commit, scrub_machine
from detq.files import write_text

__all__ = ["dump", "merge", "write_baseline"]

MICROSECONDS = 6
# What a benchmark is found by: left as it is, whatever the user or the host is called.
IDENTITY = ("group", "name", "fullname", "param", "params")
INFO_IDENTITY = ("format", "variant", "model", "recipe")


def merge(
    measured: Sequence[Mapping[str, Any]], saved: Iterable[Mapping[str, Any]], vanished: Iterable[str]
) -> list[Mapping[str, Any]]:
    """Return the benchmarks of the new file, sorted by variant.

    Args:
        measured: this run's; they replace what was saved of the same variants.
        saved: the old file's; kept where this run left the variant out (a deselected one, another model's).
        vanished: variants that no longer exist; they are dropped.
    """
    gone = set(vanished) | {benchmark["extra_info"]["variant"] for benchmark in measured}
    kept = [entry for entry in saved if is_ours(entry) and entry["extra_info"]["variant"] not in gone]
    return sorted([*kept, *measured], key=lambda benchmark: str(benchmark["extra_info"]["variant"]))


def write_baseline(
    path: Path,
    benchmarks: Sequence[Mapping[str, Any]],
    document: Mapping[str, Any],
    machine_class: str,
    fields: Mapping[str, Any],
    *,
    words: Iterable[str] | None = None,
) -> None:
    """Write `benchmarks` to `path` in pytest-benchmark's format, without anything that tells where they were made.

    Args:
        path: the machine class's file; replaced whole or not at all.
        benchmarks: see `merge`.
        document: pytest-benchmark's own JSON of this run, for its version, date and commit.
        machine_class: id.
        fields: what makes up the class.
        words: what to blot out; this machine's `private_words()` by default.
    """
    hidden = private_words() if words is None else tuple(words)
    text = dump(
        {
            "machine_info": scrub(scrub_machine(machine_class, fields), hidden),
            "commit_info": scrub_commit(document.get("commit_info", {})),
            "benchmarks": [_small(_scrub_benchmark(benchmark, hidden)) for benchmark in benchmarks],
            "datetime": document.get("datetime"),
            "version": document.get("version"),
        }
    )
    write_text(path, text)


def _scrub_benchmark(benchmark: Mapping[str, Any], words: tuple[str, ...]) -> dict[str, Any]:
    clean = scrub(benchmark, words)
    info = benchmark["extra_info"]
    clean["extra_info"] |= {key: info[key] for key in INFO_IDENTITY if key in info}
    return {**clean, **{key: benchmark[key] for key in IDENTITY if key in benchmark}}


def _small(benchmark: dict[str, Any]) -> dict[str, Any]:
    """Round times to microseconds: finer digits are noise, and thrice the bytes."""
    stats = {name: _round(value) for name, value in benchmark["stats"].items()}
    return {**benchmark, "stats": stats}


def _round(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, MICROSECONDS)
    return [round(item, MICROSECONDS) for item in value] if isinstance(value, list) else value


def dump(value: Any, indent: str = "") -> str:
    """Return indented JSON in which a list of plain values takes one line: a file that `git diff` can show."""
    deeper = indent + "  "
    if isinstance(value, Mapping) and value:
        lines = [f"{deeper}{json.dumps(str(key))}: {dump(item, deeper)}" for key, item in value.items()]
        text = "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    elif isinstance(value, list) and any(isinstance(item, (Mapping, list)) for item in value):
        text = "[\n" + ",\n".join(deeper + dump(item, deeper) for item in value) + f"\n{indent}]"
    else:
        text = json.dumps(value, allow_nan=False)
    return text if indent else text + "\n"
