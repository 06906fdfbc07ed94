"""What a run is asked to do."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from detq.engine.calibration import CalibrationChoice
from detq.errors import DetqError
from detq.runner.view import check_limit

__all__ = ["RunConfig"]


@dataclass(frozen=True)
class RunConfig:
    """The arguments of `detq run`.

    Attributes:
        data: what `open_dataset` opens.
        out: the folder for results.
        model: a zoo name, or `package.module:callable`; empty for that of the artifacts, else for `DEFAULT_MODEL` of
            `detq.models.zoo`.
        recipes: names of recipes, all that the model supports by default, none beside artifacts; `fp32` is added where
            it is missing.
        weights: see `detq.models.weights.parse_weights`.
        classes: names of the weights' labels where their file does not bring any.
        data_classes: names of the data set's classes where its files do not bring any.
        class_map: `car=1,2`, see `open_dataset`.
        format: a data format, or None to recognise it.
        split: which part of a YOLO `data.yaml` to read.
        allow_unlabelled: an image without a label file is background.
        unlabelled: compare with fp32 instead of labels.
        limit: how many images to use, from the first; None for all.
        draw: how many images to draw.
        memory: measure each variant's peak memory in a process of its own, some seconds each.
        resume: go on with the run in `out`.
        seed: decides the order of variants, random weights and the bootstrap's draws.
        threads: how many threads torch may use, at least 1.
        score: least score of a detection in the report's metrics, the agreement and the pictures, in [0, 1].
        iou: least IoU of a match there, in (0, 1].
        calibration: what static int8 takes its ranges from.
        report_class: the class of the report's metrics; see `detq.metrics.evaluate.choose_report_class`.
        artifacts: files of whole models, each one more variant of the same model and weights.
        image_sizes: (height, width) of images that compiled stages get ready for before anything is timed.
        system_allocator: do not keep freed memory, see `detq.measure.allocator`. A process that has begun to, for
            another run, goes on doing so.
    """

    data: str
    out: Path
    model: str = ""
    recipes: tuple[str, ...] | None = None
    weights: str | None = None
    classes: tuple[str, ...] | None = None
    data_classes: tuple[str, ...] | None = None
    class_map: str | None = None
    format: str | None = None
    split: str | None = None
    allow_unlabelled: bool = False
    unlabelled: bool = False
    limit: int | None = None
    draw: int = 0
    memory: bool = True
    resume: bool = False
    seed: int = 0
    threads: int = 1
    score: float = 0.7
    iou: float = 0.65
    calibration: CalibrationChoice = field(default_factory=CalibrationChoice)
    report_class: str | None = None
    artifacts: tuple[Path, ...] = ()
    image_sizes: tuple[tuple[int, int], ...] = ()
    system_allocator: bool = False

    def __post_init__(self) -> None:
        check_limit(self.limit)
        if self.draw < 0:
            raise DetqError(f"--draw: expected 0 images or more, got {self.draw}")
        if self.threads < 1:
            raise DetqError(f"--threads: expected at least 1, got {self.threads}; leave it out to use all cores")
        if not (math.isfinite(self.score) and 0 <= self.score <= 1):
            raise DetqError(f"--score: expected a number from 0 to 1, got {self.score}")
        if not (math.isfinite(self.iou) and 0 < self.iou <= 1):
            raise DetqError(f"--iou: expected a number above 0 and up to 1, got {self.iou}")
