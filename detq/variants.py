"""The one list of variants: models × recipes, minus what is declared unsupported with its reason.

The command line, the benchmarks, the tests and the reports enumerate it. A variant's id is API: baselines are keyed by
it, so a rename would silently end a comparison.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from detq.errors import UnknownNameError, UnsupportedError, unknown_name
from detq.models.zoo import MODELS, ModelSpec, find_model
from detq.quantization.recipes import RECIPES, REFERENCE, RecipeSpec, find_recipe

__all__ = ["UNSUPPORTED", "VARIANTS", "Variant", "find_variant", "split_by_calibration", "variants_of"]


@dataclass(frozen=True)
class Variant:
    """A model with a recipe.

    Attributes:
        model: a zoo name, or `package.module:callable` for a user's own detector.
        recipe: a recipe's name.
    """

    model: str
    recipe: str

    @property
    def id(self) -> str:
        """`<model>-<recipe>`."""
        return f"{self.model}-{self.recipe}"

    @property
    def model_spec(self) -> ModelSpec:
        """The model's spec."""
        return find_model(self.model)

    @property
    def recipe_spec(self) -> RecipeSpec:
        """The recipe's spec."""
        return find_recipe(self.recipe)


_NO_LINEAR = "a one-stage detector without nn.Linear layers: dynamic quantization has nothing to convert"
_NO_STAGES = "a one-stage detector has no proposals and no RoI heads: the staged engine runs Faster and Mask R-CNN"
_ONE_STAGE = ("retinanet_resnet50_fpn", "ssdlite320_mobilenet_v3_large")

UNSUPPORTED: Mapping[str, str] = MappingProxyType(
    {
        **{
            f"{model}-{recipe}": _NO_LINEAR
            for model in _ONE_STAGE
            for recipe in ("dynamic_int8", "torchscript_dynamic_int8")
        },
        **{
            f"{model}-{recipe.name}": _NO_STAGES
            for model in _ONE_STAGE
            for recipe in RECIPES
            if recipe.plan is not None
        },
    }
)
"""Variant id -> why it does not exist."""

VARIANTS: tuple[Variant, ...] = tuple(
    variant
    for variant in (Variant(model.name, recipe.name) for model in MODELS for recipe in RECIPES)
    if variant.id not in UNSUPPORTED
)


def find_variant(name: str) -> Variant:
    """Return the variant whose id is `name`.

    Raises:
        UnknownNameError: no such variant; the message offers close matches.
        UnsupportedError: the combination is declared unsupported; the message gives the reason.
    """
    model, _, recipe = name.rpartition("-")
    if ":" in model:  # a user's own detector is in no list
        return _checked(Variant(model, find_recipe(recipe).name))
    if name not in UNSUPPORTED and name not in {variant.id for variant in VARIANTS}:
        if name in {spec.name for spec in RECIPES}:
            raise UnknownNameError(
                f"unknown variant {name!r}: expected a model and a recipe, such as {MODELS[0].name}-{name}; all are in "
                "`detq list`"
            )
        raise unknown_name("variant", name, (variant.id for variant in VARIANTS))
    return _checked(Variant(model, recipe))


def variants_of(model: str, recipes: str | Iterable[str] | None = None) -> tuple[Variant, ...]:
    """Return the variants of `model` to compare, the fp32 reference first and always among them.

    Args:
        model: a zoo name, or a user's own `package.module:callable`.
        recipes: names, or one string with commas; by default all that the model supports, for a user's own detector
            those that work on any. Repetitions count once.

    Raises:
        UnknownNameError: no such model or recipe.
        UnsupportedError: a recipe that was named is declared unsupported for the model.
    """
    spec = find_model(model)
    if recipes is None:
        every = (Variant(spec.name, recipe.name) for recipe in RECIPES if recipe.any_detector or not spec.own)
        return tuple(variant for variant in every if variant.id not in UNSUPPORTED)
    named = recipes.split(",") if isinstance(recipes, str) else recipes
    names = [name.strip() for name in named if name.strip()]
    return tuple(_checked(Variant(spec.name, find_recipe(name).name)) for name in dict.fromkeys([REFERENCE, *names]))


def split_by_calibration(
    variants: Iterable[Variant], *, possible: bool
) -> tuple[tuple[Variant, ...], tuple[Variant, ...]]:
    """Return the variants that can be built, and those that lack calibration images.

    Args:
        variants: which.
        possible: there are images to calibrate with.
    """
    every = tuple(variants)
    without = tuple(variant for variant in every if variant.recipe_spec.calibrates and not possible)
    return tuple(variant for variant in every if variant not in without), without


def _checked(variant: Variant) -> Variant:
    if variant.id in UNSUPPORTED:
        raise UnsupportedError(f"variant {variant.id} is unsupported: {UNSUPPORTED[variant.id]}")
    return variant
