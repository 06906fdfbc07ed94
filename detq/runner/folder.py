"""The folder of a run: whose it is, and whether this run may go on in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from detq.errors import OutputError
from detq.files import read_json, write_json

__all__ = ["check_folder", "claim_folder", "locked"]

FORMAT = "detq-run-settings/1"
SETTINGS = "run.json"

Settings = Mapping[str, Any]


def check_folder(path: Path, *, resume: bool) -> None:
    """Refuse a folder that this run cannot use, before any work is done.

    Raises:
        OutputError: it is a file, holds other things, or holds a run and `resume` is not asked for.
    """
    if path.exists() and not path.is_dir():
        raise OutputError(f"--out {path}: expected a folder, found a file; choose another --out")
    if not path.exists() or not any(path.iterdir()):
        return
    if not (path / SETTINGS).is_file():
        raise OutputError(
            f"--out {path}: expected a new or empty folder, or one with an earlier run's {SETTINGS}; found other "
            "files, so choose another --out"
        )
    if not resume:
        raise OutputError(
            f"--out {path}: holds another run's results; add --resume to go on with it, or choose another --out"
        )


def claim_folder(path: Path, settings: Settings) -> None:
    """Make the folder this run's, or make sure that it is.

    Args:
        path: the folder; it is made where it is missing.
        settings: all that results depend on, as JSON's own types.

    Raises:
        OutputError: it belongs to a run with other settings; the message names them.
    """
    file = path / SETTINGS
    if not file.is_file():
        write_json(file, {"format": FORMAT, "settings": dict(settings)})
        return
    content = read_json(file, OutputError, "the earlier run's settings")
    if not isinstance(content, dict) or content.get("format") != FORMAT or not isinstance(content["settings"], dict):
        raise OutputError(f"--out {path}: {SETTINGS} is not a file of this version of detq; choose another --out")
    differences = list(_differences(content["settings"], settings))
    if differences:
        raise OutputError(
            f"--out {path}: --resume needs the same run, but {'; '.join(differences)}; repeat the arguments of "
            "then, or choose another --out"
        )


def _differences(before: Settings, now: Settings) -> Iterator[str]:
    for key in dict.fromkeys([*before, *now]):
        if before.get(key) != now.get(key):
            yield f"{key.replace('_', ' ')} was {_show(before.get(key))} and is now {_show(now.get(key))}"


def _show(value: Any) -> str:
    if value is None:
        return "not given"
    if isinstance(value, bool):
        return "on" if value else "off"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the folder against a second run in it; the lock goes with the process, however that ends.

    Raises:
        OutputError: another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # not on Windows, where two runs in one folder stay the user's own affair
        yield
        return
    with (path / SETTINGS).open("rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(
                f"--out {path}: another detq run is writing there; wait for it, or choose another --out"
            ) from None
        yield
        with suppress(OSError):
            fcntl.flock(stream, fcntl.LOCK_UN)
