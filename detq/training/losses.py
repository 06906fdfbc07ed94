"""The losses of each step as a CSV file that survives interruptions, and their running mean."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from detq.errors import OutputError
from detq.files import write_text

__all__ = ["LossFile", "Smoothed", "final_losses"]

_FIXED = ("step", "learning_rate", "short_side")


class LossFile:
    """One row a step, written when the step is done; closed by `opened`."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._writer = csv.writer(stream, lineterminator="\n")

    @classmethod
    @contextlib.contextmanager
    def opened(cls, path: Path, done: int) -> Iterator[LossFile]:
        """Open `path` to append to, after dropping the rows of steps that a killed process did beyond the checkpoint.

        Args:
            path: the file.
            done: steps that the checkpoint has; later rows, and a row that was half written, are dropped.
        """
        if path.is_file():
            write_text(path, _head(path.read_text(encoding="utf-8"), done))
        try:
            with path.open("a", encoding="utf-8", newline="") as stream:
                yield cls(stream)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}; free some space") from error

    def write(self, step: int, learning_rate: float, short_side: int, losses: Mapping[str, float]) -> None:
        """Append the row of `step`, which counts from 1, and hand it to the system."""
        if self._stream.tell() == 0:
            self._writer.writerow([*_FIXED, "total", *losses])
        # repr of a float reads back as the same float, so a resumed file equals an uninterrupted one.
        row = [step, repr(learning_rate), short_side, sum(losses.values()), *losses.values()]
        self._writer.writerow(row)
        self._stream.flush()


def _head(text: str, done: int) -> str:
    lines = text.splitlines(keepends=True)
    kept = [line for line in lines[1:] if line.endswith("\n") and int(line.split(",")[0]) <= done]
    return "".join([*lines[:1], *kept]) if kept else ""


def final_losses(path: Path, share: float = 0.05) -> dict[str, float]:
    """Return the mean of each loss over the last `share` of the steps, at least ten of them."""
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    last = rows[-max(10, round(len(rows) * share)) :]
    names = [name for name in (rows[0] if rows else {}) if name not in _FIXED]
    return {name: sum(float(row[name]) for row in last) / len(last) for name in names}


class Smoothed:
    """Exponential means of named values, without the bias of a start at 0."""

    def __init__(self, decay: float = 0.95) -> None:
        self._decay = decay
        self._weight = 0.0
        self._sums: dict[str, float] = {}

    def update(self, values: Mapping[str, float]) -> dict[str, float]:
        """Take in one step's values and return the means up to now."""
        self._weight = self._decay * self._weight + (1 - self._decay)
        for name, value in values.items():
            self._sums[name] = self._decay * self._sums.get(name, 0.0) + (1 - self._decay) * value
        return {name: total / self._weight for name, total in self._sums.items()}
