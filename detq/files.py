"""Writing files so that a reader never sees half of one, and telling files apart."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from detq.errors import OutputError

__all__ = ["atomic_folder", "atomic_path", "file_sha256", "read_json", "write_json", "write_text"]


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` to write to; on success it is renamed to `path`, on any error removed.

    Raises:
        OutputError: the folder cannot be written, or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise OutputError(_why(path, error)) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        _rename(temporary, path)
    except OSError as error:
        raise OutputError(_why(path, error)) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path` to fill; on success it is renamed to `path`, on any error removed.

    Raises:
        OutputError: `path` is a file or holds something, the place cannot be written, or the disk is full.
    """
    path = path.resolve()  # a rename needs the folder's own name: "." and links have another
    if path.exists() and not path.is_dir():
        raise OutputError(f"--out {path}: expected a folder, found a file; choose another --out")
    if path.is_dir() and any(path.iterdir()):
        raise OutputError(f"--out {path}: expected a new or empty folder, found other files; choose another --out")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    except OSError as error:
        raise OutputError(_why(path, error)) from error
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise OutputError(_why(path, error)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


def _rename(temporary: Path, path: Path) -> None:
    with temporary.open("rb") as written:
        os.fsync(written.fileno())
    # mkstemp makes files that only their owner may read; results are for everybody whom the umask lets.
    temporary.chmod(0o666 & ~_umask())
    temporary.replace(path)


def _why(path: Path, error: OSError) -> str:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return f"cannot write {path}: {error.strerror or error}; {'free some space or ' * full}choose another place"


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` as indented JSON, whole or not at all. NaN is refused: JSON has none."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path, error: type[Exception], what: str) -> Any:
    """Return the JSON in `path`, or raise `error` with a sentence that names the file as `what`."""
    try:
        stream: IO[str]
        with path.open(encoding="utf-8") as stream:
            return json.load(stream)
    except FileNotFoundError:
        raise error(f"{what} {path} does not exist") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as cause:
        raise error(f"{what} {path} is not readable JSON: {cause}") from None
