"""Comparing one variant of a run with the same variant of the baseline, figure by figure."""

from __future__ import annotations

import statistics

from detq.baseline.entry import Entry
from detq.baseline.times import common_images
from detq.gate.decision import look_alpha
from detq.gate.evidence import Evidence, Verdict, verdict_of
from detq.gate.exact import bytes_evidence, share_evidence
from detq.gate.resources import LEAST_PEAK_BYTES
from detq.gate.saved import judge_saved_latency
from detq.gate.saved_accuracy import judge_saved_accuracy, new_figure, not_there
from detq.gate.tolerances import Tolerances

__all__ = ["compare"]


def compare(  # noqa: D417  # see judge
    now: Entry,
    before: Entry,
    tolerances: Tolerances,
    *,
    same_class: bool,
    record: str,
    alpha: float,
    accuracy_alpha: float,
) -> list[Evidence]:
    """Return everything the gate has to say about a variant that both the run and the baseline have.

    Args:
        now: this run's.
        before: the baseline's.
        same_class: whether both were measured on the same machine class, so that times and memory can be compared.
        alpha: the probability with which the interval of one time may miss, over all looks.
        accuracy_alpha: the same of one figure of accuracy.
    """
    found = [*_sizes(now, before, tolerances, record), *_int8(now, before, tolerances, record)]
    if now.weights != before.weights:
        return [*found, _elsewhere(now, f"its weights are {now.weights}, the baseline's were {before.weights}", record)]
    images = common_images(now.images, before.images)
    if images == 0:
        return [*found, _elsewhere(now, "no image is the same as in the baseline", record)]
    if same_class:
        share = look_alpha(now.looks, alpha)
        latency = judge_saved_latency(now.variant, now.timed, before.timed, images, tolerances, share)
        latency += _memory(now, before, tolerances, record)
    else:
        latency = _other_class(now, tolerances, record)
    accuracy = judge_saved_accuracy(now, before, images, tolerances, alpha=accuracy_alpha, record=record)
    return [*latency, *accuracy, *found]


def _elsewhere(now: Entry, why: str, record: str) -> Evidence:
    detail = f"not comparable: {why}; accept it with `{record}`"
    return Evidence("presence", "inputs", now.variant, Verdict.MISSING, detail=detail)


def _sizes(now: Entry, before: Entry, tolerances: Tolerances, record: str) -> list[Evidence]:
    pair = float(now.weight_bytes), float(before.weight_bytes)
    found = [bytes_evidence(now.variant, "weight_bytes", "weights", pair, tolerances.weight_bytes)]
    if now.artifact_bytes is not None and before.artifact_bytes is not None:
        pair = float(now.artifact_bytes), float(before.artifact_bytes)
        found.append(bytes_evidence(now.variant, "artifact_bytes", "artifact", pair, tolerances.weight_bytes))
    elif now.artifact_bytes is not None:
        found.append(new_figure("weights", "artifact_bytes", now, record))
    return found


def _memory(now: Entry, before: Entry, tolerances: Tolerances, record: str) -> list[Evidence]:
    """Compare the peaks of memory; nothing to say where neither run knew its own."""
    if now.peak_bytes is None and before.peak_bytes is None:
        return []
    if now.peak_bytes is None or before.peak_bytes is None:
        why = "this platform does not say" if now.peak_bytes is None else not_there("the peak of memory", record)
        verdict = Verdict.INCONCLUSIVE
        return [Evidence("memory", "peak", now.variant, verdict, now.peak_bytes, before.peak_bytes, detail=why)]
    change = (now.peak_bytes - before.peak_bytes) / max(before.peak_bytes, LEAST_PEAK_BYTES)
    verdict = verdict_of(change, tolerances.peak_memory)
    bad = f"peak of memory {before.peak_bytes / 1e6:.0f} → {now.peak_bytes / 1e6:.0f} MB ({change:+.0%})"
    detail = bad if verdict.fails else ""
    pair = now.peak_bytes, before.peak_bytes
    return [Evidence("memory", "peak", now.variant, verdict, *pair, change, tolerances.peak_memory, detail)]


def _other_class(now: Entry, tolerances: Tolerances, record: str) -> list[Evidence]:
    median = statistics.median(now.times_s)
    detail = f"no baseline for this machine class; record one with `{record}`"
    found = [Evidence("latency", "median", now.variant, Verdict.INCONCLUSIVE, median, detail=detail)]
    if now.speedup is not None:
        slow = now.speedup < tolerances.speedup_floor
        found.append(
            Evidence(
                "speedup",
                "speed-up over fp32",
                now.variant,
                Verdict.REGRESSION if slow else Verdict.PASS,
                now.speedup,
                tolerances.speedup_floor,
                tolerances.speedup_floor - now.speedup,
                0.0,
                f"{now.speedup:.2f}× fp32 of the same run, floor {tolerances.speedup_floor:.2f}×" if slow else "",
            )
        )
    return found


def _int8(now: Entry, before: Entry, tolerances: Tolerances, record: str) -> list[Evidence]:
    """Compare the share of the whole, and of each stage that the baseline knows: a stage that is gone runs none."""
    pair, what = (now.int8_share, before.int8_share), "share of the arithmetic in int8"
    found = [share_evidence(now.variant, "int8_share", what, pair, tolerances.int8_share)]
    for stage, share in before.int8_by_stage.items():
        pair, what = (now.int8_by_stage.get(stage, 0.0), share), f"share of {stage}'s arithmetic in int8"
        found.append(share_evidence(now.variant, f"int8_share of {stage}", what, pair, tolerances.int8_stage))
    if now.int8_by_stage and not before.int8_by_stage:
        detail = not_there("the share in int8 by stage", record)
        found.append(Evidence("int8", "int8_share by stage", now.variant, Verdict.INCONCLUSIVE, detail=detail))
    return found
