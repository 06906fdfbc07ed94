"""How much the choice of calibration images matters: the same detector, calibrated on several random sets.

The 2024 report: "the quantized model could be different for each run". This says by how much.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from detq.datasets import open_dataset
from detq.engine.calibration import CalibrationChoice, missing
from detq.engine.choice import file_digest
from detq.errors import QuantizationError
from detq.files import write_json, write_text
from detq.measure.threads import pinned_threads
from detq.metrics.evaluate import evaluate
from detq.metrics.report2024 import METRICS
from detq.models.weights import LoadedModel, load_model, parse_weights
from detq.models.zoo import find_model
from detq.out_folder import OutFolder
from detq.report.table import Table
from detq.runner import Progress
from detq.runner.view import View
from detq.sensitivity.study import Study
from detq.sensitivity.trials import Trial

__all__ = ["Variance", "VarianceConfig", "calibrate_variance"]

FORMAT = "detq-variance/1"
JOURNAL, RESULT, REPORT = "seeds.jsonl", "variance.json", "variance.md"
NAMES = ("AP", *METRICS)


@dataclass(frozen=True)
class VarianceConfig:
    """The arguments of `detq calibrate-variance`.

    Attributes:
        data: what `open_dataset` opens, labelled.
        out: the folder for results.
        model: a zoo name, or `package.module:callable`.
        calibration: the images to draw from; its seed is the first of `seeds`.
        seeds: how many sets are drawn.
        weights, classes, class_map, limit, resume, seed, threads: see `SensitivityConfig`.
    """

    data: str
    out: Path
    model: str
    calibration: CalibrationChoice
    seeds: int = 10
    weights: str | None = None
    classes: tuple[str, ...] | None = None
    class_map: str | None = None
    limit: int | None = None
    resume: bool = False
    seed: int = 0
    threads: int = 1


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
            f"{self.settings['images']} images; every dense stage in simulated int8."
        )
        return Table("Static int8 by calibration set", columns, rows, (note,))


def calibrate_variance(config: VarianceConfig, progress: Progress) -> Variance:
    """Calibrate with one seed after the other, judge each, and write `variance.json` and `.md` to `config.out`.

    Raises:
        DetqError: a mistake in the arguments, the data or the weights.
    """
    folder = OutFolder(config.out, "study", config.out / "study.json", "detq-variance-settings/1")
    folder.check(resume=config.resume)
    spec = find_model(config.model)
    source = parse_weights(config.weights, spec, config.seed)
    if not config.calibration.suits(source.kind):
        raise QuantizationError(missing(["detq calibrate-variance"]))
    data = open_dataset(config.data, class_map=config.class_map)
    loaded = load_model(spec, source, config.classes)
    view = View(data, loaded.classes, labelled=True, limit=config.limit)
    described = config.calibration.draw().describe()
    settings: dict[str, Any] = {
        "model": config.model,
        "weights": source.describe(),
        "weights_sha256": None if source.path is None else file_digest(Path(source.path)),
        "data": view.name,
        "data_identity": view.identity(),
        "images": len(view),
        "calibration": {name: described[name] for name in ("data", "seed", "observer")},
        "calibration_images": len(described["images"]),
    }
    folder.claim(settings)
    with folder.locked(), pinned_threads(config.threads):
        result = Variance(settings, _judge_all(config, loaded, view, progress))
    write_json(config.out / RESULT, result.to_json())
    write_text(config.out / REPORT, result.table().to_markdown())
    return result


def _judge_all(
    config: VarianceConfig, loaded: LoadedModel, view: View, progress: Progress
) -> dict[str, dict[str, float | None]]:
    journal = config.out / JOURNAL
    known = _read(journal)
    first = config.calibration.seed
    seeds = [str(seed) for seed in range(first, first + config.seeds)]
    for number, seed in enumerate(seeds):
        if seed in known and "fp32" in known:
            continue
        chosen = replace(config.calibration, seed=int(seed))
        study = Study(loaded, chosen.draw(), view, progress.say)
        wanted = {"fp32": Trial("none"), seed: Trial("all")}
        for name, trial in wanted.items():
            if name in known:
                continue
            progress.begin(f"calibration {number + 1} of {len(seeds)}: {name}", len(view))
            found = study.detect(trial.active(study.layers), progress.step)
            progress.end()
            entry = evaluate({name: found}, view.truths(), view.classes, reference=None)[name]
            known[name] = {"AP": entry["coco"]["AP"], **{metric: entry["report"][metric] for metric in METRICS}}
            with journal.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({"seed": name, **known[name]}) + "\n")
    return {name: known[name] for name in ("fp32", *seeds)}


def _read(path: Path) -> dict[str, dict[str, float | None]]:
    """Return what a journal holds; a line that a kill cut short counts as none."""
    found: dict[str, dict[str, float | None]] = {}
    lines: Sequence[str] = path.read_text(encoding="utf-8").splitlines() if path.exists() else ()
    for line in lines:
        try:
            entry = json.loads(line)
            found[str(entry["seed"])] = {name: entry[name] for name in NAMES}
        except (ValueError, KeyError, TypeError):
            continue
    return found
