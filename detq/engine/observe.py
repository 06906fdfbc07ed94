"""One pass of the float detector over the calibration images, with its stages' observed graphs in place.

It runs on one thread, whatever the number that torch is set to: sums in another order differ in the last digit, a
range by that much rounds some activations to the next level, and a corrected bias then differs in the third digit. So
the same weights and images give the same graph however many cores there are.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from detq.engine import static_int8
from detq.engine.bias import channel_means, correct_bias
from detq.engine.calibration import Calibration
from detq.engine.compiled import tidy
from detq.engine.detector import LEAST_BLOCKS, Dense, StagedDetector
from detq.engine.frame import Frame
from detq.engine.observers import RangeObserver
from detq.errors import QuantizationError
from detq.machine import torch_threads
from detq.quantization.plan import StageRule
from detq.tensors import as_pixels

__all__ = ["CORRECTION_IMAGES", "Observed", "Run", "dynamic_shapes", "examples_of", "observe"]

CORRECTION_IMAGES = 8
"""So many of the calibration images, from the first, tell how much biases are to be corrected."""

SAMPLE = 64
"""About so many of an image's rois are kept for that."""

SECONDS_A_SENTENCE = 20.0

Run = Callable[[Mapping[str, Dense]], StagedDetector]
"""Puts dense stages in the place of the detector's own."""


@dataclass
class Observed:
    """What a stage showed.

    Attributes:
        graph: in floating point, with observers that have seen every image.
        example: of the stage's inputs.
        images: its inputs for the first images; of many rois some.
        work: how much it had to do on all images; nothing observed for 0.
    """

    graph: nn.Module
    example: tuple[Tensor, ...]
    images: list[tuple[Tensor, ...]] = field(default_factory=list)
    work: int = 0

    def convert(self) -> nn.Module:
        """Return the quantized graph, biases corrected; the observed one is used up."""
        with torch_threads(1):
            means = channel_means(_unobserved(self.graph), self.images)
            quantized = static_int8.convert(self.graph)
            correct_bias(quantized, self.images, means)  # type: ignore[arg-type]
        return quantized


def _unobserved(graph: nn.Module) -> Any:
    """Return a copy that computes the same and observes nothing: histograms take most of a calibration's time."""
    found = copy.deepcopy(graph)
    for name, child in list(found.named_children()):
        if isinstance(child, RangeObserver):
            setattr(found, name, nn.Identity())
    return found


@torch_threads(1)
def observe(
    stages: Mapping[str, nn.Module],
    rules: Mapping[str, StageRule],
    calibration: Calibration,
    run_with: Run,
    *,
    reduce_range: bool,
    say: Callable[[str], None],
    needed: Collection[str] | None = None,
) -> dict[str, Observed]:
    """Return what the stages of `rules` show on the calibration images.

    Args:
        stages: all dense stages in fp32.
        rules: which are observed, and what of them stays in floating point.
        calibration: the images.
        run_with: makes a float detector with other dense stages.
        reduce_range: see `static_int8.prepare`.
        say: is told how far it is.
        needed: stages that are an error if they had nothing to do; others are then left out. All by default.

    Raises:
        QuantizationError: such a stage had nothing to do on any image.
    """
    examples = examples_of(stages, calibration, run_with)
    seen = {
        stage: Observed(
            static_int8.prepare(
                stages[stage],
                examples[stage],
                dynamic_shapes(stage, examples[stage]),
                keep=rule.keep,
                reduce_range=reduce_range,
                observer=calibration.observer,
            ),
            examples[stage],
        )
        for stage, rule in rules.items()
    }
    detector = run_with({stage: _recording(one) for stage, one in seen.items()})
    start = last = time.monotonic()
    for done, image in enumerate(calibration.images(), start=1):
        frame = detector.run(as_pixels(image))
        for stage, one in seen.items():
            one.work += _work(stage, frame)
        now = time.monotonic()
        if now - last > SECONDS_A_SENTENCE and done < len(calibration.indices):
            left = (now - start) / done * (len(calibration.indices) - done)
            say(f"calibrating: {done} of {len(calibration.indices)} images, {left:.0f} s left")
            last = now
    if idle := [stage for stage, one in seen.items() if not one.work and (needed is None or stage in needed)]:
        raise QuantizationError(
            f"{' and '.join(idle)} saw no data in {len(calibration.indices)} calibration images of "
            f"{calibration.dataset.name} (nothing was detected), so there is no range to quantize with; calibrate on "
            "images that show objects"
        )
    return {stage: one for stage, one in seen.items() if one.work}


def _recording(observed: Observed) -> Dense:
    """Return the stage, keeping its inputs for the first images: of rois some `SAMPLE`, from the best to the last."""

    def run(*inputs: Tensor) -> Any:
        if len(observed.images) < CORRECTION_IMAGES:
            step = max(len(inputs[0]) // SAMPLE, 1)
            observed.images.append(tuple(one[::step].clone(memory_format=torch.preserve_format) for one in inputs))
        return observed.graph(*inputs)

    return run


def examples_of(
    stages: Mapping[str, nn.Module], calibration: Calibration, run_with: Run
) -> dict[str, tuple[Tensor, ...]]:
    """Return an example of each stage's inputs, from the first image."""
    found: dict[str, tuple[Tensor, ...]] = {}

    def recording(stage: str, module: nn.Module) -> Dense:
        def run(*inputs: Tensor) -> Any:
            found[stage] = inputs
            return module(*inputs)

        return run

    recorder = run_with({stage: recording(stage, module) for stage, module in stages.items()})
    frame = recorder.run(as_pixels(next(calibration.images())))
    channels = frame.features[0].shape[1]
    for stage, side in (("box_head", 7), ("mask_head", 14)):  # nothing was found in this image
        found.setdefault(stage, (torch.zeros(SAMPLE, side, side, channels),))
    return {stage: tidy(inputs, tuple(one.dtype for one in inputs)) for stage, inputs in found.items()}


def dynamic_shapes(stage: str, example: tuple[Tensor, ...]) -> Any:
    """Return which dimensions of a stage's inputs vary, as `torch.export.export` wants to know it."""
    if stage == "backbone":
        side = {
            2: torch.export.Dim("height", min=LEAST_BLOCKS, max=128),
            3: torch.export.Dim("width", min=LEAST_BLOCKS, max=128),
        }
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
