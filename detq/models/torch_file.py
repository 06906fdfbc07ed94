"""Reading what `torch.save` wrote, without running code, and saying why a file is no such thing."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import torch

__all__ = ["ForbiddenError", "UnreadableError", "load_tensors", "reason_of", "refuse_other"]

_BEGINNINGS = (b"PK", b"\x80")
"""Of a zip archive, and of the pickle that torch wrote before 1.6."""


class ForbiddenError(Exception):
    """Reading the file would run code."""


class UnreadableError(Exception):
    """The file is empty, damaged or of another kind; the message says what it is, without its name."""


def load_tensors(path: Path) -> Any:
    """Return what is in a file of `torch.save`, on the CPU: tensors, plain values and containers of both.

    Raises:
        ForbiddenError: there is something else in it; nothing of it was run.
        UnreadableError: see there.
    """
    try:
        refuse_other(path, _BEGINNINGS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of pickles that are not its own, and then refuses them
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ForbiddenError from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError) as error:
        raise UnreadableError(f"a damaged file: {reason_of(error)}") from None


def refuse_other(path: Path, beginnings: tuple[bytes, ...]) -> None:
    """Raise `UnreadableError` for a file that is empty or begins with none of `beginnings`."""
    with path.open("rb") as stream:
        start = stream.read(8)
    if not start:
        raise UnreadableError("an empty file (0 bytes)")
    if not start.startswith(beginnings):
        raise UnreadableError(f"another kind of file, which begins with {start!r}")


def reason_of(error: Exception) -> str:
    """Return in a few words why a pickle could not be read."""
    if isinstance(error, EOFError):
        return "it ends too early"
    if isinstance(error, KeyError | IndexError):  # what an unpickler looks up in vain says nothing to anybody
        return "its parts do not fit together"
    # torch goes on to explain itself in several sentences.
    return (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0].rstrip(".:")
