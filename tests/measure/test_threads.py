"""Threads: what the process may use, and pinning it."""

from __future__ import annotations

import contextlib
import os

import pytest
import torch

from detq.errors import UnsupportedError
from detq.measure.threads import _cgroup_cpus, available_cores, choose_threads, pinned_threads


def test_no_more_cores_than_the_affinity_allows():
    """taskset and Docker's --cpuset-cpus count, not what the machine has."""
    assert 1 <= available_cores() <= len(os.sched_getaffinity(0))


def test_affinity_is_respected():
    """A process bound to one core may use one."""
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert available_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    ("files", "membership", "expected"),
    [
        ({"cpu.max": "150000 100000"}, "0::/", 1.5),
        ({"cpu.max": "max 100000"}, "0::/", None),
        ({}, "0::/", None),
        ({"a/b/cpu.max": "50000 100000", "a/cpu.max": "400000 100000"}, "0::/a/b", 0.5),
        ({"a/b/cpu.max": "max 100000", "a/cpu.max": "200000 100000"}, "0::/a/b", 2.0),
        ({"cpu.max": "300000 100000"}, "0::/docker/not-mounted-here", 3.0),
        ({"cpu/cpu.cfs_quota_us": "250000", "cpu/cpu.cfs_period_us": "100000"}, "4:cpu,cpuacct:/", 2.5),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "4:cpu,cpuacct:/", None),
        ({"cpu.max": "nonsense"}, "0::/", None),
        ({"cpu.max": "200000 100000"}, "", 2.0),
    ],
)
def test_a_control_groups_quota_is_found(files, membership, expected, tmp_path):
    """Versions 1 and 2, nested groups, and containers that see only the root of their own."""
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    assert _cgroup_cpus(tmp_path, membership) == expected


@pytest.mark.parametrize(("quota", "expected"), [(100_000, 1), (30_000, 1), (10**9, len(os.sched_getaffinity(0)))])
def test_a_quota_limits_the_cores(quota, expected, tmp_path):
    """A container uses no more than it was given, at least one thread, and no more than there are cores."""
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu.max").write_text(f"{quota} 100000", encoding="utf-8")
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(str(quota), encoding="utf-8")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000", encoding="utf-8")
    assert available_cores(tmp_path) == expected


def test_all_available_cores_by_default():
    """What the process may use, it uses."""
    assert choose_threads(None) == available_cores()
    assert choose_threads(1) == 1


@pytest.mark.parametrize("asked", [0, -1, 100_000])
def test_an_impossible_number_of_threads_is_refused(asked):
    """More threads than cores take turns, and their times say nothing."""
    with pytest.raises(UnsupportedError, match=f"--threads {asked}: expected 1 to"):
        choose_threads(asked)


def test_threads_are_restored_also_after_an_error():
    """Global state changes in context managers."""
    before = torch.get_num_threads()
    with contextlib.suppress(RuntimeError), pinned_threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise RuntimeError("stop")
    assert torch.get_num_threads() == before
