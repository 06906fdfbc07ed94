"""Every error that detq raises for a user's mistake, as one tree under `DetqError`.

A message says what is wrong in one sentence that names the file or option, what was expected, what was found, and what
to do about it. The command line prints that sentence and exits with `DetqError.exit_code`; nobody sees a traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "ArtifactError",
    "BaselineError",
    "DataError",
    "DetqError",
    "ModelFileError",
    "OutputError",
    "QuantizationError",
    "UnknownNameError",
    "UnsupportedError",
    "WeightsError",
    "unknown_name",
]


class DetqError(Exception):
    """A mistake that the user can mend. The message is complete without a traceback."""

    exit_code = 2


class DataError(DetqError):
    """An image, a label file or a data set that cannot be used as it is."""


class WeightsError(DetqError):
    """Weights that are missing, unreadable, or of another architecture or class count."""


class ModelFileError(DetqError):
    """A file of a whole model, TorchScript for instance, that cannot be read or is no detector."""


class QuantizationError(DetqError):
    """A recipe that converted nothing, or was asked for what it cannot convert."""


class UnsupportedError(DetqError):
    """A combination that is declared unsupported; the message gives the reason."""


class UnknownNameError(DetqError):
    """A model, recipe, variant, format or class that is not in the list."""


class OutputError(DetqError):
    """An output folder or file that cannot be written, or holds another run's results."""


class BaselineError(DetqError):
    """A saved baseline that is missing, unreadable or of another format."""


class ArtifactError(DetqError):
    """A compiled or exported file that is missing, damaged, or made for another machine or version."""


def unknown_name(kind: str, name: str, choices: Iterable[str]) -> UnknownNameError:
    """Return the error for a `name` that is not among `choices`, offering the closest ones.

    >>> unknown_name("recipe", "dynamic_in8", ["fp32", "dynamic_int8"]).args[0]
    "unknown recipe 'dynamic_in8'; did you mean dynamic_int8? Choices: dynamic_int8, fp32"
    """
    known = sorted(choices)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(close)}?" if close else "."
    return UnknownNameError(f"unknown {kind} {name!r}{hint} Choices: {', '.join(known) or 'none'}")
