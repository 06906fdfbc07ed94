"""How many threads a measurement uses: what the process may use, and pinning it, with what else has to stand still."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from detq.errors import UnsupportedError
from detq.machine import torch_threads
from detq.measure.allocator import keep_freed_memory

__all__ = ["available_cores", "choose_threads", "pinned_threads"]

_CGROUPS = Path("/sys/fs/cgroup")


def available_cores(groups: Path = _CGROUPS) -> int:
    """Return how many cores this process may keep busy: its CPU affinity, capped by its control group's CPU quota.

    A container with a quota of 1.5 CPUs gets 1: two threads would be throttled in turns.

    Args:
        groups: where control groups are mounted.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_cpus(groups, _read(Path("/proc/self/cgroup")))
    return affinity if quota is None else max(1, min(affinity, int(quota)))


def choose_threads(asked: int | None) -> int:
    """Return the number of threads for `--threads asked`: all available cores by default.

    Raises:
        UnsupportedError: fewer than one, or more than there are cores, whose times would say nothing.
    """
    cores = available_cores()
    if asked is None:
        return cores
    if not 1 <= asked <= cores:
        raise UnsupportedError(
            f"--threads {asked}: expected 1 to {cores}, the cores that this process may use (affinity and control "
            "group); leave it out to use them all"
        )
    return asked


@contextlib.contextmanager
def pinned_threads(threads: int, *, keep_memory: bool = False) -> Iterator[None]:
    """Let torch's operators use `threads` threads inside the block; the number before it is restored.

    Inter-operator threads stay as they are: torch can set them once in a process, and eager detectors do not use them.

    Args:
        threads: of each operator.
        keep_memory: from now on, and after the block too, the process keeps what it frees: see `keep_freed_memory`.
    """
    if keep_memory:
        keep_freed_memory()
    with torch_threads(threads):
        yield


def _cgroup_cpus(root: Path, membership: str) -> float | None:
    """Return the smallest CPU quota on the way from the process's control group to `root`, or None without one.

    Args:
        root: where control groups are mounted, version 1 or 2.
        membership: the content of `/proc/self/cgroup`: lines `hierarchy:controllers:path`.
    """
    quotas = []
    for line in membership.splitlines() or ["0::/"]:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = root if not controllers else root / "cpu"
        # Inside a container the path may be the host's, which is not mounted: the root of the mount is then the group.
        group = base / path.lstrip("/")
        folders = [folder for folder in (group, *group.parents) if folder == base or base in folder.parents]
        quotas += [quota for folder in folders if (quota := _quota(folder)) is not None]
    return min(quotas, default=None)


def _quota(folder: Path) -> float | None:
    fields = _read(folder / "cpu.max").split() or [
        _read(folder / "cpu.cfs_quota_us").strip(),
        _read(folder / "cpu.cfs_period_us").strip(),
    ]
    try:
        quota, period = float(fields[0]), float(fields[1])
    except (ValueError, IndexError):  # "max", or no such file
        return None
    return quota / period if quota > 0 and period > 0 else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
