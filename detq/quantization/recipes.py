"""The list of quantization recipes, as specs: reading it imports neither torch nor any engine."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from detq.errors import UnsupportedError, unknown_name
from detq.quantization.plan import Plan, StageRule
from detq.targets import resolve

if TYPE_CHECKING:
    from torch import nn

__all__ = ["INT8", "RECIPES", "REFERENCE", "RecipeSpec", "find_recipe"]

REFERENCE = "fp32"
"""The recipe that every ratio and difference refers to."""


@dataclass(frozen=True)
class RecipeSpec:
    """One way to make a detector faster.

    Attributes:
        name: what the user types and the second half of a variant's id. It is API; it has no "-".
        target: dotted target of `apply(module) -> module`, which never changes the module that it is given; with a
            plan, of `build_staged`.
        summary: one line for `detq list`.
        quantizes: it must end in int8 arithmetic; a build where that is not so fails.
        plan: for recipes that run stage by stage, what runs where; None for those that convert the whole module.
        requires: distributions beside torch that it needs.
        extra: the extra of detq that installs them.
        chosen: its plan is a default; which stages run in int8 can be chosen for certain weights, see
            `detq.engine.choice`.
        any_detector: it can be expected to work on a user's own detector; otherwise it must be named to be tried there.
    """

    name: str
    target: str
    summary: str
    quantizes: bool
    plan: Plan | None = None
    requires: tuple[str, ...] = ()
    extra: str = ""
    chosen: bool = False
    any_detector: bool = True

    def resolve(self) -> Callable[..., nn.Module]:
        """Import and return `apply`.

        Raises:
            UnsupportedError: something in `requires` is not installed; the message says how to install it.
        """
        try:
            apply: Callable[..., nn.Module] = resolve(self.target)
        except ModuleNotFoundError as error:
            if not self.requires:
                raise
            raise UnsupportedError(f"recipe {self.name}: {self._missing()}") from error
        return apply

    def unsupported_here(self) -> str | None:
        """Return why this recipe cannot run on this machine with what is installed, or None if it can.

        A recipe's module says so in its `unsupported_reason()`, if it has one. This imports the recipe's engine.
        """
        try:
            module = importlib.import_module(self.target.partition(":")[0])
        except ModuleNotFoundError:
            if not self.requires:
                raise
            return self._missing()
        reason: Callable[..., str | None] | None = getattr(module, "unsupported_reason", None)
        if reason is None:
            return None
        return reason() if self.plan is None else reason(self.plan)

    @property
    def calibrates(self) -> bool:
        """Whether it takes its ranges from calibration images."""
        return self.plan is not None and bool(self.plan.int8_stages)

    def _missing(self) -> str:
        return f'needs {", ".join(self.requires)}; pip install "detq[{self.extra}]"'


def _staged(name: str, plan: Plan, summary: str, *, chosen: bool = False) -> RecipeSpec:
    return RecipeSpec(
        name,
        "detq.engine.build:build_staged",
        summary,
        quantizes=bool(plan.int8_stages),
        plan=plan,
        chosen=chosen,
        any_detector=False,
    )


_EARLIEST = ("body.body.0", "body.body.1")
"""The first layers of a MobileNet, 3 % of its arithmetic: one of their sixteen channels has forty times the range of
others, so that 8 bits for all of them harm its features more than all later layers do (`detq sensitivity`)."""

INT8 = Plan.uniform("inductor", "int8", pixels="uint8").with_rule(
    "backbone", StageRule("inductor", "int8", keep=_EARLIEST)
)
"""What `static_int8` runs, and what of it a stage in int8 of any other recipe runs."""

_MIXED = INT8.with_rule("backbone", StageRule("inductor", "bf16"))

RECIPES: tuple[RecipeSpec, ...] = (
    RecipeSpec(
        REFERENCE,
        target="detq.quantization.fp32:apply",
        summary="torchvision's module untouched: the reference of every ratio",
        quantizes=False,
    ),
    RecipeSpec(
        "dynamic_int8",
        target="detq.quantization.dynamic_int8:apply",
        summary="quantize_dynamic on every nn.Linear: int8 weights, activations quantized on the fly",
        quantizes=True,
    ),
    RecipeSpec(
        "torchscript_fp32",
        target="detq.quantization.torchscript:apply",
        summary="torch.jit.script and freeze: one graph, batch norm folded into the convolutions",
        quantizes=False,
        any_detector=False,  # torch.jit.script compiles a part of Python
    ),
    RecipeSpec(
        "torchscript_dynamic_int8",
        target="detq.quantization.torchscript:apply_dynamic_int8",
        summary="dynamic_int8, then torch.jit.script and freeze",
        quantizes=True,
        any_detector=False,  # torch.jit.script compiles a part of Python
    ),
    _staged("channels_last_fp32", Plan(), "batch norm folded, channels-last, RoI pooling vectorized; no compiler"),
    _staged("compiled_fp32", Plan.uniform("inductor", "fp32"), "every dense stage compiled ahead of time"),
    _staged("bf16", Plan.uniform("inductor", "bf16", pixels="uint8"), "every dense stage compiled, in bfloat16"),
    _staged("static_int8", INT8, "every dense stage compiled, in calibrated int8"),
    _staged("mixed_int8", _MIXED, "int8 where accuracy allows, bfloat16 elsewhere: the default advice", chosen=True),
    _staged(
        "mixed_int8_nms60_top384",
        replace(_MIXED, overlap=0.6, proposals=384),
        "mixed_int8 with the 384 best proposals that overlap by less than 0.6: fewer for the box head to judge",
        chosen=True,
    ),
)

_BY_NAME: Mapping[str, RecipeSpec] = MappingProxyType({spec.name: spec for spec in RECIPES})
if len(_BY_NAME) != len(RECIPES):
    raise ValueError("two recipes in RECIPES have the same name")


def find_recipe(name: str) -> RecipeSpec:
    """Return the recipe called `name`.

    Raises:
        UnknownNameError: no such recipe; the message offers close matches.
    """
    if name not in _BY_NAME:
        raise unknown_name("recipe", name, _BY_NAME)
    return _BY_NAME[name]
