"""The paired gate's other kinds of evidence: bytes, memory, and what runs in int8."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detq.gate.decision import decide
from detq.gate.evidence import Evidence, Verdict
from detq.gate.exact import bytes_evidence, share_evidence
from detq.gate.tolerances import Tolerances
from detq.gate.trial import Trial

__all__ = ["LEAK_IMAGES", "growth_mb", "judge_resources"]

LEAK_IMAGES = 48
"""Fewer images than this cannot tell a leak from buffers that are still being made."""


LEAST_PEAK_BYTES = 32e6
"""What changes of a smaller peak are fractions of: a few megabytes are what a process differs by anyway."""


def judge_resources(trial: Trial, tolerances: Tolerances) -> list[Evidence]:
    """Return what is to be said about bytes, the peak of memory, its growth, and the share of MACs in int8."""
    found = [*_bytes(trial, tolerances), _peak(trial, tolerances), _growth(trial, tolerances)]
    return [item for item in found if item is not None] + _int8(trial, tolerances)


def _bytes(trial: Trial, tolerances: Tolerances) -> list[Evidence]:
    """Compare the weights in memory, and the variant as a file, where both sides say how large that is."""
    head, base, most = trial.head, trial.base, tolerances.weight_bytes
    pair = head.weight_bytes, base.weight_bytes
    found = [bytes_evidence(trial.variant, "weight_bytes", "weights", pair, most)]
    if head.file_bytes is not None and base.file_bytes is not None:
        pair = head.file_bytes, base.file_bytes
        found.append(bytes_evidence(trial.variant, "artifact_bytes", "artifact", pair, most))
    return found


def _peak(trial: Trial, tolerances: Tolerances) -> Evidence | None:
    """Compare the peaks; by how much the base's two processes differ is the noise. None where nobody knows."""
    now, base, control = (side.peak_bytes for _, side in trial.sides())
    if now is None or base is None or control is None:
        return None
    before = (base + control) / 2
    size = max(before, LEAST_PEAK_BYTES)
    change, floor = (now - before) / size, abs(base - control) / size
    verdict = decide(change, change - floor, change + floor, tolerances.memory)
    detail = f"peak of memory {before / 1e6:.0f} → {now / 1e6:.0f} MB" if verdict.fails else ""
    if verdict is Verdict.INCONCLUSIVE:
        detail = f"peak of memory {change:+.1%}, but two processes of the base differed by {floor:.1%}"
    return Evidence(
        "memory",
        "peak",
        trial.variant,
        verdict,
        now,
        before,
        change,
        tolerances.memory,
        detail,
        change - floor,
        change + floor,
    )


def _growth(trial: Trial, tolerances: Tolerances) -> Evidence | None:
    """Compare how fast memory grows from image to image; None where the platform does not say."""
    held = [[value for value in side.held_bytes if value is not None] for _, side in trial.sides()]
    if not all(held):
        return None
    if len(trial.images) < LEAK_IMAGES:
        detail = f"{len(trial.images)} images are too few to tell a leak, it takes {LEAK_IMAGES}: a longer --budget"
        return Evidence("memory", "growth", trial.variant, Verdict.INCONCLUSIVE, detail=detail)
    now, base, control = (growth_mb(values) for values in held)
    before = (base + control) / 2
    change, floor = now - before, abs(base - control)
    verdict = decide(change, change - floor, change + floor, tolerances.leak_mb)
    detail = ""
    if verdict is Verdict.REGRESSION:
        detail = f"a leak: memory grows by {now:.2f} MB with every image, the base's by {before:.2f}"
    elif verdict is Verdict.INCONCLUSIVE:
        detail = f"memory grows by {change:+.2f} MB an image, two processes of the base differed by {floor:.2f}"
    return Evidence(
        "memory",
        "growth",
        trial.variant,
        verdict,
        now,
        before,
        change,
        tolerances.leak_mb,
        detail,
        change - floor,
        change + floor,
    )


def growth_mb(held_bytes: Sequence[int]) -> float:
    """Return by how many megabytes memory grows with every image, from what was in use after each of 8 or more.

    A leak grows all the time, and an allocator or a cache in steps. So the images after the first quarter, in which
    buffers are still being made, are cut into four parts, and the smallest step from one part's median to the next
    counts; nothing, where one of the steps goes down.
    """
    late = np.asarray(held_bytes[len(held_bytes) // 4 :], np.float64) / 1e6
    parts = np.array_split(late, 4)
    steps = np.diff([np.median(part) for part in parts])
    return max(0.0, float(steps.min())) / (len(late) / 4)


def _int8(trial: Trial, tolerances: Tolerances) -> list[Evidence]:
    pairs = {"int8_share": (trial.head.int8_share, trial.base.int8_share)}
    for stage, before in trial.base.int8_by_stage.items():
        pairs[f"int8_share of {stage}"] = (trial.head.int8_by_stage.get(stage, 0.0), before)
    most = tolerances.int8_share
    return [share_evidence(trial.variant, name, name, pair, most) for name, pair in pairs.items()]
