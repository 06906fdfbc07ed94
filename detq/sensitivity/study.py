"""AP of a detector with any choice of its layers in simulated int8."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
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
from detq.metrics.coco import CocoResult, coco_evaluate
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

    def judge(self, active: Mapping[str, tuple[str, ...]], step: Step) -> CocoResult:
        """Return COCO's metrics with these layers in int8; see `detect`."""
        return coco_evaluate(self.detect(active, step), self._view.truths(), self._view.classes)

    def detect(self, active: Mapping[str, tuple[str, ...]], step: Step) -> list[Detections]:
        """Return what is found in each image with these layers in int8 and the rest in fp32, biases corrected.

        Args:
            active: paths of layers, by stage.
            step: is told the number of images done.
        """
        with torch.inference_mode(mode=False), torch.no_grad():
            dense: dict[str, Dense] = {stage: self._quantized(stage, paths) for stage, paths in active.items()}
        replay = _Replay(self._float, self._features)
        dense.setdefault("backbone", replay)
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


class _Replay:
    """The backbone in fp32, run once for each image."""

    def __init__(self, backbone: nn.Module, known: dict[int, tuple[Tensor, ...]]) -> None:
        self._backbone, self._known, self.index = backbone, known, 0

    def __call__(self, canvas: Tensor) -> Any:
        if self.index not in self._known:
            self._known[self.index] = self._backbone(canvas)
        return self._known[self.index]


def _simulate(observed: Observed) -> _Stage:
    simulated = Simulated(observed.graph)
    simulated.activate(())
    means = channel_means(simulated.graph, observed.images)
    return _Stage(simulated, observed, means)
