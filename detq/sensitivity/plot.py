"""The loss of each part as bars, in the order in which an image meets them."""

from __future__ import annotations

from pathlib import Path

from detq.files import atomic_path
from detq.report.profile import require_matplotlib
from detq.sensitivity.result import Sensitivity
from detq.sensitivity.trials import Trial

__all__ = ["draw_sensitivity"]


def draw_sensitivity(study: Sensitivity, path: Path) -> None:
    """Draw what int8 changes of AP: each part alone, and all but it, to `path` (.png).

    Raises:
        UnsupportedError: matplotlib is missing.
    """
    require_matplotlib("detq sensitivity")
    from matplotlib.figure import Figure

    rows = [(stage, Trial("only", stage), Trial("but", stage)) for stage in study.stages]
    rows += [(part, Trial("only", "backbone", part), Trial("but", "backbone", part)) for part in study.parts]
    figure = Figure(figsize=(8, 1.4 + 0.32 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for offset, column, label, colour in (
        (-0.2, 1, "only this in int8", "#1f77b4"),
        (0.2, 2, "all but this in int8; of a part, the backbone but it", "#ff9f4a"),
    ):
        values = [-study.loss(row[column]) for row in rows]  # type: ignore[arg-type]
        axes.barh([number + offset for number in range(len(rows))], values, height=0.38, label=label, color=colour)
    axes.axvline(0, color="black", linewidth=0.8)
    if study.parts:
        axes.axhline(len(study.stages) - 0.5, color="grey", linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(rows)), [row[0] for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel(f"change of AP against fp32 ({study.found['none']['AP']:.3f}), {study.settings['images']} images")
    axes.set_title("What int8 costs: stages, and below the line parts of the backbone", fontsize=10)
    axes.margins(y=0.01)
    axes.grid(axis="x", alpha=0.25)
    axes.set_axisbelow(True)
    figure.legend(fontsize=8, ncols=2, loc="outside lower center", frameon=False)  # inside it would hide bars
    with atomic_path(path) as half:
        figure.savefig(half, dpi=130, format="png")
