"""Entries as a run would make them, for tests of pure functions on them."""

from __future__ import annotations

from pathlib import Path

import pytest

from detq.baseline import Baseline, Choice, entry_from_json
from detq.baseline.entry import FORMAT
from detq.gate import Selection
from tests.matches import RIGHT, packed

MODEL = "tiny.model:build"
IMAGES = 24


def benchmark(
    variant=f"{MODEL}-dynamic_int8",
    *,
    images=IMAGES,
    time_s=0.1,
    right=RIGHT,
    masks=None,
    recall=0.8,
    found=(),
    kept=(),
    **info,
):
    model, _, recipe = variant.rpartition("-")
    return {
        "group": model,
        "name": f"test_latency[{variant}]",
        "fullname": f"benchmarks/test_latency.py::test_latency[{variant}]",
        "params": {"detq_variant": variant},
        "param": variant,
        "options": {},
        "stats": {"data": [time_s] * images, "median": time_s, "rounds": images},
        "extra_info": {
            "format": FORMAT,
            "variant": variant,
            "model": model,
            "recipe": recipe,
            "weights": "own",
            "weight_bytes": 1_000_000,
            "int8_share": 0.0 if recipe == "fp32" else 0.66,
            "speedup": None if recipe == "fp32" else {"estimate": 1.2, "low": 1.1, "high": 1.3},
            "per_image": {
                "images": [f"{index:08x}" for index in range(images)],
                "control_ms": [10.0] * images,
                **({} if right is None else {"matches": packed(images, right)}),
                **({} if masks is None else {"mask_matches": packed(images, masks)}),
                "metrics": {"precision": [0.9] * images, "recall": [recall] * images},
                "reference_found": list(found),
                "reference_kept": list(kept),
            },
            **info,
        },
    }


def entry(*args, **changes):
    return entry_from_json(benchmark(*args, **changes), "test")


def baseline(*entries, name="this-class"):
    return Baseline(
        Path("benchmarks/baselines") / f"{name}.json", name, {}, {item.variant: item for item in entries}, {}
    )


def selection(*variants, every_model=True, models=(MODEL,), registered=None, known=(MODEL,)):
    return Selection(
        frozenset(models), every_model, frozenset(registered or variants), frozenset(variants), frozenset(known)
    )


@pytest.fixture
def make():
    """What the tests build their cases from."""

    class Make:
        model = MODEL
        benchmark = staticmethod(benchmark)
        entry = staticmethod(entry)
        baseline = staticmethod(baseline)
        selection = staticmethod(selection)

        @staticmethod
        def choice(*entries, same_class=True):
            return Choice(baseline(*entries), same_class)

    return Make
