"""The most memory that running an image takes, in the process that runs it: what inference needs beside its weights."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detq.errors import UnsupportedError
from detq.measure.memory import resident_bytes

__all__ = ["inference_peak"]

CLEAR_REFS = Path("/proc/self/clear_refs")


def inference_peak(predict: Callable[[NDArray[np.uint8]], object], images: Iterable[NDArray[np.uint8]]) -> int | None:
    """Return by how many bytes resident memory rose at most while `predict` ran on `images`.

    What was free is given back to the system before, so that variants which share a process do not use each other's
    leftovers. What only the first run costs should have happened before.

    Args:
        predict: takes one image.
        images: what to run it on, one after another.

    Returns:
        The bytes, or None where the platform does not say, or does not let the peak start anew.
    """
    peaks = []
    for image in images:
        if not _settle():
            return None
        before = resident_bytes("VmRSS")
        predict(image)
        peaks.append(resident_bytes("VmHWM") - before)
    return max(0, int(np.median(peaks))) if peaks else None


def _settle() -> bool:
    """Give back what is free, let the peak start anew, and return whether this platform can do that and tells it.

    See `man 5 proc_pid_clear_refs`.
    """
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # another libc
        ctypes.CDLL(None).malloc_trim(0)
    try:
        CLEAR_REFS.write_text("5", encoding="ascii")
        resident_bytes("VmHWM")
    except (OSError, UnsupportedError):
        return False
    return True
