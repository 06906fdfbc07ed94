"""The folder of a long job (a run, a training): whose it is, and whether this job may go on in it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detq.errors import OutputError
from detq.files import read_json, write_json

__all__ = ["OutFolder"]

MOST_SHOWN = 20
"""Members of a list that a message names."""


@dataclass(frozen=True)
class OutFolder:
    """A folder that belongs to the job whose settings lie in it.

    Attributes:
        path: the folder.
        job: what the job is called in messages: "run", "training".
        settings: the file with what the job was asked for; its presence makes the folder that job's.
        version: the format that this file states.
    """

    path: Path
    job: str
    settings: Path
    version: str

    def check(self, *, resume: bool) -> None:
        """Refuse a folder that this job cannot use, before any work is done.

        Raises:
            OutputError: it is a file, holds other things, or holds a job and `resume` is not asked for.
        """
        path = self.path
        if path.exists() and not path.is_dir():
            raise OutputError(f"--out {path}: expected a folder, found a file; choose another --out")
        if not path.exists():
            above = next(folder for folder in path.absolute().parents if folder.exists())
            if not above.is_dir():
                raise OutputError(
                    f"--out {path}: expected a folder above it, found the file {above}; choose another --out"
                )
            if not os.access(above, os.W_OK | os.X_OK):
                raise OutputError(f"--out {path}: no permission to write in {above}; choose another --out")
            return
        if not any(path.iterdir()):
            return
        if not self.settings.is_file():
            raise OutputError(
                f"--out {path}: expected a new or empty folder, or one with an earlier {self.job}'s "
                f"{self.settings.name}; found other files, so choose another --out"
            )
        if not resume:
            raise OutputError(
                f"--out {path}: holds another {self.job}'s results; add --resume to go on with it, or choose another "
                "--out"
            )

    def claim(self, settings: Mapping[str, Any]) -> None:
        """Make the folder this job's, or make sure that it is.

        Args:
            settings: all that the results depend on, as JSON's own types.

        Raises:
            OutputError: it belongs to a job with other settings; the message names them.
        """
        if not self.settings.is_file():
            write_json(self.settings, {"format": self.version, "settings": dict(settings)})
            return
        content = read_json(self.settings, OutputError, f"the earlier {self.job}'s settings")
        stated = content.get("format") if isinstance(content, dict) else None
        if stated != self.version or not isinstance(content["settings"], dict):
            raise OutputError(
                f"{self.settings}: expected settings in format {self.version}, found {stated}; choose another --out"
            )
        differences = list(_differences(content["settings"], settings))
        if differences:
            raise OutputError(
                f"--out {self.path}: --resume needs the same {self.job}, but {'; '.join(differences)}; repeat the "
                "arguments of then, or choose another --out"
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder against a second job in it; the lock goes with the process, however that ends.

        Raises:
            OutputError: another process holds it.
        """
        try:
            import fcntl
        except ImportError:  # not on Windows, where two jobs in one folder stay the user's own affair
            yield
            return
        with self.settings.open("rb") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise OutputError(
                    f"--out {self.path}: another {self.job} is writing there; wait for it, or choose another --out"
                ) from None
            yield


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], of: str = "") -> Iterator[str]:
    for key in dict.fromkeys([*before, *now]):
        old, new, name = before.get(key), now.get(key), f"{of}{key.replace('_', ' ')}"
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new, f"{name} ")
        else:
            yield f"{name} was {_show(old)} and is now {_show(new)}"


def _show(value: Any) -> str:
    if value is None:
        return "not given"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        shown = [_show(one) for one in value[:MOST_SHOWN]]
        return ", ".join([*shown, f"… ({len(value)})"] if len(value) > MOST_SHOWN else shown)
    return " ".join(map(_show, value.values())) if isinstance(value, dict) else str(value)
