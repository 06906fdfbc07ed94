"""A picture of what speed costs: speed-up over fp32 against AP, one point a variant."""

from __future__ import annotations

import importlib.util
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from detq.files import atomic_path
from detq.report.labels import place_labels
from detq.results import REFERENCE, Interval, RunResult

__all__ = ["NAME", "Point", "draw_if_possible", "draw_speed_accuracy", "points_of_bench", "points_of_run"]

NAME = "speed_accuracy.png"
"""What runs and benchmarks call it in their folders."""

TITLE_WIDTH = 84
"""Characters that a line of the title has room for."""

LEAST_SPAN = 0.02
"""AP from bottom to top at least: differences of a thousandth must not look like much."""


@dataclass(frozen=True)
class Point:
    """One variant.

    Attributes:
        model: whose variants are drawn in one colour.
        recipe: its label.
        speedup: over fp32 of the same model; None for fp32 itself.
        ap: COCO AP of boxes, in [0, 1].
    """

    model: str
    recipe: str
    speedup: Interval | None
    ap: float


def points_of_run(result: RunResult) -> list[Point]:
    """Return the points of a run, none where nothing says what accuracy is."""
    return [
        Point(result.model, recipe, variant.speedup, ap)
        for recipe, variant in result.variants.items()
        if variant.accuracy is not None and (ap := variant.accuracy.coco["AP"]) is not None
    ]


def points_of_bench(infos: Mapping[str, Mapping[str, Any]]) -> list[Point]:
    """Return the points of a benchmark.

    Args:
        infos: variant id -> what `detq.bench.results` says of it.
    """
    found = []
    for variant, info in infos.items():
        model, _, recipe = variant.rpartition("-")
        ap = (info.get("accuracy") or {}).get("AP")
        if ap is not None and (info.get("speedup") or recipe == REFERENCE):
            speedup = Interval(**info["speedup"]) if info.get("speedup") else None
            found.append(Point(model, recipe, speedup, float(ap)))
    return found


def draw_if_possible(points: Sequence[Point], path: Path, title: str = "") -> str | None:
    """Draw several points, one compares nothing; return what a user is to hear where matplotlib is missing.

    Args:
        points: any number.
        path: of the PNG.
        title: what was measured on what.

    Raises:
        OutputError: it cannot be written.
    """
    if len(points) < 2:
        return None
    if importlib.util.find_spec("matplotlib") is None:
        return f'{path.name} is left out: matplotlib is not installed; pip install "detq[plots]"'
    draw_speed_accuracy(points, path, title)
    return None


def draw_speed_accuracy(points: Sequence[Point], path: Path, title: str = "") -> None:
    """Write a PNG: speed-up to the right with its 95 % interval, AP upwards, fp32's AP as a line.

    Args:
        points: at least one.
        path: of the file.
        title: what was measured on what.

    Raises:
        OutputError: it cannot be written.
        ModuleNotFoundError: matplotlib is missing.
    """
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    models = list(dict.fromkeys(point.model for point in points))
    colors = dict(zip(models, colormaps["tab10"].colors * len(models), strict=False))  # type: ignore[attr-defined]
    for point in points:
        x, color = _x(point), colors[point.model]
        if point.speedup is None:
            axes.axhline(point.ap, color=color, linestyle=":", linewidth=1)
        else:
            axes.plot([point.speedup.low, point.speedup.high], [point.ap] * 2, color=color, linewidth=1.5, alpha=0.6)
        axes.scatter([x], [point.ap], color=color, s=36, zorder=3)
    for model in models if len(models) > 1 else ():
        axes.scatter([], [], color=colors[model], label=model)
    axes.set_xlabel(f"speed-up over {REFERENCE} (median over images, 95 % interval)")
    axes.set_ylabel("AP of boxes")
    axes.set_title(textwrap.fill(title, TITLE_WIDTH), fontsize="medium", loc="left")
    axes.margins(x=0.14, y=0.18)
    bottom, top = axes.get_ylim()
    spare = max(LEAST_SPAN - (top - bottom), 0) / 2
    axes.set_ylim(bottom - spare, top + spare)
    axes.xaxis.set_major_formatter("{x:g}×")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if len(models) > 1:
        axes.legend(frameon=False, fontsize="small", loc="best")
    _label(figure, axes, points)
    with atomic_path(path) as half:
        figure.savefig(half, format="png")


def _x(point: Point) -> float:
    return 1.0 if point.speedup is None else point.speedup.estimate


def _label(figure: Any, axes: Any, points: Sequence[Point]) -> None:
    """Write each recipe beside its point, where no other label is."""
    figure.canvas.draw()  # fixes the axes' place
    texts = [axes.annotate(point.recipe, (_x(point), point.ap), fontsize="small") for point in points]
    extents = [text.get_window_extent(figure.canvas.get_renderer()) for text in texts]
    at = axes.transData.transform([(_x(point), point.ap) for point in points])
    _, _, width, height = figure.bbox.bounds
    around = np.concatenate([at - 6, at + 6], axis=1)  # room for the dot, in pixels of the picture
    around[:, [1, 3]] = height - around[:, [3, 1]]  # labels are placed from the top
    # Dots come first among the labels placed: no text covers one.
    sizes = [(12.0, 12.0)] * len(points) + [(extent.width + 4, extent.height + 2) for extent in extents]
    dots = around + np.asarray([0, 12, 0, 12])  # a label goes above its box: this one's label is the dot
    placed = place_labels(np.concatenate([dots, around]).astype(np.float32), sizes, width, height)
    for text, box in zip(texts, placed[len(points) :], strict=True):
        corner = axes.transData.inverted().transform((box[0] + 2, height - box[3] + 1))
        text.set_position(tuple(corner))
