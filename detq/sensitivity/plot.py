"""The loss of each part as bars, in the order in which an image meets them."""

from __future__ import annotations

from pathlib import Path

from detq.files import atomic_path
from detq.report.profile import require_matplotlib
from detq.sensitivity.result import Sensitivity
from detq.sensitivity.trials import Trial

__all__ = ["draw_sensitivity"]


SERIES = (("only", -0.2, "only this in int8", "#1f77b4"), ("but", 0.2, "all but this in int8", "#ff9f4a"))
"""Kind of trial, where its bar stands, what the legend calls it, colour."""


def draw_sensitivity(study: Sensitivity, path: Path) -> None:
    """Draw what int8 changes of AP, and how far it moves the feature maps: each part alone, and all but it.

    Args:
        study: whole.
        path: of the picture, `.png`.

    Raises:
        UnsupportedError: matplotlib is missing.
    """
    require_matplotlib("detq sensitivity")
    from matplotlib.figure import Figure

    rows = [("", stage) for stage in study.stages] + [("backbone", part) for part in study.parts]
    figure = Figure(figsize=(11, 1.4 + 0.32 * len(rows)), layout="constrained")
    losses, errors = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    for kind, offset, label, colour in SERIES:
        trials = [Trial(kind, stage or name, name if stage else "") for stage, name in rows]
        places = [number + offset for number in range(len(rows))]
        losses.barh(places, [-study.loss(one) for one in trials], height=0.38, label=label, color=colour)
        moved = [100 * study.found[one.id]["error"] for one in trials]
        errors.barh(places, moved, height=0.38, color=colour)
    losses.axvline(0, color="black", linewidth=0.8)
    for axes in (losses, errors):
        if study.parts:
            axes.axhline(len(study.stages) - 0.5, color="grey", linewidth=0.8, linestyle=":")
        axes.margins(y=0.01)
        axes.grid(axis="x", alpha=0.25)
        axes.set_axisbelow(True)
    losses.set_yticks(range(len(rows)), [name for _, name in rows], fontsize=8)
    losses.invert_yaxis()
    losses.set_xlabel(f"change of AP against fp32 ({study.found['none']['AP']:.3f}), {study.settings['images']} images")
    errors.set_xlabel("error of the feature maps, %")
    figure.suptitle(
        "What int8 costs: stages, and below the line parts of the backbone, other stages in fp32", fontsize=10
    )
    figure.legend(fontsize=8, ncols=2, loc="outside lower center", frameon=False)  # inside it would hide bars
    with atomic_path(path) as half:
        figure.savefig(half, dpi=130, format="png")
