"""Which variants are judged: all that either commit has, or those that were named."""

from __future__ import annotations

from pathlib import Path

import pytest

from detq.errors import QuantizationError, UnknownNameError
from detq.gate.evidence import Verdict
from detq.models.zoo import MODELS
from detq.paired.choice import choose_recipes
from detq.paired.config import GateConfig, models_of
from detq.paired.run import _one_sided

HEAD, BASE = ["fp32", "dynamic_int8", "new"], ["fp32", "dynamic_int8", "old"]


def choose(head=HEAD, base=BASE, **options):
    config = GateConfig("main", Path(), **options)
    return choose_recipes(config, config.models[0], head, base, lambda _: None)


def test_by_default_every_recipe_of_either_side_counts_fp32_first():
    """A recipe that vanished must not escape by not being asked for."""
    both = {"head", "base"}
    assert choose() == {"fp32": both, "dynamic_int8": both, "new": {"head"}, "old": {"base"}}
    assert next(iter(choose(["dynamic_int8", "fp32"]))) == "fp32"


def test_packaged_stands_for_every_model_that_comes_with_weights():
    """A model that is named twice counts once; an unknown one offers close matches."""
    packaged = [model.name for model in MODELS if model.packaged]
    assert models_of(("packaged", "bright:build", packaged[0])) == (*packaged, "bright:build")
    with pytest.raises(UnknownNameError, match="did you mean ssdlite320_mobilenet_v3_large"):
        models_of(("ssdlite_mobilenet_v3_large",))


def test_a_recipe_of_one_side_alone_is_missing_or_new():
    """What the base has and the working tree has not fails; what is new cannot be compared."""
    assert _one_sided("m-old", {"base"}, "abc").verdict is Verdict.MISSING
    new = _one_sided("m-new", {"head"}, "abc")
    assert new.verdict is Verdict.INCONCLUSIVE
    assert "abc does not have it" in new.detail


def test_named_recipes_alone_are_judged_and_fp32_with_them():
    """All others refer to it."""
    assert list(choose(recipes=("new",))) == ["fp32", "new"]
    with pytest.raises(UnknownNameError, match="did you mean dynamic_int8"):
        choose(recipes=("dynamic_in8",))


def test_without_fp32_on_both_sides_nothing_can_be_compared():
    """A sentence instead of variants that refer to nothing."""
    with pytest.raises(QuantizationError, match=r"expected .*-fp32 in both commits"):
        choose(["dynamic_int8"], HEAD)


def test_only_models_that_are_all_ones_own_may_share_an_installed_detq():
    """A model of detq's beside them would be compared with itself."""
    assert GateConfig("main", Path(), models=("bright:build", "pkg.dark:build")).all_own
    assert not GateConfig("main", Path(), models=("bright:build", "fasterrcnn_mobilenet_v3_large_fpn")).all_own


def test_what_needs_calibration_images_is_left_out_unless_it_was_named():
    """Weights of a file say nothing about rendered frames."""
    static = ["fp32", "static_int8"]
    assert list(choose(static, static, weights="mine.pth")) == ["fp32"]
    assert list(choose(static, static, weights="mine.pth", calibration="photos")) == static
    with pytest.raises(QuantizationError, match="static_int8"):
        choose(static, static, weights="mine.pth", recipes=("static_int8",))
