"""`study_sensitivity`: every trial on every image, into a folder, resumable."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detq.datasets import open_dataset
from detq.engine.calibration import Calibration, CalibrationChoice, missing
from detq.engine.choice import file_digest
from detq.errors import DetqError, QuantizationError
from detq.files import write_json, write_text
from detq.measure.threads import pinned_threads
from detq.models.weights import load_model, parse_weights
from detq.models.zoo import find_model
from detq.out_folder import OutFolder
from detq.runner import Progress
from detq.runner.view import View
from detq.sensitivity.plot import draw_sensitivity
from detq.sensitivity.result import Sensitivity
from detq.sensitivity.study import Study
from detq.sensitivity.trials import trials

__all__ = ["SensitivityConfig", "study_sensitivity"]

JOURNAL, RESULT, REPORT, PICTURE = "trials.jsonl", "sensitivity.json", "sensitivity.md", "sensitivity.png"


@dataclass(frozen=True)
class SensitivityConfig:
    """The arguments of `detq sensitivity`.

    Attributes:
        data: what `open_dataset` opens, labelled; neither what is reported on nor what calibrates.
        out: the folder for results.
        model: a zoo name, or `package.module:callable`.
        weights: see `detq.models.weights.parse_weights`.
        classes: names of the weights' labels where their file brings none.
        class_map: `car=1,2`, see `open_dataset`.
        calibration: images for ranges.
        limit: how many images to use, from the first.
        each_layer: try every layer of the backbone by itself, instead of every block.
        stages_only: leave the backbone's parts out.
        resume: go on with the study in `out`.
        seed: of random weights.
        threads: of torch.
    """

    data: str
    out: Path
    model: str
    weights: str | None = None
    classes: tuple[str, ...] | None = None
    class_map: str | None = None
    calibration: CalibrationChoice = CalibrationChoice()  # noqa: RUF009  # frozen
    limit: int | None = None
    each_layer: bool = False
    stages_only: bool = False
    resume: bool = False
    seed: int = 0
    threads: int = 1


def study_sensitivity(config: SensitivityConfig, progress: Progress) -> Sensitivity:
    """Judge every trial and write `sensitivity.json`, `.md` and `.png` to `config.out`.

    Raises:
        DetqError: a mistake in the arguments, the data or the weights.
    """
    folder = OutFolder(config.out, "study", config.out / "study.json", "detq-study-settings/1")
    folder.check(resume=config.resume)
    spec = find_model(config.model)
    source = parse_weights(config.weights, spec, config.seed)
    if not config.calibration.suits(source.kind):
        raise QuantizationError(missing(["detq sensitivity"]))
    calibration = config.calibration.draw()
    data = open_dataset(config.data, class_map=config.class_map)
    loaded = load_model(spec, source, config.classes)
    view = View(data, loaded.classes, labelled=True, limit=config.limit)
    _check_apart(view, calibration)
    settings: dict[str, Any] = {
        "model": config.model,
        "weights": source.describe(),
        "weights_sha256": None if source.path is None else file_digest(Path(source.path)),
        "data": view.name,
        "data_identity": view.identity(),
        "images": len(view),
        "calibration": calibration.describe(),
    }
    folder.claim(settings)
    with folder.locked(), pinned_threads(config.threads):
        study = Study(loaded, calibration, view, progress.say)
        result = _judge_all(config, study, settings, len(view), progress)
    write_json(config.out / RESULT, result.to_json())
    write_text(config.out / REPORT, "\n".join(table.to_markdown() for table in result.tables()))
    draw_sensitivity(result, config.out / PICTURE)
    return result


def _check_apart(view: View, calibration: Calibration) -> None:
    """Refuse to judge on images that calibrate.

    Raises:
        DetqError: there are some.
    """
    places = {_place(view.name), _place(calibration.dataset.name)}
    shared = set(view.image_ids()) & set(calibration.describe()["images"])
    if len(places) == 1 and shared:
        raise DetqError(
            f"--data {view.name}: expected images that do not calibrate, found {len(shared)} that do; use another split"
        )


def _place(name: str) -> str:
    location = name.partition("?")[0]
    return location if ":" in location else str(Path(location).resolve())


def _judge_all(
    config: SensitivityConfig, study: Study, settings: dict[str, Any], images: int, progress: Progress
) -> Sensitivity:
    """Judge the trials that the journal lacks."""
    wanted = trials(study.layers, each_layer=config.each_layer)
    wanted = tuple(trial for trial in wanted if not (config.stages_only and trial.part))
    journal = config.out / JOURNAL
    known = _read(journal)
    left = [trial for trial in wanted if trial.id not in known]
    if known:
        progress.say(f"Going on after {len(wanted) - len(left)} of {len(wanted)} trials.")
    progress.begin("images of all trials", len(wanted) * images, (len(wanted) - len(left)) * images)
    for number, trial in enumerate(left, start=len(wanted) - len(left)):
        found = study.judge(trial.active(study.layers), _shift(progress.step, number * images))
        known[trial.id] = {"AP": found.AP or 0.0, "AP50": found.AP50 or 0.0}
        with journal.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"trial": trial.id, **known[trial.id]}) + "\n")
    progress.end()
    parts = tuple(dict.fromkeys(trial.part for trial in wanted if trial.part))
    return Sensitivity(settings, tuple(study.layers), parts, {trial.id: known[trial.id] for trial in wanted})


def _shift(step: Callable[[int], None], done: int) -> Callable[[int], None]:
    return lambda more: step(done + more)


def _read(path: Path) -> dict[str, dict[str, float]]:
    """Return the trials in a journal; a line that a kill cut short counts as none."""
    found: dict[str, dict[str, float]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            entry = json.loads(line)
            found[str(entry["trial"])] = {"AP": float(entry["AP"]), "AP50": float(entry["AP50"])}
        except (ValueError, KeyError, TypeError):
            continue
    return found
