"""The list of recipes."""

from __future__ import annotations

import pytest

from detq.errors import UnknownNameError, UnsupportedError
from detq.quantization.recipes import RECIPES, RecipeSpec, find_recipe


def test_the_names_of_the_recipes_are_pinned():
    """They are half of a variant's id, which baselines are keyed by; "-" would make the id ambiguous."""
    assert [spec.name for spec in RECIPES] == [
        "fp32",
        "dynamic_int8",
        "torchscript_fp32",
        "torchscript_dynamic_int8",
        "channels_last_fp32",
        "compiled_fp32",
        "bf16",
        "static_int8",
        "mixed_int8",
        "mixed_int8_nms60_top384",
    ]
    assert not any("-" in spec.name for spec in RECIPES)


@pytest.mark.parametrize("spec", RECIPES, ids=lambda spec: spec.name)
def test_every_recipe_can_be_resolved_here(spec):
    """The list imports nothing, so a slip in a target would show only when somebody uses it."""
    assert callable(spec.resolve())
    assert spec.unsupported_here() is None


def test_an_unknown_recipe_offers_the_closest_one():
    """A typing mistake is mended from the message alone."""
    with pytest.raises(UnknownNameError, match="did you mean dynamic_int8"):
        find_recipe("dynamic-int8")


def test_a_recipe_whose_engine_is_not_installed_says_how_to_install_it():
    """Optional engines come with extras."""
    spec = RecipeSpec(
        "x_int8", "engine_that_nobody_has:apply", "", quantizes=True, requires=("engine-x",), extra="enginex"
    )
    with pytest.raises(UnsupportedError, match=r'needs engine-x; pip install "detq\[enginex\]"'):
        spec.resolve()
    assert "engine-x" in str(spec.unsupported_here())
