"""The int8 graphs of a detector's stages: calibrated together in one pass, kept in the cache."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from detq.engine import static_int8
from detq.engine.cache import cache_folder, key_of, surroundings
from detq.engine.calibration import Calibration, missing
from detq.engine.capability import Capability
from detq.engine.compiler import export, quiet
from detq.engine.dense import DenseStages
from detq.engine.detector import LEAST_BLOCKS, Dense, StagedDetector
from detq.engine.observe import Observed, dynamic_shapes, observe
from detq.engine.settings import glue_digest
from detq.errors import QuantizationError, UnsupportedError
from detq.files import atomic_path
from detq.quantization.plan import Plan, StageRule
from detq.quantization.recipes import INT8

__all__ = ["Programs", "as_program", "dynamic_shapes", "load_program"]

Program = torch.export.ExportedProgram


class Programs:
    """Quantized graphs by stage and rule, made when they are first asked for.

    A graph is independent of image sizes and of the CPU, but for `reduce_range`; what is compiled from it is not.
    """

    def __init__(
        self,
        detector: Any,
        stages: DenseStages,
        names: tuple[str, ...],
        *,
        pixels: bool,
        calibration: Calibration | None,
        found: Capability,
        say: Callable[[str], None],
    ) -> None:
        self._detector, self._stages, self._names, self._pixels = detector, stages, names, pixels
        self._calibration, self._found, self._say = calibration, found, say
        self._glue = glue_digest(detector)  # now: a detector's own parts may note things when they run

    def key(self, stage: str, rule: StageRule) -> str:
        """Return what identifies a graph: weights, calibration, what stays in floating point, sources and versions.

        The glue is part of it: of one image, two detectors with the same weights may show a stage other values.

        Raises:
            QuantizationError: there are no calibration images.
        """
        about = {name: value for name, value in surroundings().items() if name not in {"isa", "compiler"}}
        return key_of(
            stage=stage,
            weights=self._stages.digest(stage),
            upstream=sorted(self._stages.digest(one) for one in self._stages),
            glue=self._glue,
            keep=sorted(rule.keep),
            calibration=self._chosen().describe(),
            reduce_range=self._found.reduce_range,
            **about,
        )

    def graph(self, stage: str, rule: StageRule) -> nn.Module:
        """Return the quantized graph of a stage: fp32 in and out, int8 between."""
        return load_program(self.file(stage, rule))

    def describe_calibration(self) -> dict[str, Any]:
        """Return what identifies the calibration images, ready for JSON.

        Raises:
            QuantizationError: there are none.
        """
        return self._chosen().describe()

    def file(self, stage: str, rule: StageRule) -> Path:
        """Return the file of a stage's quantized graph, which is made now if it is not there."""
        path = self._path(stage, rule)
        if not path.exists():
            self._calibrate({stage: rule})
        return path

    def _path(self, stage: str, rule: StageRule) -> Path:
        return cache_folder() / "programs" / f"{self.key(stage, rule)}.pt2"

    def _chosen(self) -> Calibration:
        if self._calibration is None:
            raise QuantizationError(missing())
        return self._calibration

    def _calibrate(self, rules: Mapping[str, StageRule]) -> None:
        """Quantize these stages, and the others as `static_int8` does, which cost nothing more."""
        if reason := static_int8.unsupported_reason():
            raise UnsupportedError(reason)
        calibration = self._chosen()
        wanted = {stage: INT8.rule(stage) for stage in self._stages} | dict(rules)
        todo = {stage: rule for stage, rule in wanted.items() if not self._path(stage, rule).exists()}
        self._say(f"calibrating {', '.join(todo)} on {len(calibration.indices)} images of {calibration.dataset.name}")
        with torch.inference_mode(mode=False), torch.no_grad():
            for stage, seen in self.observe(todo, needed=rules.keys()).items():
                program = as_program(seen.convert(), stage, seen.example)
                with quiet(), atomic_path(self._path(stage, todo[stage])) as half:
                    torch.export.save(program, half)

    def observe(self, rules: Mapping[str, StageRule], *, needed: Collection[str] | None = None) -> dict[str, Observed]:
        """Return what the stages of `rules` show on the calibration images; see `observe`.

        Raises:
            QuantizationError: there are none, or a stage had nothing to do on any.
        """
        return observe(
            self._stages,
            rules,
            self._chosen(),
            self.detector_with,
            reduce_range=self._found.reduce_range,
            say=self._say,
            needed=needed,
        )

    def detector_with(self, graphs: Mapping[str, Dense]) -> StagedDetector:
        """Return the float detector with other dense stages."""
        plan = Plan(pixels="uint8" if self._pixels else "float")
        made = StagedDetector(self._detector, plan, {**self._stages, **graphs}, self._names, pixels=self._pixels)
        if "backbone" in graphs:
            made.canvases.least = 32 * LEAST_BLOCKS
        return made


def load_program(path: Path) -> nn.Module:
    """Return the graph in a file of `torch.export.save`, quantized or not."""
    with quiet():
        static_int8.register()
        module: nn.Module = torch.export.load(str(path)).module()
    return module


def as_program(module: nn.Module, stage: str, example: tuple[Tensor, ...], *, together: bool = False) -> Program:
    """Return a stage as a program that can be saved, its images' and rois' dimensions free.

    Args:
        module: the stage, quantized or not.
        stage: its name.
        example: of its inputs.
        together: it takes its inputs as `*inputs`; a graph names them one by one.
    """
    free = dynamic_shapes(stage, example)
    if stage == "rpn_head":
        program = export(module, example, free if together else free[0])
    else:
        program = export(module, example, (free,) if together else free)
    program._example_inputs = None  # noqa: SLF001  # saving would keep them: 40 MB of pooled features
    return program
