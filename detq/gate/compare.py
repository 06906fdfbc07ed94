"""Comparing one variant of a run with the same variant of the baseline, figure by figure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from detq.baseline.entry import APS, Entry
from detq.baseline.times import common_images
from detq.gate.decision import look_alpha
from detq.gate.evidence import KEPT, Evidence, Verdict, verdict_of
from detq.gate.exact import bytes_evidence, share_evidence
from detq.gate.resources import LEAST_PEAK_BYTES
from detq.gate.saved import judge_saved_latency
from detq.gate.tolerances import Tolerances

__all__ = ["compare"]


def compare(  # noqa: D417  # see judge
    now: Entry, before: Entry, tolerances: Tolerances, *, same_class: bool, record: str, alpha: float
) -> list[Evidence]:
    """Return everything the gate has to say about a variant that both the run and the baseline have.

    Args:
        now: this run's.
        before: the baseline's.
        same_class: whether both were measured on the same machine class, so that times and memory can be compared.
        alpha: the probability with which the interval of one figure may miss, over all looks.
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
    return [*latency, *_accuracy(now, before, images, tolerances, record), *found]


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
        found.append(_new("weights", "artifact_bytes", now, record))
    return found


def _memory(now: Entry, before: Entry, tolerances: Tolerances, record: str) -> list[Evidence]:
    """Compare the peaks of memory; nothing to say where neither run knew its own."""
    if now.peak_bytes is None and before.peak_bytes is None:
        return []
    if now.peak_bytes is None or before.peak_bytes is None:
        why = "this platform does not say" if now.peak_bytes is None else _not_there("the peak of memory", record)
        verdict = Verdict.INCONCLUSIVE
        return [Evidence("memory", "peak", now.variant, verdict, now.peak_bytes, before.peak_bytes, detail=why)]
    change = (now.peak_bytes - before.peak_bytes) / max(before.peak_bytes, LEAST_PEAK_BYTES)
    verdict = verdict_of(change, tolerances.peak_memory)
    bad = f"peak of memory {before.peak_bytes / 1e6:.0f} → {now.peak_bytes / 1e6:.0f} MB ({change:+.0%})"
    detail = bad if verdict.fails else ""
    pair = now.peak_bytes, before.peak_bytes
    return [Evidence("memory", "peak", now.variant, verdict, *pair, change, tolerances.peak_memory, detail)]


def _new(kind: str, name: str, now: Entry, record: str) -> Evidence:
    return Evidence(kind, name, now.variant, Verdict.INCONCLUSIVE, detail=_not_there(name, record))


def _not_there(what: str, record: str) -> str:
    return f"{what} is not in the baseline, which an older detq wrote; record it with `{record}`"


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


def _accuracy(now: Entry, before: Entry, images: int, tolerances: Tolerances, record: str) -> list[Evidence]:
    if not before.metrics and not now.metrics:
        detail = "weights that mean nothing: accuracy is not judged"
        return [Evidence("accuracy", "AP", now.variant, Verdict.INCONCLUSIVE, detail=detail)]
    found = []
    for name in APS:
        pair = now.aps[name], before.aps[name]
        if pair[1] and not pair[0]:
            found.append(_gone(name, now, record))
        elif pair[0] and not pair[1]:
            found.append(_new("accuracy", name, now, record))
        elif pair[0] or name == "AP":  # without AP on both sides that is said too
            found.append(_average_precision(name, pair, now.variant, images, tolerances))
    found += _kept(now, before, images, tolerances, record)
    for name, values in before.metrics.items():
        if name not in now.metrics:
            found.append(_gone(name, now, record))
            continue
        means = _mean(now.metrics[name][:images]), _mean(values[:images])
        found.append(_difference(now.variant, name, means, tolerances.metrics, images))
    return found


def _gone(name: str, now: Entry, record: str) -> Evidence:
    detail = f"this run has no {name}; accept it with `{record}`"
    return Evidence("accuracy", name, now.variant, Verdict.MISSING, detail=detail)


def _kept(now: Entry, before: Entry, images: int, tolerances: Tolerances, record: str) -> list[Evidence]:
    """Compare the shares of what fp32 of the same run finds; nothing to say where it found nothing."""
    if before.reference_found and not now.reference_found:
        return [_gone(KEPT, now, record)]
    if now.reference_found and not before.reference_found:
        return [_new("accuracy", KEPT, now, record)]
    found = [sum(entry.reference_found[:images]) for entry in (now, before)]
    if not all(found):
        return []
    kept = [sum(entry.reference_kept[:images]) for entry in (now, before)]
    shares = kept[0] / found[0], kept[1] / found[1]
    return [_difference(now.variant, KEPT, shares, tolerances.kept, images)]


def _average_precision(
    name: str, pair: tuple[Mapping[int, float], Mapping[int, float]], variant: str, images: int, tolerances: Tolerances
) -> Evidence:
    """AP is no mean over images, so entries carry it for several numbers of first images: the largest shared counts."""
    now, before = pair
    shared = [number for number in before if number <= images and number in now]
    if not shared:
        detail = f"the first {images} images are too few to compare {name} on"
        return Evidence("accuracy", name, variant, Verdict.INCONCLUSIVE, detail=detail)
    number = max(shared)
    return _difference(variant, name, (now[number], before[number]), tolerances.ap, number)


def _difference(variant: str, name: str, pair: tuple[float, float], tolerance: float, images: int) -> Evidence:
    # Figures are saved with five digits; what they say about the sixth is chance.
    change = round(pair[1] - pair[0], 6)
    verdict = verdict_of(change, tolerance)
    bad = f"{name} on {images} images {pair[1]:.4f} → {pair[0]:.4f}"
    return Evidence(
        "accuracy", name, variant, verdict, *pair, change, tolerance, bad if verdict is Verdict.REGRESSION else ""
    )


def _int8(now: Entry, before: Entry, tolerances: Tolerances, record: str) -> list[Evidence]:
    """Compare the share of the whole, and of each stage that the baseline knows: a stage that is gone runs none."""
    pair, what = (now.int8_share, before.int8_share), "share of the arithmetic in int8"
    found = [share_evidence(now.variant, "int8_share", what, pair, tolerances.int8_share)]
    for stage, share in before.int8_by_stage.items():
        pair, what = (now.int8_by_stage.get(stage, 0.0), share), f"share of {stage}'s arithmetic in int8"
        found.append(share_evidence(now.variant, f"int8_share of {stage}", what, pair, tolerances.int8_stage))
    if now.int8_by_stage and not before.int8_by_stage:
        detail = _not_there("the share in int8 by stage", record)
        found.append(Evidence("int8", "int8_share by stage", now.variant, Verdict.INCONCLUSIVE, detail=detail))
    return found


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values)
