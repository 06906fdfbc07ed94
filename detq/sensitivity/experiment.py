"""`study_sensitivity`: every trial on every image, into a folder, resumable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from detq.files import write_json, write_text
from detq.runner import Progress
from detq.sensitivity.plot import draw_sensitivity
from detq.sensitivity.result import Sensitivity
from detq.sensitivity.session import Journal, StudyConfig, open_study
from detq.sensitivity.study import Study
from detq.sensitivity.trials import trials

__all__ = ["SensitivityConfig", "study_sensitivity"]

JOURNAL, RESULT, REPORT, PICTURE = "trials.jsonl", "sensitivity.json", "sensitivity.md", "sensitivity.png"


@dataclass(frozen=True)
class SensitivityConfig(StudyConfig):
    """The arguments of `detq sensitivity`.

    Attributes:
        each_layer: try every layer of the backbone by itself, instead of every block.
        stages_only: leave the backbone's parts out.
    """

    each_layer: bool = False
    stages_only: bool = False


def study_sensitivity(config: SensitivityConfig, progress: Progress) -> Sensitivity:
    """Judge every trial and write `sensitivity.json`, `.md` and `.png` to `config.out`.

    Raises:
        DetqError: a mistake in the arguments, the data or the weights.
    """
    opened = open_study(config, [config.calibration], "detq sensitivity", "detq-study-settings/1")
    (calibration,) = opened.calibrations
    with opened.running({"calibration": calibration.describe()}) as settings:
        study = Study(opened.loaded, calibration, opened.view, progress.say)
        result = _judge_all(config, study, settings, len(opened.view), progress)
    write_json(config.out / RESULT, result.to_json())
    write_text(config.out / REPORT, "\n".join(table.to_markdown() for table in result.tables()))
    draw_sensitivity(result, config.out / PICTURE)
    return result


def _judge_all(
    config: SensitivityConfig, study: Study, settings: dict[str, Any], images: int, progress: Progress
) -> Sensitivity:
    """Judge the trials that the journal lacks."""
    wanted = trials(study.layers, each_layer=config.each_layer)
    wanted = tuple(trial for trial in wanted if not (config.stages_only and trial.part))
    journal = Journal(config.out / JOURNAL, "trial", ("AP", "AP50"), float)
    known = journal.read()
    left = [trial for trial in wanted if trial.id not in known]
    if known:
        progress.say(f"Going on after {len(wanted) - len(left)} of {len(wanted)} trials.")
    progress.begin("images of all trials", len(wanted) * images, (len(wanted) - len(left)) * images)
    for number, trial in enumerate(left, start=len(wanted) - len(left)):
        found = study.judge(trial.active(study.layers), _shift(progress.step, number * images))
        known[trial.id] = {"AP": found.AP or 0.0, "AP50": found.AP50 or 0.0}
        journal.append(trial.id, known[trial.id])
    progress.end()
    parts = tuple(dict.fromkeys(trial.part for trial in wanted if trial.part))
    return Sensitivity(settings, tuple(study.layers), parts, {trial.id: known[trial.id] for trial in wanted})


def _shift(step: Callable[[int], None], done: int) -> Callable[[int], None]:
    return lambda more: step(done + more)
