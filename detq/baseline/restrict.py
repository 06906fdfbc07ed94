"""A baseline cut down to the images that a shorter run measures, so that medians are those of the same images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from detq.baseline.entry import is_ours

__all__ = ["restrict"]


def restrict(document: Mapping[str, Any], images: int) -> dict[str, Any]:
    """Return pytest-benchmark's JSON with each of detq's benchmarks cut to its first `images` rounds.

    pytest-benchmark compares whole runs. Images differ in how long they take, so the median of 16 images is not to be
    held against that of 200.
    """
    benchmarks = [
        {**benchmark, "stats": _statistics(benchmark["stats"], images)} if is_ours(benchmark) else benchmark
        for benchmark in document["benchmarks"]
    ]
    return {**document, "benchmarks": benchmarks}


def _statistics(stats: Mapping[str, Any], images: int) -> dict[str, Any]:
    data = list(stats["data"])[:images]
    if len(data) == len(stats["data"]):
        return dict(stats)
    from pytest_benchmark.stats import Stats

    cut: Any = Stats()  # type: ignore[no-untyped-call]
    for seconds in data:
        cut.update(seconds)
    return {**stats, **cut.as_dict(), "data": data}
