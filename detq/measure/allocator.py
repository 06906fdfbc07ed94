"""Keeping the memory that was freed: whether a process does so decides how fast eager torch is.

glibc gives large blocks back to the system as soon as they are freed, and the next image takes them anew: page by page,
zeroed, in the kernel. Feature maps are such blocks. Whether smaller ones go back depends on what happens to lie above
them, so that one process is several percent slower than the next with the same code. `benchmarks/allocator_study.py`
measures both; see `man 3 mallopt`.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform

__all__ = ["KEEPING", "keep_freed_memory", "keeps_freed_memory"]

KEEPING = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}
"""Environment variables with which a process that is yet to start does what `keep_freed_memory` does."""

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_NEVER = -1


@functools.cache
def keep_freed_memory() -> bool:
    """Let this process keep what it frees, for its own later use, from now on; return whether its C library can.

    Its resident memory stays at the most that it ever needed. Other C libraries than glibc have their own policies.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return bool(library.mallopt(_M_MMAP_MAX, 0)) and bool(library.mallopt(_M_TRIM_THRESHOLD, _NEVER))


def keeps_freed_memory() -> bool:
    """Return whether this process was told to, by `keep_freed_memory` or by the variables of `KEEPING`."""
    told = keep_freed_memory.cache_info().currsize > 0 and keep_freed_memory()  # the answer of a call before
    return told or all(os.environ.get(name) == value for name, value in KEEPING.items())
