"""One benchmark of a variant, as the gate reads it from pytest-benchmark's JSON."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from detq.baseline.times import Times
from detq.errors import BaselineError
from detq.metrics.curves import Matched
from detq.metrics.packed import unpack

__all__ = ["FORMAT", "MATCHES", "Entry", "Matches", "entry_from_json"]

FORMAT = "detq-benchmark/2"
"""`extra_info["format"]` of the benchmarks that detq writes; another number means another meaning of the fields."""

MATCHES = {"": "matches", "mask ": "mask_matches"}
"""What stands before a figure's name -> the field of `extra_info["per_image"]` that it is computed from."""

Matches = tuple[Mapping[int, Matched], ...]
"""What was matched in each image, by label, sizes taken together."""


@dataclass(frozen=True)
class Entry:
    """What one run measured of one variant.

    The values of an image stand at the image's place in `images`, so that a run on fewer images can be judged on
    exactly those that both runs have seen.

    Attributes:
        variant: id, `<model>-<recipe>`.
        model: its model.
        recipe: its recipe.
        weights: where its parameters came from, in words.
        images: a digest of each image's name and annotations, in the data set's order.
        times_s: seconds an image took; the median, where it ran in several rounds.
        control_s: seconds that a fixed piece of arithmetic took beside each image: how fast the machine itself was.
            Empty where it was not measured.
        metrics: the 2024 report's metrics of each image, by name; empty where the accuracy means nothing.
        matches: which detections were right in each image, of boxes (by "") and of masks (by "mask "); of what nobody
            recorded, and where the accuracy means nothing, there is none.
        weight_bytes: size of its parameters.
        int8_share: share of its multiply-accumulates that ran in int8, in [0, 1].
        speedup: paired speed-up over fp32 of the same run, or None for fp32.
        json: the benchmark as pytest-benchmark saves it.
        rounds_s: where there were several rounds, the seconds of each; empty for one.
        looks: how often the times were looked at before it was decided that they are enough.
        peak_bytes: the most memory that running an image took; None where nobody measured it, which detq once did not.
        artifact_bytes: size of the variant as a file; None where nobody recorded it.
        reference_found: how many objects fp32 of the same run found in each image, at the report's score; empty where
            nobody recorded it.
        reference_kept: how many of those this variant found too.
        int8_by_stage: `int8_share` of each stage; empty where nobody recorded it.
        unsteady: what the control showed of a machine that changed its speed meanwhile, in words; empty where steady.
    """

    variant: str
    model: str
    recipe: str
    weights: str
    images: tuple[str, ...]
    times_s: tuple[float, ...]
    control_s: tuple[float, ...]
    metrics: Mapping[str, tuple[float, ...]]
    matches: Mapping[str, Matches]
    weight_bytes: int
    int8_share: float
    speedup: float | None
    json: Mapping[str, Any]
    rounds_s: tuple[tuple[float, ...], ...] = ()
    looks: int = 1
    peak_bytes: int | None = None
    artifact_bytes: int | None = None
    reference_found: tuple[float, ...] = ()
    reference_kept: tuple[float, ...] = ()
    int8_by_stage: Mapping[str, float] = field(default_factory=dict)
    unsteady: str = ""

    @property
    def timed(self) -> Times:
        """The times by round, and the control's."""
        return Times(self.images, self.rounds_s or (self.times_s,), self.control_s)


def is_ours(benchmark: Mapping[str, Any]) -> bool:
    """Return whether a saved benchmark is one of detq's, and not some other test's in the same file."""
    info = benchmark.get("extra_info")
    return isinstance(info, Mapping) and str(info.get("format", "")).startswith("detq-benchmark/")


def entry_from_json(benchmark: Mapping[str, Any], where: str) -> Entry:
    """Return the entry that a saved benchmark holds.

    Args:
        benchmark: one element of `benchmarks` in pytest-benchmark's JSON, with raw data.
        where: the file, for the message.

    Raises:
        BaselineError: it is of another format, or lacks a field.
    """
    info = benchmark.get("extra_info", {})
    if info.get("format") != FORMAT:
        raise BaselineError(
            f"{where}: expected benchmarks of format {FORMAT}, got {info.get('format')!r}; {_remedy(info)}"
        )
    try:
        return _parse(benchmark, info)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BaselineError(
            f"{where}: the benchmark of {info.get('variant')} is damaged ({type(error).__name__}: {error}); "
            "restore the file, or remove it and record it again with --detq-gate-update"
        ) from None


