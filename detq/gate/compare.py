"""Comparing one variant of a run with the same variant of the baseline, figure by figure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from itertools import takewhile

from detq.baseline.entry import Entry
from detq.gate.evidence import Evidence, Verdict, verdict_of
from detq.gate.tolerances import Tolerances

__all__ = ["common_images", "compare"]


def compare(now: Entry, before: Entry, tolerances: Tolerances, *, same_class: bool, record: str) -> list[Evidence]:
    """Return everything the gate has to say about a variant that both the run and the baseline have.

    Args:
        now: this run's.
        before: the baseline's.
        tolerances: how much worse a figure may get.
        same_class: whether both were measured on the same machine class, so that times can be compared.
        record: the command that records a baseline.
    """
    found = [_weights(now, before, tolerances), _int8(now, before, tolerances)]
    if now.weights != before.weights:
        return [*found, _elsewhere(now, f"its weights are {now.weights}, the baseline's were {before.weights}", record)]
    images = common_images(now, before)
    if images == 0:
        return [*found, _elsewhere(now, "no image is the same as in the baseline", record)]
    latency = _latency(now, before, images, tolerances) if same_class else _other_class(now, tolerances, record)
    return [*latency, *_accuracy(now, before, images, tolerances, record), *found]


def common_images(now: Entry, before: Entry) -> int:
    """Return on how many first images both were measured."""
    pairs = zip(now.images, before.images, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _elsewhere(now: Entry, why: str, record: str) -> Evidence:
    detail = f"not comparable: {why}; accept it with `{record}`"
    return Evidence("presence", "inputs", now.variant, Verdict.MISSING, detail=detail)


def _latency(now: Entry, before: Entry, images: int, tolerances: Tolerances) -> list[Evidence]:
    """Medians over the same images. A machine that was slower as a whole shows in the control and decides nothing."""
    times = statistics.median(now.times_s[:images]), statistics.median(before.times_s[:images])
    change = times[0] / times[1] - 1
    verdict = verdict_of(change, tolerances.latency)
    detail = ""
    drift = _machine_drift(now, before, images)
    if verdict is not Verdict.PASS and verdict_of((1 + change) / drift - 1, tolerances.latency) is not verdict:
        verdict = Verdict.INCONCLUSIVE
        detail = (
            f"median {change:+.1%}, but a fixed piece of arithmetic took {drift - 1:+.1%} beside it: the machine ran "
            "at another speed than when the baseline was recorded; run again when it is quiet"
        )
    elif verdict is Verdict.REGRESSION:
        detail = f"median of {images} images {times[1] * 1e3:.1f} → {times[0] * 1e3:.1f} ms"
    return [
        Evidence("latency", "median", now.variant, verdict, *times, change, tolerances.latency, detail),
    ]


def _machine_drift(now: Entry, before: Entry, images: int) -> float:
    """Return how many times longer the fixed piece of arithmetic took than in the baseline; 1 where unknown."""
    if not now.control_s or not before.control_s:
        return 1.0
    return statistics.median(now.control_s[:images]) / statistics.median(before.control_s[:images])


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
    found = [_average_precision("AP", (now.ap_first, before.ap_first), now.variant, images, tolerances)]
    if before.mask_ap_first and not now.mask_ap_first:
        detail = f"this run has no mask AP; accept it with `{record}`"
        found.append(Evidence("accuracy", "mask AP", now.variant, Verdict.MISSING, detail=detail))
    elif before.mask_ap_first:
        pair = now.mask_ap_first, before.mask_ap_first
        found.append(_average_precision("mask AP", pair, now.variant, images, tolerances))
    for name, values in before.metrics.items():
        if name not in now.metrics:
            detail = f"this run has no {name}; accept it with `{record}`"
            found.append(Evidence("accuracy", name, now.variant, Verdict.MISSING, detail=detail))
            continue
        means = _mean(now.metrics[name][:images]), _mean(values[:images])
        found.append(_difference(now.variant, name, means, tolerances.metrics, images))
    return found


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


def _weights(now: Entry, before: Entry, tolerances: Tolerances) -> Evidence:
    pair = float(now.weight_bytes), float(before.weight_bytes)
    change = pair[0] / pair[1] - 1 if pair[1] else float(pair[0] > 0)
    verdict = verdict_of(change, tolerances.weight_bytes)
    bad = f"weights {before.weight_bytes:,} → {now.weight_bytes:,} bytes"
    return Evidence(
        "weights",
        "weight_bytes",
        now.variant,
        verdict,
        *pair,
        change,
        tolerances.weight_bytes,
        bad if verdict.fails else "",
    )


def _int8(now: Entry, before: Entry, tolerances: Tolerances) -> Evidence:
    pair = now.int8_share, before.int8_share
    change = round(pair[1] - pair[0], 6)
    verdict = verdict_of(change, tolerances.int8_share)
    bad = f"share of the arithmetic in int8 {pair[1]:.2%} → {pair[0]:.2%}"
    return Evidence(
        "int8", "int8_share", now.variant, verdict, *pair, change, tolerances.int8_share, bad if verdict.fails else ""
    )


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values)
