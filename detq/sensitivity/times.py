"""How long each stage takes when it is compiled: in bf16 and in int8, on the same images in turns."""

from __future__ import annotations

from collections.abc import Sequence

from detq.engine.build import build_staged
from detq.measure.profile import stage_medians
from detq.predictor import Predictor
from detq.quantization.plan import DENSE_STAGES, Plan, StageRule
from detq.quantization.proof import weight_bytes
from detq.quantization.recipes import INT8
from detq.runner import Progress
from detq.runner.pictures import spread
from detq.sensitivity.session import Opened
from detq.variants import find_variant

__all__ = ["stage_times"]

IMAGES = 20


def stage_times(opened: Opened, keep: Sequence[str], progress: Progress) -> dict[str, dict[str, float]]:
    """Return the median milliseconds of each dense stage, "bf16" and "int8", over up to 20 images of the study.

    A CPU without bf16 runs in fp32 what bf16 was asked for. Threads are those of now.

    Args:
        opened: the study.
        keep: blocks of the backbone that stay in floating point.
        progress: is told what compiles.

    Raises:
        DetqError: see `build_staged`.
    """
    default = INT8.rule("backbone")
    rule = StageRule(default.engine, default.precision, tuple(keep)) if keep else default
    plans = {"bf16": Plan.uniform("inductor", "bf16", pixels="uint8"), "int8": INT8.with_rule("backbone", rule)}
    (calibration, *_), loaded, view = opened.calibrations, opened.loaded, opened.view
    images = [view.load(index).image for index in spread(IMAGES, len(view))]
    size = weight_bytes(loaded.module)
    predictors = {
        name: Predictor(
            build_staged(loaded.module, plan, calibration=calibration, say=progress.say),
            find_variant(f"{opened.config.model}-{'static_int8' if plan.int8_stages else 'bf16'}"),
            loaded,
            fp32_weight_bytes=size,
        )
        for name, plan in plans.items()
    }
    progress.begin("timing stages in bf16 and int8", len(images))
    found = stage_medians(predictors, images, step=progress.step)
    progress.end()
    stages = [stage for stage in DENSE_STAGES if stage in found["int8"]]
    return {stage: {name: found[name][stage] for name in plans} for stage in stages}