def _remedy(info: Mapping[str, Any]) -> str:
    number = re.fullmatch(r"detq-benchmark/(\d{1,9})", str(info.get("format")))
    if number and int(number[1]) > int(FORMAT.rpartition("/")[2]):
        return "a newer detq wrote it: update detq, or compare with the file of an older commit"
    return "remove the file and record it again with --detq-gate-update"


def _parse(benchmark: Mapping[str, Any], info: Mapping[str, Any]) -> Entry:
    images = tuple(map(str, info["per_image"]["images"]))
    entry = Entry(
        variant=str(info["variant"]),
        model=str(info["model"]),
        recipe=str(info["recipe"]),
        weights=str(info["weights"]),
        images=images,
        times_s=_floats(benchmark["stats"]["data"]),
        control_s=tuple(value / 1e3 for value in _floats(info["per_image"]["control_ms"])),
        metrics={str(name): _floats(values) for name, values in info["per_image"]["metrics"].items()},
        matches={name: unpack(info["per_image"][key]) for name, key in MATCHES.items() if key in info["per_image"]},
        weight_bytes=int(info["weight_bytes"]),
        int8_share=float(info["int8_share"]),
        speedup=None if info["speedup"] is None else float(info["speedup"]["estimate"]),
        json=benchmark,
        rounds_s=tuple(tuple(value / 1e3 for value in _floats(row)) for row in info["per_image"].get("rounds_ms", ())),
        looks=int(info.get("looks", 1)),
        peak_bytes=_count(info, "peak_bytes"),
        artifact_bytes=_count(info, "artifact_bytes"),
        reference_found=_floats(info["per_image"].get("reference_found", ())),
        reference_kept=_floats(info["per_image"].get("reference_kept", ())),
        int8_by_stage={str(stage): float(share) for stage, share in info.get("int8_by_stage", {}).items()},
        unsteady=str(info.get("unsteady", "")),
    )
    _check(entry)
    return entry


def _check(entry: Entry) -> None:
    """Refuse values that cannot be an image's each, times that no clock measures, and figures that cannot be."""
    images, first = len(entry.images), entry.timed.rounds_s[0]
    series: dict[str, Sequence[object]] = {
        "times": entry.times_s,
        "control_ms": entry.control_s or entry.times_s,
        "rounds_ms": first,
    }
    if entry.reference_found or entry.reference_kept:
        series |= {"reference_found": entry.reference_found, "reference_kept": entry.reference_kept}
    series |= {MATCHES[name]: matches for name, matches in entry.matches.items()}
    for name, values in {**series, **entry.metrics}.items():
        if len(values) != images:
            raise ValueError(f"{images} images, but {len(values)} values of {name}")
    for row in (entry.times_s, entry.control_s, *entry.rounds_s):
        if not all(math.isfinite(value) and value > 0 for value in row):
            raise ValueError("a time that is not above 0")
    # Nothing is above or below what is no number: it would pass whatever this run measured.
    shares = {"int8_share": [entry.int8_share], "int8_by_stage": entry.int8_by_stage.values(), **entry.metrics}
    for name, found in shares.items():
        if not all(0 <= value <= 1 for value in found):
            raise ValueError(f"{name} that is not between 0 and 1")
    counts = entry.weight_bytes, entry.peak_bytes or 0, entry.artifact_bytes or 0, *entry.reference_found
    if min(counts) < 0 or entry.looks < 1:
        raise ValueError("bytes or looks that are no count")


def _count(info: Mapping[str, Any], name: str) -> int | None:
    return None if info.get(name) is None else int(info[name])


def _floats(values: Any) -> tuple[float, ...]:
    return tuple(map(float, values))
