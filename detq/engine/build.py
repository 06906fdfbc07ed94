"""From a torchvision detector and a plan to a `StagedDetector`: stages quantized, compiled or taken from the cache."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from detq.engine import compiler, static_int8
from detq.engine.cache import cache_folder, key_of, surroundings, weights_digest
from detq.engine.calibration import Calibration
from detq.engine.capability import Capability, capability, fit_plan
from detq.engine.compiled import Compiled, PerShape, Typed, signature
from detq.engine.compiler import compile_exported, export, load_compiled
from detq.engine.dense import dense_stages
from detq.engine.detector import Dense, StagedDetector
from detq.engine.glue import own_resize
from detq.engine.pool import ROWS
from detq.engine.quantize import Programs
from detq.engine.work import GraphWork, read_program
from detq.errors import UnsupportedError
from detq.quantization.plan import DENSE_STAGES, Plan, StageRule

__all__ = ["build_staged", "unstaged_reason", "unsupported_reason"]

Say = Callable[[str], None]

_BY_ROWS = ("box_head", "mask_head")


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
    plan, notes = fit_plan(plan, found)
    pixels = plan.pixels == "uint8" and not own_resize(detector.transform)
    with torch.inference_mode(mode=False), torch.no_grad():
        stages = dense_stages(detector, pixels=pixels)
        names = tuple(detector.backbone(torch.zeros(1, 3, 64, 64)))
        programs = Programs(
            detector, stages, names, pixels=pixels, calibration=calibration, found=found, say=say or _silent
        )
        builder = _Builder(stages, programs, found, plan, say or _silent)
        dense = {stage: builder.dense(stage) for stage in stages}
    return StagedDetector(detector, plan, dense, names, pixels=pixels, notes=notes)


def _silent(_sentence: str) -> None:
    """Say nothing."""


class _Builder:
    """Makes each dense stage runnable."""

    def __init__(
        self, stages: Mapping[str, nn.Module], programs: Programs, found: Capability, plan: Plan, say: Say
    ) -> None:
        self._stages, self._programs, self._found, self._plan, self._say = stages, programs, found, plan, say

    def dense(self, stage: str) -> Dense:
        rule = self._plan.rule(stage)
        if rule.engine == "eager":
            return self._eager(stage, rule)
        return PerShape(lambda inputs: self._compiled(stage, rule, inputs), rows=ROWS if stage in _BY_ROWS else 0)

    def _eager(self, stage: str, rule: StageRule) -> nn.Module:
        module = self._float(stage, rule)
        return module.to(memory_format=torch.channels_last) if stage != "box_head" else module

    def _float(self, stage: str, rule: StageRule) -> nn.Module:
        module = copy.deepcopy(self._stages[stage])
        if rule.precision == "bf16":
            return Typed(module.to(torch.bfloat16), torch.bfloat16, None)
        return Typed(module, torch.float32, None)

    def _graph(self, stage: str, rule: StageRule) -> nn.Module:
        """Return what is exported and compiled; an int8 backbone hands on features in bf16 where the CPU has it."""
        if rule.precision != "int8":
            return self._float(stage, rule).to(memory_format=torch.channels_last)
        made = torch.bfloat16 if stage == "backbone" and self._found.bf16 else None
        return Typed(self._programs.graph(stage, rule), torch.float32, made)

    def _compiled(self, stage: str, rule: StageRule, inputs: tuple[Tensor, ...]) -> Compiled:
        takes = signature(inputs, ROWS if stage in _BY_ROWS else 0)
        path = cache_folder() / "packages" / f"{self._key(stage, rule, takes)}.pt2"
        if not path.exists():
            shape = (
                "×".join(str(side) for side in inputs[0].shape[2:]) if stage not in _BY_ROWS else "any number of rois"
            )
            self._say(f"compiling {stage} in {rule.precision} for {shape}; kept in {cache_folder()}")
            self._compile(stage, rule, inputs, path)
        return Compiled(load_compiled(path), takes, path, GraphWork.read(path.with_suffix(".json")))

    def _key(self, stage: str, rule: StageRule, takes: Any) -> str:
        what = self._programs.key(stage, rule) if rule.precision == "int8" else weights_digest(self._stages[stage])
        return key_of(stage=stage, rule=asdict(rule), weights=what, takes=asdict(takes), **surroundings())

    def _compile(self, stage: str, rule: StageRule, inputs: tuple[Tensor, ...], path: Path) -> None:
        dynamic = None
        if stage in _BY_ROWS:
            blocks = torch.export.Dim("blocks", min=1, max=64)
            dynamic = (tuple({0: ROWS * blocks} for _ in inputs),)

        path.parent.mkdir(parents=True, exist_ok=True)
        with torch.inference_mode(mode=False), tempfile.TemporaryDirectory(dir=path.parent) as folder:
            example = tuple(one.clone(memory_format=torch.preserve_format) for one in inputs)
            program = export(self._graph(stage, rule), example, dynamic)
            half = Path(folder) / path.name
            compile_exported(program, half)
            work = read_program(program, rows=len(inputs[0]) if stage in _BY_ROWS else 0)
            work.write(path.with_suffix(".json"))
            half.replace(path)  # last: a package without its description would be of no use
