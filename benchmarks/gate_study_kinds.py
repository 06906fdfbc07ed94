"""What `gate_study.py` does to the code, and what the gate should make of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["KINDS", "SETTINGS", "STAGES", "Kind", "Setting"]


@dataclass(frozen=True)
class Setting:
    """A model and a time.

    Attributes:
        model: of `detq list`.
        budget_s: of one run.
        runs: of each kind; each kind's own number where None.
    """

    model: str
    budget_s: int
    runs: int | None = None


SETTINGS: Mapping[str, Setting] = {
    "small": Setting("fasterrcnn_mobilenet_v3_large_320_fpn", 40),
    "full": Setting("fasterrcnn_mobilenet_v3_large_fpn", 180, runs=3),
}

STAGES: Mapping[str, str] = {"backbone": "backbone", "rpn_head": "rpn.head", "box_head": "roi_heads.box_head"}
"""Stages that are slowed, and the modules that they are."""


@dataclass(frozen=True)
class Kind:
    """A change, and what the gate should make of it.

    Attributes:
        promise: what was promised, in words.
        share: of the runs at least that must be caught; at most, of `same`.
        file: what is changed.
        old: text in it that occurs once.
        new: what stands there instead; STAGE is replaced by a module's path.
        by: figures of which one must fail for a run to count as caught.
        with_it: kinds of evidence that may fail too, as a consequence; any other failure is a false alarm.
        variants: which are judged; one more than needed would share the time and the error probability.
        runs: how many in the small setting.
        loaded: every second run has a neighbour.
        slows: the change slows a stage down.
        in_base: it is in the base, and the working tree is without it: caught is then an improvement.
        benchmark: it is in the example's benchmark, which `pytest --detq-gate` runs.
    """

    promise: str
    share: float = 1.0
    file: str = ""
    old: str = ""
    new: str = ""
    by: tuple[str, ...] = ()
    with_it: tuple[str, ...] = ()
    variants: str = "fp32,dynamic_int8"
    runs: int = 5
    loaded: bool = False
    slows: bool = False
    in_base: bool = False
    benchmark: bool = False


PREDICTOR, DYNAMIC, RECIPES = "detq/predictor.py", "detq/quantization/dynamic_int8.py", "detq/quantization/recipes.py"
BUILT = "        self.proof = proof\n"
CONVERTED = "    gc.collect()\n    return converted\n"
STARTS = "        import torch\n\n        from detq.tensors"


def slower(fraction: float, promise: str, share: float) -> Kind:
    return Kind(promise, share, PREDICTOR, BUILT, _slow(fraction), ("median",), ("latency",), "fp32", 40, slows=True)


def _slow(fraction: float) -> str:
    return f"{BUILT}        from detq.injected import slow_down\n\n        slow_down(self, 'STAGE', {fraction})\n"


def _converted(line: str) -> str:
    return f"    {line}\n{CONVERTED}"


ACCURACY = ("AP", "AP50", "recall", "precision", "prediction_iou", "ground_truth_iou", "fp32 detections kept")
# Twice too large, for the layer that moves boxes: AP falls by 0.025 on 48 frames.
WRONG_SCALE = """layer = converted.roi_heads.box_predictor.bbox_pred
    kept = layer.weight()
    values = torch._make_per_tensor_quantized_tensor(kept.int_repr(), 2.0 * kept.q_scale(), kept.q_zero_point())
    layer.set_weight_bias(values, layer.bias())"""

KINDS: Mapping[str, Kind] = {
    "same": Kind("at most 1 of 40", 0.025, variants="fp32", runs=40, loaded=True),
    "slow5": slower(0.05, "60 %", 0.60),
    "slow10": slower(0.10, "95 %", 0.95),
    "slow20": slower(0.20, "100 %", 1.0),
    "faster10": Kind(  # a base that takes 1/0.9 of the time
        "passes, refresh", 1.0, PREDICTOR, BUILT, _slow(1 / 0.9 - 1), ("median",), (), "fp32", slows=True, in_base=True
    ),
    "layer": Kind(
        "int8 share", 1.0, DYNAMIC, CONVERTED,
        _converted("converted.roi_heads.box_head.fc7 = module.roi_heads.box_head.fc7"),
        ("int8_share of box_head",), ("int8", "weights", "memory", "latency"),
    ),
    "nothing": Kind(
        "missing", 1.0, DYNAMIC, "    return _convert(module, types)\n", "    return module\n", ("measured",)
    ),
    "scale": Kind("AP", 1.0, DYNAMIC, CONVERTED, _converted(WRONG_SCALE), ACCURACY, ("accuracy",)),
    "class": Kind(
        "AP", 1.0, PREDICTOR, ".astype(np.int64) - 1", ".astype(np.int64) - 2", ("AP",), ("accuracy",)
    ),
    "bytes": Kind(
        "bytes", 1.0, DYNAMIC, CONVERTED,
        _converted("converted.register_buffer('fp32', module.roi_heads.box_head.fc6.weight.detach().clone())"),
        ("weight_bytes",), ("weights", "memory"),
    ),
    "leak": Kind(
        "memory", 1.0, PREDICTOR, STARTS,
        f"        self.leak = [*getattr(self, 'leak', []), np.ones(131072)]\n{STARTS}",
        ("growth",), ("memory",), "fp32",
    ),
    "renamed": Kind(
        "missing", 1.0, RECIPES, '        "dynamic_int8",\n', '        "dynamic_int_8",\n', ("measured",)
    ),
    "skipped": Kind(
        "missing", 1.0, "benchmarks/test_detector.py", "def test_detector(detq_result, detq_replay):\n",
        "import pytest\n\n\n@pytest.mark.skip\ndef test_detector(detq_result, detq_replay):\n",
        ("measured",), ("presence",), benchmark=True,
    ),
}  # fmt: skip
