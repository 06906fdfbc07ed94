"""A plan: which stage of a detector runs on which engine in which precision. Data only: reading it imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

__all__ = ["DENSE_STAGES", "Engine", "Plan", "Precision", "StageRule"]

Engine = Literal["eager", "inductor"]
Precision = Literal["fp32", "bf16", "int8"]

DENSE_STAGES = ("backbone", "rpn_head", "box_head", "mask_head")
"""The stages that are convolutions and linear layers, so that they can be compiled and quantized."""


@dataclass(frozen=True)
class StageRule:
    """How one stage runs.

    Attributes:
        engine: `eager`, or `inductor`: exported, frozen and compiled ahead of time.
        precision: of its convolutions and linear layers; `int8` is static, calibrated, and needs `inductor` to be fast.
        keep: in an int8 stage, module paths inside the stage that stay in floating point, and all below them.
    """

    engine: Engine = "eager"
    precision: Precision = "fp32"
    keep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.keep and self.precision != "int8":
            raise ValueError(f"keep names what an int8 stage leaves in floating point, precision is {self.precision}")

    def __str__(self) -> str:
        kept = f", {len(self.keep)} modules kept in floating point" if self.keep else ""
        return f"{self.precision} on {self.engine}{kept}"


@dataclass(frozen=True)
class Plan:
    """How each stage of a two-stage detector runs. What is not named here is torchvision's own code, in fp32.

    Attributes:
        pixels: `float` resizes the normalized image in fp32, as torchvision does; `uint8` resizes the image's own bytes
            (rounded to whole levels, as PIL and OpenCV do) and normalizes inside the backbone's graph.
        backbone: with the feature pyramid.
        rpn_head: objectness and box deltas of all levels.
        box_pool: RoIAlign; a bf16 rule halves the table that it gathers from.
        box_head: with the predictor.
        mask_pool: RoIAlign of the mask branch.
        mask_head: with the predictor.
        proposals: at most this many of the best proposals reach the box head; None for the detector's own limit.
        overlap: of two proposals whose IoU is greater the worse one goes; None for the detector's own threshold of
            non-maximum suppression.
    """

    pixels: Literal["float", "uint8"] = "float"
    backbone: StageRule = StageRule()
    rpn_head: StageRule = StageRule()
    box_pool: StageRule = StageRule()
    box_head: StageRule = StageRule()
    mask_pool: StageRule = StageRule()
    mask_head: StageRule = StageRule()
    proposals: int | None = None
    overlap: float | None = None

    @classmethod
    def uniform(
        cls,
        engine: Engine,
        precision: Precision,
        *,
        pixels: Literal["float", "uint8"] = "float",
        proposals: int | None = None,
    ) -> Plan:
        """Return a plan with one rule for every dense stage; RoI pooling runs in bf16 unless `precision` is fp32."""
        rule = StageRule(engine, precision)
        pool = StageRule(engine, "fp32" if precision == "fp32" else "bf16")
        return cls(pixels, rule, rule, pool, rule, pool, rule, proposals)

    def rule(self, stage: str) -> StageRule:
        """Return the rule of a stage; stages that a plan does not name run eagerly in fp32."""
        return getattr(self, stage) if stage in _RULES else StageRule()

    def with_rule(self, stage: str, rule: StageRule) -> Plan:
        """Return the plan with another rule for one stage."""
        changed: dict[str, Any] = {stage: rule}
        return replace(self, **changed)

    @property
    def int8_stages(self) -> tuple[str, ...]:
        """The dense stages that run in int8."""
        return tuple(stage for stage in DENSE_STAGES if self.rule(stage).precision == "int8")

    def to_json(self) -> dict[str, Any]:
        """Return it ready for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Plan:
        """Return the plan that `to_json` wrote.

        Raises:
            KeyError, TypeError: it lacks a field, or has one of another kind.
        """
        rules = {name: StageRule(**{**data[name], "keep": tuple(data[name]["keep"])}) for name in _RULES}
        return cls(pixels=data["pixels"], proposals=data["proposals"], overlap=data["overlap"], **rules)


_RULES = tuple(item.name for item in fields(Plan) if isinstance(item.default, StageRule))
