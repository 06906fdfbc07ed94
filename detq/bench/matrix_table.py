"""What several versions of torch measured, as one table: versions × variants."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from detq.gate.text import make_table, to_text

__all__ = ["FORMAT", "Measured", "as_json", "as_markdown", "as_text", "sentences"]

FORMAT = "detq-matrix/1"
"""The `format` of the JSON; another number means another meaning of the fields."""

NOT_OFFERED, NOT_MEASURED = "not offered", "not measured"


@dataclass(frozen=True)
class Measured:
    """One version's run.

    Attributes:
        name: of its environment.
        versions: of Python, torch and what belongs to it.
        features: what `detq.bench.features.try_features` found.
        variants: what was measured, by variant id, as in `bench.json`.
        lacking: why a variant was not measured, by its id; it may name variants of which another benchmark passed.
        broken: why nothing was measured, or nothing.
        failing: what a test of a variant said that was measured all the same, by its id.
    """

    name: str
    versions: Mapping[str, str]
    features: Mapping[str, Mapping[str, Any]]
    variants: Mapping[str, Mapping[str, Any]]
    lacking: Mapping[str, str]
    broken: str = ""
    failing: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The version, as a column's heading."""
        return f"torch {self.versions.get('torch', '?').partition('+')[0]}"


def as_json(measured: Sequence[Measured], notes: Sequence[str]) -> dict[str, Any]:
    """Return everything ready for JSON.

    Returns:
        "format" (`FORMAT`), "notes" (sentences), and "environments": for each its "name", "versions", "features", and
        "variants", by id: "median_ms", "speedup" over fp32 of the same run with its interval, "against_first" (that
        speed-up over the first version's that has the variant), "AP", "int8_share"; or the reason in "not_offered", or
        in "not_measured" where its whole run failed.
    """
    return {
        "format": FORMAT,
        "notes": [*notes, *sentences(measured)],
        "environments": [
            {
                "name": item.name,
                "versions": dict(item.versions),
                "features": dict(item.features),
                "variants": {variant: _row(measured, item, variant) for variant in _all(measured)},
            }
            for item in measured
        ],
    }


def _all(measured: Sequence[Measured]) -> list[str]:
    """Return every variant that some version measured or lacks, each model's together, in the order of the first."""
    ids = dict.fromkeys(id_ for item in measured for id_ in (*item.variants, *item.lacking))
    models = dict.fromkeys(_model(id_) for id_ in ids)
    return [id_ for model in models for id_ in ids if _model(id_) == model]


def _model(variant: str) -> str:
    return variant.rpartition("-")[0]


def _row(measured: Sequence[Measured], item: Measured, variant: str) -> dict[str, Any]:
    info = item.variants.get(variant)
    if info is None:
        if item.broken:
            return {"not_measured": item.broken}
        return {"not_offered": item.lacking.get(variant, "its benchmarks do not know it")}
    first = next(other.variants[variant] for other in measured if variant in other.variants)
    speedup = info["speedup"]
    ratio = speedup["estimate"] / first["speedup"]["estimate"] if speedup and first["speedup"] else None
    return {
        "median_ms": statistics.median(info["times_ms"]),
        "speedup": speedup,
        "against_first": ratio,
        "AP": (info["accuracy"] or {}).get("AP"),
        "int8_share": info["int8_share"],
    }


def sentences(measured: Sequence[Measured]) -> list[str]:
    """Return what each version does not offer, with the reason, and what warns that it will go."""
    found = [f"{item.title} ({item.name}): {item.broken}" for item in measured if item.broken]
    for variant in _all(measured):
        seen = False
        for item in measured:
            if variant in item.variants:
                seen = True
            elif not item.broken:
                again = "no longer offers" if seen else "does not offer"
                found.append(f"{item.title} {again} {variant}: {_row(measured, item, variant)['not_offered']}")
    for item in measured:
        found += [f"{item.title}: a test of {variant} failed: {why}" for variant, why in item.failing.items()]
        for name, feature in item.features.items():
            if not feature["works"]:
                found.append(f"{item.title} has no {name}: {feature['why']}")
            elif feature["warns"]:
                found.append(f"{item.title} still has {name}, and warns: {feature['warns']}")
    return found


def _cell(row: Mapping[str, Any]) -> str:
    if "not_offered" in row:
        return NOT_OFFERED
    if "not_measured" in row:
        return NOT_MEASURED
    speed = f"{row['median_ms']:.1f} ms"
    if row["speedup"]:
        speed = f"{row['speedup']['estimate']:.2f}×"
        # What is 1 by definition, in the first version, says nothing.
        speed += "" if row["against_first"] in {None, 1.0} else f" ({row['against_first'] - 1:+.1%})"
    ap = "AP n/a" if row["AP"] is None else f"AP {row['AP']:.4f}"
    return f"{speed}, {ap}, {row['int8_share']:.1%}"


def as_text(measured: Sequence[Measured], notes: Sequence[str]) -> str:
    """Return a table for each model, and a line for everything that somebody should know."""
    table = as_json(measured, notes)
    lines: list[Any] = [_legend(measured), ""]
    models = dict.fromkeys(_model(id_) for id_ in _all(measured))
    for model in models:
        rows = make_table({model: 24, **{item.title: 36 for item in measured}})
        for variant in (id_ for id_ in _all(measured) if _model(id_) == model):
            cells = [_cell(item["variants"][variant]) for item in table["environments"]]
            rows.add_row(variant.rpartition("-")[2], *cells)
        lines += [rows, ""]
    return to_text([*lines, *(f"! {note}" for note in table["notes"])], width=60 + 45 * len(measured))


def _legend(measured: Sequence[Measured]) -> str:
    first = measured[0].title if measured else "the first"
    return f"Speed-up over fp32 of the same run (against {first}'s), AP, share of the arithmetic in int8"


def as_markdown(measured: Sequence[Measured], notes: Sequence[str]) -> str:
    """Return the same as Markdown."""
    table = as_json(measured, notes)
    lines = ["# detq's variants under several versions of torch", "", f"{_legend(measured)}.", ""]
    lines += [f"| | {' | '.join(item.title for item in measured)} |", f"|---{'|---' * len(measured)}|"]
    for variant in _all(measured):
        cells = [_cell(item["variants"][variant]) for item in table["environments"]]
        lines.append(f"| {variant} | {' | '.join(cells)} |")
    lines += ["", *(f"- {note.replace('<', '&lt;')}" for note in table["notes"]), ""]
    for item in measured:
        about = ", ".join(f"{name} {version}" for name, version in item.versions.items())
        lines.append(f"<sub>{item.name}: {about}</sub>  ")
    return "\n".join([*lines, ""])
