"""Writing a baseline: what this run measured, beside what the file knew of variants that this run left out."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from detq.baseline.entry import is_ours
from detq.baseline.scrub import private_words, scrub, scrub_commit, scrub_machine
from detq.errors import BaselineError, OutputError
from detq.files import file_sha256, write_text

__all__ = ["dump", "merge", "state_of", "write_baseline"]

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
    state: str | None = None,
) -> None:
    """Write `benchmarks` to `path` in pytest-benchmark's format, without anything that tells where they were made.

    Args:
        path: the machine class's file; replaced whole or not at all.
        benchmarks: see `merge`.
        document: pytest-benchmark's own JSON of this run, for its version, date and commit.
        machine_class: id.
        fields: what makes up the class.
        words: what to blot out; this machine's `private_words()` by default.
        state: what `state_of` said of the file when it was read; None to replace it whatever it is.

    Raises:
        BaselineError: another run has written the file in the meantime; it stays as it is.
        OutputError: the folder cannot be written.
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
    with _only_writer(path.parent):
        if state is not None and state_of(path) != state:
            raise BaselineError(
                f"baseline {path} changed while this run measured: another run wrote it, or it was edited; nothing was "
                "overwritten; start one update after the other"
            )
        write_text(path, text)


def state_of(path: Path) -> str:
    """Return what identifies the content of a file, or that there is none."""
    return file_sha256(path) if path.is_file() else "none"


@contextlib.contextmanager
def _only_writer(folder: Path) -> Iterator[None]:
    """Let one process at a time compare and replace; the lock is on the folder and leaves nothing behind."""
    import fcntl

    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise OutputError(f"cannot write to the folder of baselines {folder}: {error.strerror}; mend that") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


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
