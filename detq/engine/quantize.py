"""The int8 graphs of a detector's stages: calibrated together in one pass, kept in the cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from detq.engine import static_int8
from detq.engine.cache import cache_folder, key_of, surroundings, weights_digest
from detq.engine.calibration import Calibration
from detq.engine.capability import Capability
from detq.engine.compiled import tidy
from detq.engine.compiler import export, quiet
from detq.engine.detector import Dense, StagedDetector
from detq.engine.frame import Frame
from detq.engine.pool import ROWS
from detq.errors import QuantizationError, UnsupportedError
from detq.files import atomic_path
from detq.quantization.plan import Plan, StageRule

__all__ = ["Programs"]

Program = torch.export.ExportedProgram


class Programs:
    """Quantized graphs by stage and rule, made when they are first asked for.

    A graph is independent of image sizes and of the CPU, but for `reduce_range`; what is compiled from it is not.
    """

    def __init__(
        self,
        detector: Any,
        stages: Mapping[str, nn.Module],
        names: tuple[str, ...],
        *,
        pixels: bool,
        calibration: Calibration | None,
        found: Capability,
        say: Callable[[str], None],
    ) -> None:
        self._detector, self._stages, self._names, self._pixels = detector, stages, names, pixels
        self._calibration, self._found, self._say = calibration, found, say
        self._digests = {stage: weights_digest(module) for stage, module in stages.items()}

    def key(self, stage: str, rule: StageRule) -> str:
        """Return what identifies a graph: weights, calibration, what stays in floating point, sources and versions.

        Raises:
            QuantizationError: there are no calibration images.
        """
        about = {name: value for name, value in surroundings().items() if name not in {"isa", "compiler"}}
        return key_of(
            stage=stage,
            weights=self._digests[stage],
            upstream=sorted(self._digests.values()),
            keep=sorted(rule.keep),
            calibration=self._chosen().describe(),
            reduce_range=self._found.reduce_range,
            **about,
        )

    def graph(self, stage: str, rule: StageRule) -> nn.Module:
        """Return the quantized graph of a stage: fp32 in and out, int8 between."""
        path = self._path(stage, rule)
        if not path.exists():
            self._calibrate({stage: rule})
        with quiet():
            static_int8.register()
            module: nn.Module = torch.export.load(str(path)).module()
        return module

    def _path(self, stage: str, rule: StageRule) -> Path:
        return cache_folder() / "programs" / f"{self.key(stage, rule)}.pt2"

    def _chosen(self) -> Calibration:
        if self._calibration is None:
            raise QuantizationError(
                "static int8 takes its ranges from calibration images, and there are none; name some with "
                "--calibration PATH"
            )
        return self._calibration

    def _calibrate(self, rules: Mapping[str, StageRule]) -> None:
        """Quantize these stages, and the others with nothing kept in floating point, which cost nothing more."""
        if reason := static_int8.unsupported_reason():
            raise UnsupportedError(reason)
        calibration = self._chosen()
        wanted = {stage: StageRule("inductor", "int8") for stage in self._stages} | dict(rules)
        todo = {stage: rule for stage, rule in wanted.items() if not self._path(stage, rule).exists()}
        self._say(f"calibrating {', '.join(todo)} on {len(calibration.indices)} images of {calibration.dataset.name}")
        with torch.inference_mode(mode=False), torch.no_grad():
            for stage, program in self._observe(todo, calibration).items():
                with quiet(), atomic_path(self._path(stage, todo[stage])) as half:
                    torch.export.save(program, half)

    def _observe(
        self, todo: Mapping[str, StageRule], calibration: Calibration
    ) -> dict[str, torch.export.ExportedProgram]:
        """Run the float detector over the calibration images with the stages' observed graphs in place."""
        examples = self._examples(calibration)
        prepared = {
            stage: static_int8.prepare(
                self._stages[stage],
                examples[stage],
                dynamic_shapes(stage, examples[stage]),
                keep=rule.keep,
                reduce_range=self._found.reduce_range,
                observer=calibration.observer,
            )
            for stage, rule in todo.items()
        }
        observed = self._detector_with(prepared)
        seen = dict.fromkeys(todo, 0)
        for image in calibration.images():
            frame = observed.run(torch.from_numpy(image))
            for stage in todo:
                seen[stage] += _work(stage, frame)
        if idle := [stage for stage, count in seen.items() if not count]:
            raise QuantizationError(
                f"{' and '.join(idle)} saw no data in {len(calibration.indices)} calibration images of "
                f"{calibration.dataset.name} (nothing was detected), so there is no range to quantize with; calibrate "
                "on images that show objects"
            )
        return {
            stage: as_program(static_int8.convert(graph), stage, examples[stage]) for stage, graph in prepared.items()
        }

    def _detector_with(self, graphs: Mapping[str, Dense]) -> StagedDetector:
        plan = Plan(pixels="uint8" if self._pixels else "float")
        return StagedDetector(self._detector, plan, {**self._stages, **graphs}, self._names, pixels=self._pixels)

    def _examples(self, calibration: Calibration) -> dict[str, tuple[Tensor, ...]]:
        """Return an example of each stage's inputs, from the first image."""
        found: dict[str, tuple[Tensor, ...]] = {}

        def recording(stage: str, module: nn.Module) -> Dense:
            def run(*inputs: Tensor) -> Any:
                found[stage] = inputs
                return module(*inputs)

            return run

        recorder = self._detector_with({stage: recording(stage, module) for stage, module in self._stages.items()})
        frame = recorder.run(torch.from_numpy(next(calibration.images())))
        channels = frame.features[0].shape[1]
        for stage, side in (("box_head", 7), ("mask_head", 14)):  # nothing was found in this image
            found.setdefault(stage, (torch.zeros(ROWS, side, side, channels),))
        return {stage: tidy(inputs, tuple(one.dtype for one in inputs)) for stage, inputs in found.items()}


def as_program(graph: nn.Module, stage: str, example: tuple[Tensor, ...]) -> torch.export.ExportedProgram:
    """Return a quantized graph as a program that can be saved, its images' and rois' dimensions free."""
    free = dynamic_shapes(stage, example)
    program = export(graph, example, free[0] if stage == "rpn_head" else free)  # a graph names its inputs one by one
    program._example_inputs = None  # noqa: SLF001  # saving would keep them: 40 MB of pooled features
    return program


def dynamic_shapes(stage: str, example: tuple[Tensor, ...]) -> Any:
    """Return which dimensions of a stage's inputs vary, as `torch.export.export` wants to know it."""
    if stage == "backbone":
        side = {2: torch.export.Dim("height", min=2, max=128), 3: torch.export.Dim("width", min=2, max=128)}
        return ({axis: 32 * blocks for axis, blocks in side.items()},)
    free = torch.export.Dim.AUTO
    if stage == "rpn_head":
        return (tuple({2: free, 3: free} for _ in example),)
    return ({0: free},)


def _work(stage: str, frame: Frame) -> int:
    """Return how much a stage had to do in an image."""
    if stage == "box_head":
        return len(frame.proposals)
    return len(frame.boxes) if stage == "mask_head" else 1
