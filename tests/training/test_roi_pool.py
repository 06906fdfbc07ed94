"""RoI pooling by a weighted sum, with torchvision's module as the oracle."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import MultiScaleRoIAlign

from detq.training.roi_pool import pool_rois

SHAPES = [(256, 240), (192, 256)]


def _features(levels):
    generator = torch.Generator().manual_seed(0)
    names = ("0", "1", "2", "pool")
    strides = (8, 16, 32, 64)
    return {
        name: torch.randn(2, 16, 256 // stride, 256 // stride, generator=generator).requires_grad_()
        for name, stride in zip(names[:levels], strides[:levels], strict=True)
    }


def _boxes():
    """Of all sizes and aspects, some at and beyond the border, some without area, the second image with few."""
    generator = torch.Generator().manual_seed(1)
    centre = torch.rand(300, 2, generator=generator) * 256
    half = torch.exp(torch.rand(300, 2, generator=generator) * 6) / 2
    boxes = torch.cat([centre - half, centre + half], dim=1)
    special = torch.tensor([[0.0, 0, 256, 256], [-30, -40, 300, 290], [9, 9, 9, 9], [255, 255, 256, 256]])
    return [torch.cat([boxes, special]), boxes[:3]]


@pytest.mark.parametrize("levels", [1, 2, 3])
@pytest.mark.parametrize("size", [7, 14])
def test_values_and_gradients_are_those_of_torchvision(levels, size):
    """Within float32 rounding, for every level of the pyramid."""
    pool = MultiScaleRoIAlign(["0", "1", "2"], size, 2)
    results = []
    for function in (pool, lambda *given: pool_rois(pool, *given)):
        features = _features(levels)
        pooled = function(features, _boxes(), SHAPES)
        pooled.backward(torch.linspace(-1, 1, pooled.numel()).reshape(pooled.shape))
        results.append([pooled.detach(), *(value.grad for value in features.values())])
    for expected, actual in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=2e-4)


def test_no_box_gives_an_empty_result_of_the_right_shape():
    """Proposals can run out; the mask head sees no positive ones on background images."""
    pool = MultiScaleRoIAlign(["0", "1"], 7, 2)
    none = [torch.zeros(0, 4), torch.zeros(0, 4)]
    pooled = pool_rois(pool, _features(2), none, SHAPES)
    assert pooled.shape == (0, 16, 7, 7)
    pooled.sum().backward()
