"""Which variants a paired run judges."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from detq.engine.calibration import missing
from detq.errors import QuantizationError, unknown_name
from detq.models.weights import parse_weights
from detq.models.zoo import find_model
from detq.paired.config import GateConfig
from detq.quantization.recipes import RECIPES, REFERENCE

__all__ = ["choose_recipes"]


def choose_recipes(
    config: GateConfig, model: str, head: Sequence[str], base: Sequence[str], say: Callable[[str], None]
) -> dict[str, set[str]]:
    """Return the recipes to judge, fp32 first, each with the sides that have it: "head", "base" or both.

    Args:
        config: which were asked for; all that either side has by default.
        model: whose.
        head: the recipes that the working tree has for the model.
        base: those that the base has.
        say: is told what is left out, and why.

    Raises:
        UnknownNameError: neither side has a recipe that was named.
        QuantizationError: a side has no fp32; or a recipe was named that needs calibration images, and there are none.
    """
    every = list(dict.fromkeys([*head, *base]))
    for name in config.recipes or ():
        if name not in every:
            raise unknown_name("recipe", name, every)
    if not {REFERENCE} <= set(head) & set(base):
        raise QuantizationError(
            f"expected {model}-{REFERENCE} in both commits: all other variants are compared with it"
        )
    chosen = list(dict.fromkeys([REFERENCE, *(config.recipes or every)]))
    source = parse_weights(config.weights, find_model(model), config.seed)
    hungry = {recipe.name for recipe in RECIPES if recipe.calibrates}
    without = [name for name in chosen if name in hungry and not config.calibrates(source.kind)]
    if without and config.recipes is not None:
        raise QuantizationError(missing(without))
    if without:
        say(f"Left out: {missing(without)}.")
    sides = {"head": set(head), "base": set(base)}
    return {name: {side for side in sides if name in sides[side]} for name in chosen if name not in without}
