"""Saved benchmarks as pytest-benchmark writes them."""

from __future__ import annotations

import pytest

from detq.baseline.entry import FORMAT
from tests.matches import packed


@pytest.fixture
def benchmark_json():
    """A function that makes the JSON of one saved benchmark."""

    def make(variant="tiny-dynamic_int8", *, images=4, **info):
        model, _, recipe = variant.rpartition("-")
        name = f"test_latency[{variant}]"
        return {
            "group": model,
            "name": name,
            "fullname": f"benchmarks/test_latency.py::{name}",
            "params": {"detq_variant": variant},
            "param": variant,
            "options": {"timer": "virtual_clock"},
            "stats": {"data": [0.1 * (place + 1) for place in range(images)], "median": 0.25, "rounds": images},
            "extra_info": {
                "format": FORMAT,
                "variant": variant,
                "model": model,
                "recipe": recipe,
                "weights": "own",
                "weight_bytes": 1000,
                "int8_share": 0.5,
                "speedup": {"estimate": 1.2, "low": 1.1, "high": 1.3},
                "per_image": {
                    "images": [f"{place:08x}" for place in range(images)],
                    "control_ms": [10.0] * images,
                    "matches": packed(images),
                    "metrics": {"recall": [0.8] * images},
                },
                **info,
            },
        }

    return make
