"""The tables at the end of a run: time and size, proposals, and what belongs below them."""

from __future__ import annotations

from collections.abc import Iterator

from detq.report.table import Table, bytes_text, interval_text
from detq.results import REFERENCE, Accuracy, RunResult, VariantResult

__all__ = ["agreement_table", "context_lines", "proposals_table", "split_table", "summary_table", "time_table"]

_DIGITS = 4


def time_table(result: RunResult) -> Table:
    """Return the report's first table: how long, how much faster, how large, how much of it in int8."""
    rows = tuple(_time_row(recipe, variant) for recipe, variant in result.variants.items())
    columns = (
        "variant",
        "total s",
        "mean ms",
        "median ms",
        "p90 ms",
        "p99 ms",
        f"speed-up over {REFERENCE} (95 %)",
        "peak memory",
        "weights",
        "int8 MACs",
    )
    note = "Speed-up: median over images of fp32's time / the variant's, on the same image."
    return Table(f"Time and size on {result.data.images} images", columns, rows, (note,))


def _time_row(recipe: str, variant: VariantResult) -> tuple[str, ...]:
    latency = variant.latency
    return (
        recipe,
        f"{latency.total_s:.1f}",
        f"{latency.mean_ms:.1f}",
        f"{latency.median_ms:.1f}",
        f"{latency.p90_ms:.1f}",
        f"{latency.p99_ms:.1f}",
        "1" if variant.speedup is None else interval_text(variant.speedup, 2),
        bytes_text(variant.peak_memory_bytes),
        bytes_text(variant.weight_bytes),
        "0 %" if variant.proof is None else f"{variant.proof.share:.1%}",
    )


def split_table(result: RunResult) -> Table | None:
    """Return where each variant's time goes, or None where no detector could be watched."""
    names = {"preprocess_ms": "preprocess ms", "model_ms": "model ms", "postprocess_ms": "postprocess ms"}
    rows = tuple(
        (recipe, *(f"{variant.split[name]:.1f}" for name in names))
        for recipe, variant in result.variants.items()
        if variant.split is not None
    )
    note = "Medians over images. Postprocess: scaling boxes back and pasting masks to the image's size."
    return Table("Where an image's time goes", ("variant", *names.values()), rows, (note,)) if rows else None


def agreement_table(result: RunResult) -> Table | None:
    """Return how far each variant finds what fp32 finds, or None where labels say more."""
    found = {recipe: variant.agreement for recipe, variant in result.variants.items() if variant.agreement is not None}
    rows = tuple(
        (
            recipe,
            _number(agreement.share_matched, ".2%"),
            _number(agreement.share_candidate_matched, ".2%"),
            _number(agreement.mean_iou, ".4f"),
            _number(agreement.score_shift, "+.4f"),
            _number(agreement.mean_absolute_score_shift, ".4f"),
            _number(agreement.max_absolute_score_shift, ".4f"),
        )
        for recipe, agreement in found.items()
    )
    columns = (
        "variant",
        f"of {REFERENCE}'s matched",
        "of its own matched",
        "mean IoU",
        "score shift",
        "absolute",
        "largest",
    )
    return Table(f"Agreement with {REFERENCE} at score {result.score:g}", columns, rows) if rows else None


def summary_table(result: RunResult) -> Table | None:
    """Return time and AP side by side, a row a variant, or None where there is no accuracy to show."""
    known = {recipe: found.accuracy for recipe, found in result.variants.items() if found.accuracy is not None}
    if not known:
        return None
    names = ["AP", "mask_AP"] if any(accuracy.masks for accuracy in known.values()) else ["AP"]
    headings = {"AP": "box AP", "mask_AP": "mask AP"}
    columns = ["variant", "s an image", "× as fast"]
    columns += [heading for name in names for heading in (headings[name], f"− {REFERENCE} (95 %)")]
    rows = []
    for recipe, accuracy in known.items():
        variant = result.variants[recipe]
        times = "1" if variant.speedup is None else f"{variant.speedup.estimate:.2f}"
        aps = (cell for name in names for cell in _ap_cells(recipe, accuracy, name))
        rows.append((recipe, f"{variant.latency.mean_ms / 1000:.3f}", times, *aps))
    return Table(f"Time and AP on {result.data.images} images: the mean time, COCO's AP", tuple(columns), tuple(rows))


def _ap_cells(recipe: str, accuracy: Accuracy, name: str) -> tuple[str, str]:
    values = (accuracy.masks or {}) if name == "mask_AP" else accuracy.coco
    difference = (accuracy.difference or {}).get(name)
    return (
        _number(values.get("AP"), f".{_DIGITS}f"),
        "" if recipe == REFERENCE else interval_text(difference, _DIGITS, signed=True),
    )


def _number(value: float | None, form: str) -> str:
    return "n/a" if value is None else format(value, form)


def proposals_table(result: RunResult) -> Table | None:
    """Return the speed-up by the number of proposals, or None where the model has none or images are too few."""
    proposals = result.proposals
    if proposals is None or not proposals.bins:
        return None
    recipes = [recipe for recipe in result.variants if recipe != REFERENCE]
    rows = tuple(
        (
            f"{part.low} to {part.high}",
            str(part.images),
            *(interval_text(part.speedup.get(recipe), 2) for recipe in recipes),
        )
        for part in proposals.bins
    )
    title = (
        f"Speed-up over {REFERENCE} by proposals an image (median {proposals.median:.0f} on {proposals.images} images)"
    )
    return Table(title, ("proposals", "images", *recipes), rows)


def context_lines(result: RunResult) -> Iterator[str]:
    """Yield what a reader of the tables has to know, one line each."""
    if not result.meaningful_accuracy:
        yield "The weights are RANDOM: times are valid, accuracy is n/a."
    if result.proposals is not None and not result.proposals.bins:
        yield f"Proposals an image: median {result.proposals.median:.0f} on {result.proposals.images} images."
    for name, variant in result.variants.items():
        yield from (f"{name}: {note}." for note in variant.notes)
        if variant.proof is not None and variant.proof.int8_macs:
            shares = ", ".join(f"{stage} {share:.1%}" for stage, share in variant.proof.by_stage.items())
            yield f"{name} in int8, by stage: {shares}."
    for name, file in result.artifacts.items():
        yield f"{name} is {file}."
    yield f"Weights: {result.weights}. Data: {result.data.name} ({result.data.images} images)."
    yield _environment_line(result)
    yield from result.data.ignored


def _environment_line(result: RunResult) -> str:
    cpu, versions = result.environment.get("cpu", {}), result.environment.get("versions", {})
    in_use = result.environment.get("isa_in_use", {})
    overrides = " ".join(f"{name}={value}" for name, value in in_use.get("overrides", {}).items())
    parts = [
        f"{cpu.get('name', 'unknown CPU')} ({cpu.get('vendor')} {cpu.get('family')}/{cpu.get('model')})",
        *(in_use.get(name) for name in ("torch", "int8", "bf16")),
        overrides,
        f"{result.threads} of {cpu.get('cores', '?')} cores",
        result.environment.get("allocator"),
        *(f"{name} {versions[name]}" for name in ("torch", "torchvision", "python", "detq") if name in versions),
    ]
    return f"Machine: {', '.join(filter(None, parts))}."
