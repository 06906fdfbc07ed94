"""Dynamic int8: what it converts, what it leaves alone, and what it refuses."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from detq.errors import QuantizationError
from detq.models.build import build_module
from detq.models.zoo import find_model
from detq.quantization import dynamic_int8, fp32


def test_the_reference_stays_as_it_was():
    """Every ratio refers to it: building a variant changes neither its modules nor its parameters nor its output."""
    module = build_module(find_model("fasterrcnn_mobilenet_v3_large_320_fpn"), 2)
    untouched, image = copy.deepcopy(module), torch.rand(3, 64, 96)
    engine = torch.backends.quantized.engine
    dynamic_int8.apply(module)
    assert torch.backends.quantized.engine == engine
    assert str(module) == str(untouched)
    with torch.inference_mode():
        (before,), (after,) = untouched([image]), module([image])
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_the_engine_is_what_it_was_also_after_an_error():
    """A user's own quantized module may be packed for another one."""
    before = torch.backends.quantized.engine
    other = next(name for name in torch.backends.quantized.supported_engines if name not in {before, "none"})

    def fail():
        with dynamic_int8.quantized_engine(other):
            raise QuantizationError(torch.backends.quantized.engine)

    with pytest.raises(QuantizationError, match=other):
        fail()
    assert torch.backends.quantized.engine == before


def test_fp32_is_the_module_itself():
    """Nothing is folded or copied, so that "fp32" means torchvision's module."""
    module = nn.Linear(2, 2)
    assert fp32.apply(module) is module


def test_every_linear_layer_becomes_int8_and_nothing_else_changes():
    """In a two-stage detector that is the box head with its predictor."""
    module = build_module(find_model("fasterrcnn_mobilenet_v3_large_320_fpn"), 2)
    converted = dynamic_int8.apply(module)
    kinds = {path: type(child) for path, child in module.named_modules()}
    changed = {path for path, child in converted.named_modules() if kinds.get(path) is not type(child)}
    assert {path for path in changed if path in kinds} == {
        "roi_heads.box_head.fc6",
        "roi_heads.box_head.fc7",
        "roi_heads.box_predictor.cls_score",
        "roi_heads.box_predictor.bbox_pred",
    }


@pytest.mark.parametrize("types", [[nn.Conv2d], [nn.Linear, nn.Conv2d]])
def test_convolutions_are_refused_with_the_reason(types):
    """torch accepts them and does nothing, which is how a benchmark comes to measure fp32 twice."""
    with pytest.raises(QuantizationError, match="cannot convert Conv2d: PyTorch has no dynamic int8 kernels"):
        dynamic_int8.apply(nn.Sequential(nn.Conv2d(1, 1, 1), nn.Linear(2, 2)), types)


def test_a_model_without_linear_layers_raises():
    """A recipe that converts nothing is a mistake, not a variant."""
    with pytest.raises(QuantizationError, match="nothing would run in int8"):
        dynamic_int8.apply(nn.Sequential(nn.Conv2d(1, 1, 1)))


def test_no_proposals_are_an_ordinary_case():
    """An empty road sends zero rows through the box head."""
    head = dynamic_int8.apply(nn.Sequential(nn.Linear(8, 4)))
    with torch.inference_mode():
        assert head(torch.zeros(0, 8)).shape == (0, 4)


def test_torchs_deprecation_warnings_do_not_reach_the_user():
    """They are about torch's future, and `unsupported_reason` tells when it has come."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dynamic_int8.apply(nn.Sequential(nn.Linear(8, 4)))
    assert caught == []


def test_it_stays_close_to_fp32():
    """Eight bits a weight and an activation: about one part in a hundred."""
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Linear(256, 64))
    rows = torch.rand(32, 256)
    with torch.inference_mode():
        exact, rounded = layer(rows).numpy(), dynamic_int8.apply(layer)(rows).numpy()
    assert 0 < np.abs(exact - rounded).mean() < 0.02 * np.abs(exact).mean()
