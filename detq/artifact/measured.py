"""What `detq run` measured of a variant, to travel with its artifact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from detq.errors import DetqError
from detq.records import to_json
from detq.results import REFERENCE, RunResult
from detq.variants import Variant

__all__ = ["read_measured"]


def read_measured(folder: Path, variant: Variant) -> dict[str, Any]:
    """Return speed, accuracy and the data's identity of a variant, ready for JSON.

    Args:
        folder: of `detq run`, with `metrics.json`.
        variant: which.

    Raises:
        DetqError: there is no such file, or it is about another model or recipe.
    """
    result = RunResult.read(folder / "metrics.json")
    if result.model != variant.model or variant.recipe not in result.variants:
        measured = ", ".join(f"{result.model}-{recipe}" for recipe in result.variants)
        raise DetqError(f"--measured {folder}: expected a run of {variant.id}, found {measured}")
    own, reference = result.variants[variant.recipe], result.variants[REFERENCE]
    return {
        "data": to_json(result.data),
        "weights": result.weights,
        "machine_class": result.machine_class,
        "threads": result.threads,
        "latency": to_json(own.latency),
        "speedup": to_json(own.speedup),
        "accuracy": to_json(own.accuracy),
        "fp32_accuracy": to_json(reference.accuracy),
        "agreement": to_json(own.agreement),
    }
