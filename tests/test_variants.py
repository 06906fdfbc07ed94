"""The one list of variants."""

from __future__ import annotations

import subprocess
import sys

import pytest

from detq.errors import UnknownNameError, UnsupportedError
from detq.models.zoo import MODELS
from detq.quantization.recipes import RECIPES
from detq.variants import UNSUPPORTED, VARIANTS, find_variant, variants_of

FPN = "fasterrcnn_mobilenet_v3_large_fpn"

EVERY = (
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
)
ONE_STAGE = ("fp32", "torchscript_fp32")
PINNED = {
    "fasterrcnn_mobilenet_v3_large_fpn": EVERY,
    "fasterrcnn_mobilenet_v3_large_320_fpn": EVERY,
    "fasterrcnn_resnet50_fpn": EVERY,
    "maskrcnn_mobilenet_v3_large_fpn": EVERY,
    "maskrcnn_resnet50_fpn": EVERY,
    "maskrcnn_resnet50_fpn_v2": EVERY,
    "retinanet_resnet50_fpn": ONE_STAGE,
    "ssdlite320_mobilenet_v3_large": ONE_STAGE,
    "detectron2_maskrcnn_resnet50_fpn": EVERY,
    "detectron2_maskrcnn_resnet101_fpn": EVERY,
    "detectron2_fasterrcnn_resnet50_fpn": EVERY,
    "detectron2_fasterrcnn_resnet101_fpn": EVERY,
}


def test_the_ids_and_their_order_are_pinned():
    """Baselines are keyed by them: a rename would un-gate a variant. Listings and benchmarks keep their order."""
    expected = [f"{model}-{recipe}" for model, recipes in PINNED.items() for recipe in recipes]
    assert [variant.id for variant in VARIANTS] == expected


def test_what_is_left_out_is_declared_with_its_reason():
    """Models × recipes, nothing more and nothing less; and the reason is true."""
    every = {f"{model.name}-{recipe.name}" for model in MODELS for recipe in RECIPES}
    assert every == {variant.id for variant in VARIANTS} | set(UNSUPPORTED)
    assert not {variant.id for variant in VARIANTS} & set(UNSUPPORTED)


@pytest.mark.parametrize("name", sorted(UNSUPPORTED))
def test_an_unsupported_variant_really_is(name):
    """A declaration must not outlive its reason: these models still have no linear layer."""
    import torch
    from torch import nn

    from detq.models.build import build_module
    from detq.models.zoo import find_model

    with torch.device("meta"):
        module = build_module(find_model(name.rpartition("-")[0]), 2)
    assert not any(isinstance(child, nn.Linear) for child in module.modules())


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.id)
def test_a_variant_is_found_by_its_id(variant):
    """The id is the way to name a variant everywhere."""
    assert find_variant(variant.id) == variant
    assert (variant.model_spec.name, variant.recipe_spec.name) == (variant.model, variant.recipe)


@pytest.mark.parametrize("name", [f"{FPN}-dynamic_in8", "dynamic_in8", "", f"{FPN}_dynamic_int8"])
def test_an_unknown_variant_lists_the_choices(name):
    """The message offers the closest ones where there are any."""
    with pytest.raises(UnknownNameError, match=r"Choices: .*ssdlite320_mobilenet_v3_large-fp32"):
        find_variant(name)


def test_an_unsupported_variant_gives_the_reason():
    """Not "unknown": the user asked for something that makes sense and does not exist."""
    with pytest.raises(UnsupportedError, match=r"one-stage detector without nn\.Linear"):
        find_variant("retinanet_resnet50_fpn-dynamic_int8")
    with pytest.raises(UnsupportedError, match=r"one-stage detector without nn\.Linear"):
        variants_of("retinanet_resnet50_fpn", "fp32,dynamic_int8")


@pytest.mark.parametrize(
    ("recipes", "expected"),
    [
        (None, list(EVERY)),
        ("dynamic_int8", ["fp32", "dynamic_int8"]),
        ("dynamic_int8, fp32,dynamic_int8", ["fp32", "dynamic_int8"]),
        (["fp32"], ["fp32"]),
        ("", ["fp32"]),
    ],
)
def test_the_reference_is_always_among_the_variants_to_compare(recipes, expected):
    """Every ratio refers to it, in the same run."""
    assert [variant.recipe for variant in variants_of(FPN, recipes)] == expected


def test_by_default_a_model_gets_every_recipe_that_it_supports():
    """A one-stage detector has nothing for dynamic quantization, without an error."""
    assert [variant.recipe for variant in variants_of("retinanet_resnet50_fpn")] == ["fp32", "torchscript_fp32"]


def test_a_users_own_detector_has_variants_too():
    """It is in no list, and its recipe is checked all the same; what may not work on it must be named."""
    assert find_variant("pkg.mod:build-dynamic_int8").model == "pkg.mod:build"
    assert [variant.id for variant in variants_of("pkg.mod:build")] == [
        "pkg.mod:build-fp32",
        "pkg.mod:build-dynamic_int8",
    ]
    assert variants_of("pkg.mod:build", "torchscript_fp32")[1].recipe == "torchscript_fp32"
    with pytest.raises(UnknownNameError, match="unknown recipe"):
        find_variant("pkg.mod:build-int9")


def test_listing_imports_neither_torch_nor_numpy():
    """`detq list` and every pytest start-up read the list."""
    code = "import sys, detq.variants; assert not {'torch', 'torchvision', 'numpy'} & set(sys.modules), 'heavy'"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_recipe_alone_is_told_what_a_variant_is():
    """A list of a hundred names would not say it."""
    with pytest.raises(
        UnknownNameError, match="such as fasterrcnn_mobilenet_v3_large_fpn-mixed_int8; all are in `detq list`"
    ):
        find_variant("mixed_int8")
