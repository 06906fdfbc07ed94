"""How much the choice of calibration images matters: the same detector, calibrated on several random sets.

The 2024 report: "the quantized model could be different for each run". This says by how much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from detq.files import write_json, write_text
from detq.metrics.evaluate import evaluate
from detq.metrics.report2024 import METRICS
from detq.quantization.recipes import INT8
from detq.report.table import Table
from detq.runner import Progress
from detq.sensitivity.session import Journal, Opened, StudyConfig, open_study
from detq.sensitivity.study import Study

__all__ = ["Variance", "VarianceConfig", "calibrate_variance"]

FORMAT = "detq-variance/1"
JOURNAL, RESULT, REPORT = "seeds.jsonl", "variance.json", "variance.md"
NAMES = ("AP", *METRICS)


@dataclass(frozen=True)
class VarianceConfig(StudyConfig):
    """The arguments of `detq calibrate-variance`; the seed of `calibration` is the first of `seeds`.

    Attributes:
        seeds: how many sets of images are drawn.
    """

    seeds: int = 10


@dataclass(frozen=True)
class Variance:
    """Accuracy in fp32, and in simulated static int8 by the seed of its calibration images.

    Attributes:
        settings: what `--resume` compares.
        found: by seed, and "fp32": value of each of `NAMES`, or None where there is none.
    """

    settings: Mapping[str, Any]
    found: Mapping[str, Mapping[str, float | None]]

    def summary(self) -> dict[str, dict[str, float]]:
        """Return mean, standard deviation, least and greatest over the seeds, and fp32's, for each metric."""
        summary = {}
        for name in NAMES:
            values = [entry[name] for seed, entry in self.found.items() if seed != "fp32"]
            known = np.asarray([value for value in values if value is not None], np.float64)
            fp32 = self.found["fp32"][name]
            if len(known) and fp32 is not None:
                spread = float(known.std(ddof=1)) if len(known) > 1 else 0.0
                ends = float(known.min()), float(known.max())
                summary[name] = {"fp32": fp32, "mean": float(known.mean()), "deviation": spread}
                summary[name] |= {"least": ends[0], "greatest": ends[1]}
        return summary

    def to_json(self) -> dict[str, Any]:
        """Return the content of `variance.json`."""
        seeds = {name: dict(values) for name, values in self.found.items()}
        return {"format": FORMAT, "settings": dict(self.settings), "seeds": seeds, "summary": self.summary()}

    def table(self) -> Table:
        """Return one row a metric."""
        columns = ("metric", "fp32", "int8, mean", "standard deviation", "least", "greatest")
        rows = tuple((name, *(f"{value:.4f}" for value in entry.values())) for name, entry in self.summary().items())
        note = (
            f"{len(self.found) - 1} random sets of {self.settings['calibration_images']} calibration images, "
            f"{self.settings['images']} images; the layers of static_int8 in simulated int8."
        )
        return Table("Static int8 by calibration set", columns, rows, (note,))


def calibrate_variance(config: VarianceConfig, progress: Progress) -> Variance:
    """Calibrate with one seed after the other, judge each, and write `variance.json` and `.md` to `config.out`.

    Raises:
        DetqError: a mistake in the arguments, the data or the weights.
    """
    first = config.calibration.seed
    choices = [replace(config.calibration, seed=seed) for seed in range(first, first + config.seeds)]
    opened = open_study(config, choices, "detq calibrate-variance", "detq-variance-settings/1")
    described = opened.calibrations[0].describe()
    more = {
        "calibration": {name: described[name] for name in ("data", "seed", "observer")},
        "calibration_images": len(described["images"]),
    }
    with opened.running(more) as settings:
        result = Variance(settings, _judge_all(opened, progress))
    write_json(config.out / RESULT, result.to_json())
    write_text(config.out / REPORT, result.table().to_markdown())
    return result


def _judge_all(opened: Opened, progress: Progress) -> dict[str, dict[str, float | None]]:
    view, calibrations = opened.view, {str(one.seed): one for one in opened.calibrations}
    journal = Journal(opened.config.out / JOURNAL, "seed", NAMES, _figure)
    known = journal.read()
    for number, (seed, calibration) in enumerate(calibrations.items()):
        if seed in known and "fp32" in known:
            continue
        study = Study(opened.loaded, calibration, view, progress.say)
        wanted: dict[str, dict[str, tuple[str, ...]]] = {"fp32": {}, seed: _static_int8(study.layers)}
        for name, layers in wanted.items():
            if name in known:
                continue
            progress.begin(f"calibration {number + 1} of {len(calibrations)}: {name}", len(view))
            found = study.detect(layers, progress.step)
            progress.end()
            entry = evaluate({name: found}, view.truths(), view.classes, reference=None)[name]
            known[name] = {"AP": entry["coco"]["AP"], **{metric: entry["report"][metric] for metric in METRICS}}
            journal.append(name, known[name])
    return {name: known[name] for name in ("fp32", *calibrations)}


def _static_int8(layers: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Return the layers that static_int8 runs in int8, by stage."""
    kept = {stage: INT8.rule(stage).keep for stage in layers}
    return {
        stage: tuple(path for path in paths if not any(f"{path}.".startswith(f"{one}.") for one in kept[stage]))
        for stage, paths in layers.items()
    }


def _figure(value: Any) -> float | None:
    return None if value is None else float(value)
