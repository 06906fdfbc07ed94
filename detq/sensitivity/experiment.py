"""`study_sensitivity`: every trial on every image, into a folder, resumable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from detq.files import write_json, write_text
from detq.runner import Progress
from detq.sensitivity.choice import Choice, as_document, choose, further_trials
from detq.sensitivity.plot import draw_sensitivity
from detq.sensitivity.result import Sensitivity
from detq.sensitivity.session import Journal, Opened, StudyConfig, open_study
from detq.sensitivity.study import Study
from detq.sensitivity.times import stage_times
from detq.sensitivity.trials import Trial, trials

__all__ = ["SensitivityConfig", "study_sensitivity"]

JOURNAL, RESULT, REPORT, PICTURE = "trials.jsonl", "sensitivity.json", "sensitivity.md", "sensitivity.png"


@dataclass(frozen=True)
class SensitivityConfig(StudyConfig):
    """The arguments of `detq sensitivity`.

    Attributes:
        each_layer: try every layer of the backbone by itself, instead of every block.
        stages_only: leave the backbone's parts out.
        times: compile the stages in bf16 and in int8, and time them.
    """

    each_layer: bool = False
    stages_only: bool = False
    times: bool = True


def study_sensitivity(config: SensitivityConfig, progress: Progress) -> tuple[Sensitivity, Choice]:
    """Judge every trial and write `sensitivity.json`, `.md` and `.png` to `config.out`.

    Raises:
        DetqError: a mistake in the arguments, the data or the weights.
    """
    opened = open_study(config, [config.calibration], "detq sensitivity", "detq-study-settings/2")
    (calibration,) = opened.calibrations
    with opened.running({"calibration": calibration.describe()}) as settings:
        study = Study(opened.loaded, calibration, opened.view, progress.say)
        result = _Judge(config, study, opened, progress).all(settings)
        if config.times:
            result = replace(result, times=stage_times(opened, choose(result).keep, progress))
    choice = choose(result)
    write_json(config.out / RESULT, as_document(result, choice))
    write_text(config.out / REPORT, "\n".join(table.to_markdown() for table in result.tables()))
    draw_sensitivity(result, config.out / PICTURE)
    return result, choice


class _Judge:
    """Judges the trials that the journal lacks."""

    def __init__(self, config: SensitivityConfig, study: Study, opened: Opened, progress: Progress) -> None:
        self._config, self._study, self._progress = config, study, progress
        self._images = len(opened.view)
        self._journal = Journal(config.out / JOURNAL, "trial", ("AP", "AP50", "error"), float)
        self._known = self._journal.read()

    def all(self, settings: dict[str, Any]) -> Sensitivity:
        """Judge the trials that every study has, then those that its choice asks for."""
        wanted = trials(self._study.layers, each_layer=self._config.each_layer)
        wanted = tuple(trial for trial in wanted if not (self._config.stages_only and trial.part))
        left = [trial for trial in wanted if trial.id not in self._known]
        done = len(wanted) - len(left)
        if self._known:
            self._progress.say(f"Going on after {done} of {len(wanted)} trials.")
        self._progress.begin("images of all trials", len(wanted) * self._images, done * self._images)
        for number, trial in enumerate(left, start=done):
            self._one(trial, _shift(self._progress.step, number * self._images))
        self._progress.end()
        parts = tuple(dict.fromkeys(trial.part for trial in wanted if trial.part))
        result = Sensitivity(settings, tuple(self._study.layers), parts, self._known)
        for trial in further_trials(result):
            if trial.id not in self._known:
                self._progress.begin(f"int8 but in {trial.part.replace('+', ', ')}", self._images)
                self._one(trial, self._progress.step)
                self._progress.end()
        return result

    def _one(self, trial: Trial, step: Callable[[int], None]) -> None:
        self._known[trial.id] = self._study.judge(trial.active(self._study.layers), step)
        self._journal.append(trial.id, self._known[trial.id])


def _shift(step: Callable[[int], None], done: int) -> Callable[[int], None]:
    return lambda more: step(done + more)
