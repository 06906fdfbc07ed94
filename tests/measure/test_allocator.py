"""Freed memory that is kept: whether the kernel is asked for the same pages again."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from detq.measure.allocator import KEEPING

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has its own policy")

FAULTS = """
import resource, sys
from detq.measure.allocator import keep_freed_memory, keeps_freed_memory
if "keep" in sys.argv:
    assert not keeps_freed_memory()
    assert keep_freed_memory()
def image():
    blocks = [b"1" * size for size in (40 << 20, 3 << 20, 64 << 20)]
for _ in range(3):
    image()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    image()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, keeps_freed_memory())
"""
PAGES = 5 * (107 << 20) // 4096


def faults(*arguments: str, **variables: str) -> tuple[int, bool]:
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, *arguments],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    pages, kept = done.stdout.split()
    return int(pages), kept == "True"


def test_without_it_every_image_takes_its_pages_anew():
    """The reason why it exists: large blocks go back to the system as soon as they are freed."""
    pages, kept = faults()
    assert not kept
    assert pages > 0.5 * PAGES


@pytest.mark.parametrize("name", KEEPING)
def test_one_of_the_variables_alone_is_not_enough(name):
    """Nothing is said to be kept, and pages are taken anew."""
    pages, kept = faults(**{name: KEEPING[name]})
    assert not kept
    assert pages > 0.5 * PAGES


@pytest.mark.parametrize(("arguments", "variables"), [(("keep",), {}), ((), KEEPING)], ids=["told", "variables"])
def test_kept_memory_is_used_again(arguments, variables):
    """Also blocks above 32 MB, which no threshold keeps from being mapped anew; either way says that it is on."""
    pages, kept = faults(*arguments, **variables)
    assert kept
    assert pages < 0.01 * PAGES
