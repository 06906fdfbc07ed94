"""From a torchvision detector and a plan to a `StagedDetector`: stages quantized, compiled or taken from the cache."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from detq.engine import compiler, static_int8
from detq.engine.calibration import Calibration
from detq.engine.capability import capability, fit_plan
from detq.engine.compiled import Typed
from detq.engine.compiler import quiet
from detq.engine.dense import DenseStages
from detq.engine.detector import Dense, StagedDetector
from detq.engine.glue import own_resize
from detq.engine.narrow import typed
from detq.engine.packages import Packages
from detq.engine.quantize import Programs, as_program
from detq.errors import UnsupportedError
from detq.quantization.plan import DENSE_STAGES, Plan, StageRule

__all__ = ["FromWeights", "build_staged", "unstaged_reason", "unsupported_reason"]

Say = Callable[[str], None]


def unsupported_reason(plan: Plan) -> str | None:
    """Return why `plan` cannot run with what is installed here, or None if it can."""
    rules = [plan.rule(stage) for stage in DENSE_STAGES]
    if plan.int8_stages and (reason := static_int8.unsupported_reason()):
        return reason
    return compiler.unsupported_reason() if any(rule.engine == "inductor" for rule in rules) else None


def unstaged_reason(detector: Any) -> str | None:
    """Return why `detector` cannot be run stage by stage, or None if it can."""
    missing = [name for name in ("transform", "backbone", "rpn", "roi_heads") if not hasattr(detector, name)]
    if missing:
        return (
            f"{type(detector).__name__} has no {' and no '.join(missing)}: only two-stage detectors built like "
            "torchvision's GeneralizedRCNN run stage by stage"
        )
    if detector.roi_heads.has_keypoint():
        return "keypoint heads are not supported"
    return None


def build_staged(
    detector: Any, plan: Plan, *, calibration: Calibration | None = None, say: Say | None = None
) -> StagedDetector:
    """Return `detector` as stages that run as `plan` says, as far as this CPU can.

    Compiling takes some 10 to 40 s a stage and shape the first time; the cache keeps what was compiled. Shapes are
    known when the first image comes, so that is when it happens; `StagedDetector.prepare` does it ahead of time.

    Args:
        detector: torchvision's, in eval mode; it stays as it is.
        plan: see `Plan`.
        calibration: for int8 stages.
        say: is told what takes long, and why.

    Raises:
        UnsupportedError: the detector has other stages, or something is missing here.
        QuantizationError: a stage could not be quantized, or int8 was asked for without calibration images.
    """
    if reason := unstaged_reason(detector):
        raise UnsupportedError(reason)
    found = capability()
    plan, notes = fit_plan(plan, found, masks=detector.roi_heads.has_mask())
    pixels = plan.pixels == "uint8" and not own_resize(detector.transform)
    stages = DenseStages(detector, pixels=pixels)
    with torch.inference_mode(mode=False), torch.no_grad():
        names = tuple(detector.backbone(torch.zeros(1, 3, 64, 64)))
        programs = Programs(
            detector, stages, names, pixels=pixels, calibration=calibration, found=found, say=say or _silent
        )
        graphs = FromWeights(stages, programs, bf16=found.bf16)
        packages = Packages(graphs, say or _silent)
        dense: dict[str, Dense] = {}
        for stage in stages:
            rule = plan.rule(stage)
            dense[stage] = graphs.eager(stage, rule) if rule.engine == "eager" else packages.stage(stage, rule)
    return StagedDetector(detector, plan, dense, names, pixels=pixels, notes=notes, graphs=graphs)


def _silent(_sentence: str) -> None:
    """Say nothing."""


class FromWeights:
    """The graphs of a detector's stages: its own modules, folded, or what calibration made of them.

    Attributes:
        detector: torchvision's.
        describe_calibration: returns what identifies the calibration images of int8 stages.
    """

    def __init__(self, stages: DenseStages, programs: Programs, *, bf16: bool) -> None:
        """Make graphs of stages.

        Args:
            stages: in fp32.
            programs: quantizes them.
            bf16: this CPU computes in bf16, so an int8 backbone hands on its features in it.
        """
        self._stages, self._programs, self._bf16 = stages, programs, bf16
        self.detector = stages.detector
        self.describe_calibration = programs.describe_calibration

    def key(self, stage: str, rule: StageRule) -> str:
        """Return what differs where the graph does."""
        return self._programs.key(stage, rule) if rule.precision == "int8" else self._stages.digest(stage)

    def graph(self, stage: str, rule: StageRule) -> nn.Module:
        """Return what is exported and compiled."""
        if rule.precision == "int8":
            return typed(self._programs.graph(stage, rule), self.makes(stage, rule))
        return self._float(stage, rule).to(memory_format=torch.channels_last)

    def makes(self, stage: str, rule: StageRule) -> torch.dtype | None:
        """Return the type that an int8 stage computes in where int8 ends, or None for fp32; see `narrow.typed`."""
        return torch.bfloat16 if rule.precision == "int8" and stage == "backbone" and self._bf16 else None

    def eager(self, stage: str, rule: StageRule) -> nn.Module:
        """Return a stage that runs without a compiler."""
        module = self._float(stage, rule)
        return module.to(memory_format=torch.channels_last) if stage != "box_head" else module

    def save_program(self, stage: str, rule: StageRule, example: tuple[Tensor, ...], path: Path) -> None:
        """Write a stage's graph for images of any size to `path`: of an int8 stage the quantized one, without casts.

        Args:
            stage: which.
            rule: how it runs.
            example: of its inputs.
            path: the file, `.pt2`.
        """
        if rule.precision == "int8":
            shutil.copyfile(self._programs.file(stage, rule), path)
            return
        with quiet(), torch.inference_mode(mode=False), torch.no_grad():
            module = self.graph(stage, rule)
            inputs = tuple(one.clone(memory_format=torch.preserve_format) for one in example)
            torch.export.save(as_program(module, stage, inputs, together=True), path)

    def _float(self, stage: str, rule: StageRule) -> nn.Module:
        module = copy.deepcopy(self._stages[stage])
        if rule.precision == "bf16":
            return Typed(module.to(torch.bfloat16), torch.bfloat16, None)
        return Typed(module, torch.float32, None)
