"""RoI pooling as a weighted sum of table rows, with torchvision's `MultiScaleRoIAlign` and Detectron2's as oracles."""

from __future__ import annotations

import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torchvision.ops import MultiScaleRoIAlign

from detq.engine.pool import RoiPool
from detq.engine.taps import close_samples, taps
from detq.models.detectron2.config import PoolConfig
from detq.models.detectron2.pool import Detectron2Pool

NAMES = ("0", "1", "2", "pool")

corners = st.floats(-300, 500, width=32)
sides = st.one_of(st.floats(0, 3, width=32), st.floats(0, 900, width=32))
some_boxes = st.lists(st.tuples(corners, corners, sides, sides), max_size=12).map(
    lambda rows: torch.tensor([(x, y, x + w, y + h) for x, y, w, h in rows]).reshape(-1, 4)
)


def pyramid(height, width, levels, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(1, 16, -(-height // stride), -(-width // stride), generator=generator)
        for stride in (8, 16, 32, 64)[:levels]
    ]


def both(features, boxes, size, *, bins=7, samples=2, dtype=torch.float32):
    """What detq pools, in the order of the boxes, and what torchvision pools, both channels last."""
    pool = MultiScaleRoIAlign(["0", "1", "2"], bins, samples)
    names = NAMES[: len(features)]
    expected = pool(dict(zip(names, features, strict=True)), [boxes], [size]).permute(0, 2, 3, 1)
    pooled, place = RoiPool(pool, names, dtype)([feature.to(dtype) for feature in features], boxes, size)
    assert sorted(place.tolist()) == list(range(len(boxes)))
    return pooled[place].float(), expected


@given(
    boxes=some_boxes,
    size=st.tuples(st.integers(40, 400), st.integers(40, 400)),
    levels=st.integers(1, 4),
    bins=st.sampled_from([7, 14, (3, 5)]),
    samples=st.integers(-1, 3),
)
@example(boxes=torch.zeros(0, 4), size=(64, 64), levels=2, bins=7, samples=2)
@example(boxes=torch.zeros(0, 4), size=(64, 64), levels=2, bins=7, samples=0)
@example(boxes=torch.tensor([[-500.0, -500, -400, -400]]), size=(64, 64), levels=2, bins=7, samples=2)
def test_it_pools_what_torchvision_pools(boxes, size, levels, bins, samples):
    """Tiny and huge boxes, boxes out of the image, any number of samples, 0 and -1 for as many as a bin has pixels.

    Within 2e-5 of the features' scale.
    """
    features = pyramid(*size, levels)
    found, expected = both(features, boxes, size, bins=bins, samples=samples)
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, atol=2e-5 * 5, rtol=0)


@given(boxes=some_boxes)
def test_a_bf16_table_costs_a_hundredth_of_the_features_scale(boxes):
    """Features and weights are rounded to 8 bits, sums are not."""
    features = [feature.bfloat16().float() for feature in pyramid(200, 300, 3)]
    found, expected = both(features, boxes, (200, 300), dtype=torch.bfloat16)
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, atol=0.01 * 5, rtol=0)


@given(boxes=some_boxes, samples=st.integers(1, 3))
def test_boxes_with_close_samples_need_fewer_taps(boxes, samples):
    """Nine instead of sixteen with 2 × 2 samples, and the same sum."""
    boxes = boxes / 16
    boxes = boxes[close_samples(boxes, (7, 7), samples)]
    sizes = torch.full((len(boxes),), 13, dtype=torch.int32), torch.full((len(boxes),), 17, dtype=torch.int32)
    first = torch.zeros(len(boxes), dtype=torch.int32)
    table = torch.rand(13 * 17, dtype=torch.float64)
    sums = []
    for close, count in ((True, (samples + 1) ** 2), (False, (2 * samples) ** 2)):
        indices, weights = taps(boxes.double(), first, sizes, bins=(7, 7), samples=samples, close=close)
        assert indices.shape == weights.shape == (49 * len(boxes), count)
        sums.append((table[indices.long()] * weights).sum(1))
    torch.testing.assert_close(*sums, atol=1e-6, rtol=0)


@given(
    boxes=some_boxes,
    size=st.tuples(st.integers(40, 400), st.integers(40, 400)),
    bins=st.sampled_from([7, 14, 3]),
    samples=st.integers(-1, 3),
    aligned=st.booleans(),
)
@example(
    boxes=torch.tensor([[0.0, 0, 400, 3], [0, 0, 0, 0], [5, 5, 6, 5]]), size=(99, 400), bins=7, samples=0, aligned=True
)
def test_it_pools_what_detectron2_pools(boxes, size, bins, samples, aligned):
    """Its levels, half a pixel of alignment, boxes without an area, and as many samples as a bin has pixels."""
    pool = Detectron2Pool(PoolConfig(bins, samples, aligned=aligned))
    generator = torch.Generator().manual_seed(0)
    shapes = [(-(-size[0] // stride), -(-size[1] // stride)) for stride in (4, 8, 16, 32, 64)]
    features = [torch.randn(1, 16, *shape, generator=generator) for shape in shapes]
    names = ("0", "1", "2", "3", "pool")
    expected = pool(dict(zip(names, features, strict=True)), [boxes], [size]).permute(0, 2, 3, 1)
    found = RoiPool(pool, names)
    pooled, place = found(features, boxes, size)
    assert found.fast
    assert pooled.shape == expected.shape
    torch.testing.assert_close(pooled[place], expected, atol=2e-5 * 5, rtol=0)


class OwnPool(MultiScaleRoIAlign):
    """A user's own."""


def test_a_pooler_of_an_unknown_class_does_the_work_itself():
    """Whatever it overrides is kept."""
    pool, boxes = OwnPool(["0", "1", "2"], 7, 2), torch.tensor([[3.0, 4, 90, 80], [0, 0, 200, 300]])
    features = pyramid(200, 300, 3)
    pooled, place = RoiPool(pool, NAMES[:3])(features, boxes, (200, 300))
    expected = pool(dict(zip(NAMES, features, strict=False)), [boxes], [(200, 300)])
    assert torch.equal(pooled[place], expected.permute(0, 2, 3, 1))
