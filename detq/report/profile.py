"""Where the time goes, as tables and as a picture of stacked bars."""

from __future__ import annotations

from pathlib import Path

from detq.errors import UnsupportedError
from detq.files import atomic_path
from detq.measure.profile import Profile, StageCost, VariantCost
from detq.models.stages import STAGES
from detq.report.table import Table

__all__ = ["draw_profile", "profile_tables", "require_matplotlib"]


def profile_tables(profile: Profile) -> list[Table]:
    """Return the summary, with several numbers of threads the times by their number, and a table for each variant."""
    most = max(profile.limits)
    tables = [_summary(profile)]
    if len(profile.limits) > 1:
        tables.append(_by_threads(profile))
    return tables + [_stages(cost, profile.limits[most]) for cost in profile.variants if cost.threads == most]


def _summary(profile: Profile) -> Table:
    rows = tuple(
        (
            cost.variant,
            str(cost.threads),
            f"{cost.median_ms:.1f}",
            f"{cost.speedup:.2f}",
            f"{cost.gmacs:.1f}",
            _number(cost.times_limit, ".1f"),
            _number(cost.proposals, ".0f"),
            f"{cost.detections:.0f}",
        )
        for cost in profile.variants
    )
    columns = ("variant", "threads", "median ms", "speed-up", "GMACs", "× the limit", "proposals", "detections")
    notes = (
        f"Speed-up: median over images of {profile.variants[0].variant}'s time / the variant's, on the same image.",
        "× the limit: its time / what its arithmetic alone would take in the fastest plain matrix product here.",
        *(
            f"A plain matrix product on {threads} {'thread' if threads == 1 else 'threads'}: {_limits_text(found)}."
            for threads, found in profile.limits.items()
        ),
    )
    return Table(f"Where the time goes, on {profile.images} images", columns, rows, notes)


def _limits_text(limits: dict[str, float]) -> str:
    return ", ".join(f"{name} {reached:.0f} GMAC/s" for name, reached in limits.items())


def _by_threads(profile: Profile) -> Table:
    names = list(dict.fromkeys(cost.variant for cost in profile.variants))
    threads = sorted(profile.limits)
    found = {(cost.variant, cost.threads): cost for cost in profile.variants}
    rows = []
    for name in names:
        times = {count: found[name, count].median_ms for count in threads}
        rows.append((name, "all", *_scaling(times)))
        for stage in found[name, threads[0]].stages:
            by_count = {count: found[name, count].stages[stage].median_ms for count in threads}
            rows.append(("", stage, *_scaling(by_count)))
    columns = ("variant", "stage", *(f"{count} thr. ms" for count in threads), "gain")
    note = f"Gain: the time on {threads[0]} by the time on {threads[-1]} threads."
    return Table("The same by threads", columns, tuple(rows), (note,), words=2)


def _scaling(times: dict[int, float]) -> tuple[str, ...]:
    first, last = times[min(times)], times[max(times)]
    return *(f"{times[count]:.1f}" for count in sorted(times)), f"{first / last:.2f}" if last else "n/a"


def _stages(cost: VariantCost, limits: dict[str, float]) -> Table:
    rows = tuple((stage, *_stage_row(found, limits)) for stage, found in cost.stages.items())
    columns = ("stage", "median ms", "share", "GMACs", "precision", "GMAC/s", "limit", "of limit")
    notes = () if rows else ("This detector cannot be watched from outside: its time is not divided.",)
    return Table(f"{cost.variant}, {cost.median_ms:.1f} ms on {_threads(cost.threads)}", columns, rows, notes)


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _stage_row(found: StageCost, limits: dict[str, float]) -> tuple[str, ...]:
    times = (f"{found.median_ms:.2f}", f"{found.share:.1%}")
    if not found.gmacs:
        return *times, "", "", "", "", ""
    return (
        *times,
        f"{found.gmacs:.2f}",
        found.precision,
        _number(found.gmacs_per_s, ".0f"),
        _number(limits.get(found.precision), ".0f"),
        _number(found.of_limit, ".0%"),
    )


def _number(value: float | None, form: str) -> str:
    return "n/a" if value is None else format(value, form)


def require_matplotlib(option: str) -> None:
    """Check that pictures can be drawn.

    Args:
        option: that asked for one.

    Raises:
        UnsupportedError: matplotlib is missing.
    """
    import importlib.util

    if importlib.util.find_spec("matplotlib") is None:
        raise UnsupportedError(f'{option} draws with matplotlib, which is not installed; pip install "detq[plots]"')


def draw_profile(profile: Profile, path: Path) -> None:
    """Write a picture: one bar for each variant, divided by stage, on the most threads that were measured.

    Args:
        profile: at least one variant.
        path: of a PNG, SVG or PDF.

    Raises:
        OutputError: it cannot be written.
        UnsupportedError: matplotlib is missing.
    """
    require_matplotlib("--picture")
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    most = max(profile.limits)
    costs = [cost for cost in profile.variants if cost.threads == most]
    figure = Figure(figsize=(10, 1.6 + 0.5 * len(costs)), layout="constrained")
    axes = figure.add_subplot()
    present = [stage for stage in STAGES if any(stage in cost.stages for cost in costs)]
    left = [0.0] * len(costs)
    for stage, color in zip(present, colormaps["tab20"].colors, strict=False):  # type: ignore[attr-defined]
        widths = [cost.stages[stage].share * cost.median_ms if stage in cost.stages else 0.0 for cost in costs]
        axes.barh(range(len(costs)), widths, left=left, label=stage, color=color)
        left = [before + width for before, width in zip(left, widths, strict=True)]
    undivided = [cost.median_ms if not cost.stages else 0.0 for cost in costs]
    if any(undivided):
        axes.barh(range(len(costs)), undivided, label="not divided", color="lightgray")
    for row, cost in enumerate(costs):
        axes.text(cost.median_ms, row, f" {cost.median_ms:.0f} ms, {cost.speedup:.1f}×", va="center")
    axes.set_yticks(range(len(costs)), [cost.variant for cost in costs])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.18 * max(cost.median_ms for cost in costs))
    axes.set_xlabel(f"ms an image, median of {profile.images} images, {_threads(most)}")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=6, frameon=False)
    with atomic_path(path) as half:
        figure.savefig(half, format=path.suffix.lstrip(".") or "png", dpi=150)
