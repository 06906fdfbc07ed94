"""The comparison of the variants of one run, as text: what each costs, and what each finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from detq.gate.text import NARROWEST, make_table, to_text

__all__ = ["render_comparison"]

COST = {
    "time and size": 14,
    "median": 10,
    "p90": 10,
    "p99": 10,
    "speed-up over fp32": 22,
    "weights": 9,
    "in int8": 8,
    "proposals": 9,
}
HEADINGS = {"mask_AP": "mask AP", "prediction_iou": "prediction IoU", "ground_truth_iou": "ground truth IoU"}
FIGURES = ("AP", "AP50", "prediction_iou", "ground_truth_iou", "precision", "recall")


def render_comparison(
    infos: Mapping[str, Mapping[str, Any]],
    times_s: Mapping[str, Sequence[float]],
    *,
    width: int = NARROWEST,
    colour: bool = False,
) -> str:
    """Return two tables: time and size, then accuracy with differences to fp32 of the same run.

    Args:
        infos: `extra_info` of each variant, by id, fp32 before the others of its model.
        times_s: seconds of each image.
        width: of the terminal, in characters.
        colour: whether to write terminal colours.
    """
    if not infos:
        return ""
    by_model: dict[str, tuple[Any, Any]] = {}
    for variant, info in infos.items():
        figures = _figures(info)
        headings = {"accuracy": 14, **{HEADINGS.get(name, name): 16 for name in figures}}
        cost, found = by_model.setdefault(info["model"], (make_table(COST), make_table(headings)))
        cost.add_row(info["recipe"], *_cost(info, times_s[variant]))
        found.add_row(info["recipe"], *_accuracy(info, figures))
    first = next(iter(infos.values()))
    data = first["data"]
    title = f"{data['images']} images of {data['name']}, {first['threads']} threads, {first['machine_class']}"
    lines = [item for model, tables in by_model.items() for item in ("", model, *tables)]
    return to_text([title, *lines], width=width, colour=colour)


def _cost(info: Mapping[str, Any], times_s: Sequence[float]) -> list[str]:
    speedup, proposals = info["speedup"], info["proposals"]
    return [
        *(f"{value:.1f} ms" for value in np.percentile(np.asarray(times_s) * 1e3, [50, 90, 99])),
        "1" if speedup is None else f"{speedup['estimate']:.3f}× [{speedup['low']:.3f}, {speedup['high']:.3f}]",
        f"{info['weight_bytes'] / 1e6:.1f} MB",
        f"{info['int8_share']:.1%}",
        "n/a" if proposals is None else f"{proposals:.0f}",
    ]


def _figures(info: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the figures to show: where there is mask AP it takes the place of AP50, because lines are only so long."""
    masks = "mask_AP" in (info["accuracy"] or {})
    return tuple("mask_AP" if masks and name == "AP50" else name for name in FIGURES)


def _accuracy(info: Mapping[str, Any], figures: Sequence[str]) -> list[str]:
    accuracy, difference = info["accuracy"], info["difference_to_fp32"]
    if accuracy is None:
        return ["n/a"] * len(figures)
    cells = []
    for name in figures:
        change = difference[name] if difference else None
        figure = "n/a" if accuracy[name] is None else f"{accuracy[name]:.4f}"
        cells.append(figure if change is None else f"{figure} ({change['estimate']:+.4f})")
    return cells
