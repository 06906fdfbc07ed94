"""This machine as compiled code sees it: the CPU from `/proc/cpuinfo`, versions of what is installed, threads."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

__all__ = [
    "CPUINFO",
    "ISA_OVERRIDES",
    "cpu_fields",
    "cpu_flags",
    "isa_overrides",
    "public_version",
    "torch_threads",
    "version_of",
]

CPUINFO = Path("/proc/cpuinfo")

ISA_OVERRIDES = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "FBGEMM_ENABLE_INSTRUCTIONS")
"""Environment variables that keep torch's libraries from instruction sets that the CPU has."""


def isa_overrides() -> dict[str, str]:
    """Return the variables of `ISA_OVERRIDES` that are set, in that order."""
    return {name: os.environ[name] for name in ISA_OVERRIDES if os.environ.get(name)}


def cpu_fields(cpuinfo: Path = CPUINFO) -> dict[str, str]:
    """Return the fields of the first processor; none where there is no such file."""
    try:
        first = cpuinfo.read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}


def cpu_flags(fields: Mapping[str, str]) -> tuple[str, ...]:
    """Return the instruction sets and features among the fields of `cpu_fields`, by the kernel's names."""
    return tuple((fields.get("flags") or fields.get("Features") or "").split())


def version_of(distribution: str, missing: str = "none") -> str:
    """Return the installed version of a distribution, or `missing`."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return missing


def public_version(version: str) -> str:
    """Return a version without its build: "2.14.1+cpu" and "2.14.1+cu130" run the same code on a CPU."""
    return version.partition("+")[0]


@contextlib.contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch's operators use `count` threads inside the block; the number before it is restored."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
