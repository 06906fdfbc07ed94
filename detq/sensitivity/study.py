"""AP of a detector with any choice of its layers in simulated int8."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from detq.engine.bias import channel_means, correct_bias
from detq.engine.calibration import Calibration
from detq.engine.capability import capability
from detq.engine.dense import DenseStages
from detq.engine.detector import Dense
from detq.engine.glue import own_resize
from detq.engine.observe import Observed
from detq.engine.quantize import Programs
from detq.metrics.coco import coco_evaluate
from detq.models.weights import LoadedModel
from detq.predictor import as_detections
from detq.quantization.plan import StageRule
from detq.runner.view import View
from detq.sensitivity.simulate import Simulated
from detq.types import Detections, select_classes

__all__ = ["Study"]

Step = Callable[[int], None]


@dataclass
class _Stage:
    """A stage's graph, what it showed, and what its layers give in fp32."""

    simulated: Simulated
    observed: Observed
    means: Mapping[str, Tensor]


class Study:
    """A detector whose layers can be switched to int8 and back, on the images of a view.

    Attributes:
        layers: those that can be quantized, by stage.
    """

    def __init__(self, loaded: LoadedModel, calibration: Calibration, view: View, say: Callable[[str], None]) -> None:
        """Calibrate.

        Args:
            loaded: the detector.
            calibration: images for ranges and biases.
            view: labelled images.
            say: is told how far the calibration is.

        Raises:
            DetqError: see `Programs.observe`.
        """
        self._view, self._classes = view, loaded.classes
        detector: Any = loaded.module
        pixels = not own_resize(detector.transform)
        with torch.inference_mode(mode=False), torch.no_grad():
            stages = DenseStages(detector, pixels=pixels)
            names = tuple(detector.backbone(torch.zeros(1, 3, 64, 64)))
            self._programs = Programs(
                detector, stages, names, pixels=pixels, calibration=calibration, found=capability(), say=say
            )
            say(f"calibrating on {len(calibration.indices)} images of {calibration.dataset.name}")
            seen = self._programs.observe({stage: StageRule("inductor", "int8") for stage in stages})
            self._stages = {stage: _simulate(one) for stage, one in seen.items()}
        self.layers = {stage: one.simulated.layers for stage, one in self._stages.items()}
        self._features: dict[int, tuple[Tensor, ...]] = {}
        self._float = stages["backbone"]

    def judge(self, active: Mapping[str, tuple[str, ...]], step: Step) -> dict[str, float]:
        """Return what these layers in int8 cost; see `detect`.

        Returns:
            "AP" and "AP50", in [0, 1]; "error", the root mean square by which the feature pyramid differs from fp32's,
            as a share of the root mean square of fp32's: it tells small harm from none, which AP of some hundred images
            cannot.
        """
        error = _Error()
        detections = self._detect(active, step, error)
        found = coco_evaluate(detections, self._view.truths(), self._view.classes)
        return {"AP": found.AP or 0.0, "AP50": found.AP50 or 0.0, "error": error.relative()}

    def detect(self, active: Mapping[str, tuple[str, ...]], step: Step) -> list[Detections]:
        """Return what is found in each image with these layers in int8 and the rest in fp32, biases corrected.

        Args:
            active: paths of layers, by stage.
            step: is told the number of images done.
        """
        return self._detect(active, step, None)

    def _detect(self, active: Mapping[str, tuple[str, ...]], step: Step, error: _Error | None) -> list[Detections]:
        """Do so; where there is an `error` to add to, run the fp32 backbone beside one in int8."""
        with torch.inference_mode(mode=False), torch.no_grad():
            dense: dict[str, Dense] = {stage: self._quantized(stage, paths) for stage, paths in active.items()}
        replay = _Replay(self._float, self._features)
        if "backbone" not in dense:
            dense["backbone"] = replay
        elif error is not None:
            dense["backbone"] = _Compared(dense["backbone"], replay, error)
        detector = self._programs.detector_with(dense)
        found: list[Detections] = []
        for index in range(len(self._view)):
            replay.index = index
            sample = self._view.load(index)
            with torch.inference_mode():
                detections = as_detections(detector.from_pixels(sample.image), masks=False)
            found.append(select_classes(detections, self._classes, self._view.classes))
            step(index + 1)
        return found

    def _quantized(self, stage: str, paths: tuple[str, ...]) -> nn.Module:
        chosen = self._stages[stage]
        simulated = copy.deepcopy(chosen.simulated)
        simulated.activate(paths)
        correct_bias(simulated.graph, chosen.observed.images, chosen.means)
        return simulated


REMEMBERED = 2**30
"""Bytes of feature maps that a study keeps: a MobileNet's maps of an image take 2 MB, a ResNet's 90."""


class _Replay:
    """The backbone in fp32, run once for each image as far as memory goes."""

    def __init__(self, backbone: nn.Module, known: dict[int, tuple[Tensor, ...]]) -> None:
        self._backbone, self._known, self.index = backbone, known, 0

    def __call__(self, canvas: Tensor) -> Any:
        if self.index in self._known:
            return self._known[self.index]
        maps: tuple[Tensor, ...] = tuple(self._backbone(canvas))
        size = sum(one.nbytes for one in maps)
        if (len(self._known) + 1) * size <= REMEMBERED:
            self._known[self.index] = maps
        return maps


@dataclass
class _Error:
    """Sums of squares: of what two pyramids differ by, and of the one in fp32."""

    difference: float = 0.0
    whole: float = 0.0

    def add(self, found: Sequence[Tensor], exact: Sequence[Tensor]) -> None:
        for one, other in zip(found, exact, strict=True):
            self.difference += float((one.float() - other).square().sum())
            self.whole += float(other.square().sum())

    def relative(self) -> float:
        return math.sqrt(self.difference / self.whole) if self.whole else 0.0


class _Compared:
    """The backbone in simulated int8, its error taken down."""

    def __init__(self, simulated: Dense, replay: _Replay, error: _Error) -> None:
        self._simulated, self._replay, self._error = simulated, replay, error

    def __call__(self, canvas: Tensor) -> Any:
        found = self._simulated(canvas)
        self._error.add(found, self._replay(canvas))
        return found


def _simulate(observed: Observed) -> _Stage:
    simulated = Simulated(observed.graph)
    simulated.activate(())
    means = channel_means(simulated.graph, observed.images)
    return _Stage(simulated, observed, means)
