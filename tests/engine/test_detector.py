"""The staged detector in eager fp32 is torchvision's detector, stage by stage."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detq.datasets.images import read_image
from detq.engine.build import build_staged
from detq.predictor import build_predictor
from detq.quantization.plan import Plan
from detq.tensors import as_tensor
from tests.engine.small import small_detector


def same(found, expected):
    """Boxes within a hundredth of a pixel, scores and masks within 1e-4: the order of sums differs.

    Detections whose scores differ by less than that may stand in either order.
    """
    assert len(found["scores"]) == len(expected["scores"])
    near = (found["scores"][None] - expected["scores"][:, None]).abs() <= 1e-4
    alike = near & (found["labels"][None] == expected["labels"][:, None])
    apart = (found["boxes"][None] - expected["boxes"][:, None]).abs().amax(-1)
    places = torch.where(alike, apart, torch.inf).argmin(1) if len(apart) else torch.arange(0)
    assert sorted(places.tolist()) == list(range(len(places)))
    found = {name: values[places] for name, values in found.items()}
    assert found["labels"].tolist() == expected["labels"].tolist()
    torch.testing.assert_close(found["boxes"], expected["boxes"], atol=1e-2, rtol=1e-4)
    torch.testing.assert_close(found["scores"], expected["scores"], atol=1e-4, rtol=0)
    if "masks" in expected:
        torch.testing.assert_close(found["masks"], expected["masks"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("masks", [False, True], ids=["boxes", "masks"])
@settings(max_examples=12)
@given(
    size=st.tuples(st.integers(20, 200), st.integers(20, 200)),
    seed=st.integers(0, 5),
    limits=st.fixed_dictionaries(
        {
            "box_score_thresh": st.sampled_from([0.0, 0.3, 0.36, 0.999]),
            "box_nms_thresh": st.sampled_from([0.3, 0.7]),
            "rpn_post_nms_top_n_test": st.sampled_from([1, 20, 300]),
        }
    ),
)
def test_in_eager_fp32_it_finds_what_torchvision_finds(masks, size, seed, limits):
    """For any image size, threshold and number of proposals, none included."""
    detector = small_detector(masks=masks, seed=seed, **limits)
    image = torch.rand(3, *size, generator=torch.Generator().manual_seed(seed))
    with torch.inference_mode():
        (expected,) = detector([image])
        (found,) = build_staged(detector, Plan())([image])
    same(found, expected)


def test_on_a_real_photo_it_finds_what_torchvision_finds(shared):
    """The packaged Mask R-CNN, whose boxes are those of the packaged car detector, at half its size to be quick."""
    detector = build_predictor("maskrcnn_mobilenet_v3_large_fpn-fp32").module
    detector.transform.min_size = (400,)
    photo = min((shared / "data/dawn/test").rglob("*.jpg"))
    image = as_tensor(read_image(photo))
    with torch.inference_mode():
        (expected,), (found,) = detector([image]), build_staged(detector, Plan())([image])
    assert len(expected["boxes"])
    same(found, expected)


def test_the_detector_it_was_made_from_stays_as_it_is():
    """Folding and permuting happen on copies."""
    detector = small_detector()
    before = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    build_staged(detector, Plan())
    assert all(torch.equal(tensor, before[name]) for name, tensor in detector.state_dict().items())


def test_a_limit_on_proposals_keeps_the_best():
    """They come sorted by objectness."""
    detector = small_detector()
    image = torch.rand(3, 96, 96)
    with torch.inference_mode():
        every = build_staged(detector, Plan()).run(image).proposals
        few = build_staged(detector, Plan(proposals=5)).run(image).proposals
    torch.testing.assert_close(few, every[:5])


def test_proposals_that_overlap_more_than_a_plan_allows_are_dropped():
    """As with torchvision's own threshold, which stays as it is in the detector that was given."""
    detector = small_detector()
    detector.rpn.score_thresh = 0.0
    image = torch.rand(3, 96, 96)
    with torch.inference_mode():
        usual = build_staged(detector, Plan()).run(image).proposals
        few = build_staged(detector, Plan(overlap=0.2)).run(image).proposals
        assert detector.rpn.nms_thresh == 0.7
        detector.rpn.nms_thresh = 0.2
        torch.testing.assert_close(few, build_staged(detector, Plan()).run(image).proposals)
    assert 0 < len(few) < len(usual)


def test_stages_are_timed_by_name():
    """Every stage has its milliseconds, in the order in which they run."""
    clock: dict[str, float] = {}
    with torch.inference_mode():
        build_staged(small_detector(masks=True), Plan()).run(torch.rand(3, 96, 96), clock)
    assert list(clock) == [
        *("transform", "backbone", "rpn_head", "proposals", "box_pool", "box_head", "postprocess"),
        *("mask_pool", "mask_head", "paste"),
    ]
    assert all(value > 0 for value in clock.values())


def test_detectron2s_detectors_keep_their_own_ways():
    """Their filter, adaptive sampling, clipping, and masks pasted and compared with a half where they are pasted."""
    from detq.models.detectron2.build import build

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        detector = build("mask_rcnn_R_50_FPN_1x", num_classes=3).eval()
    detector.transform.min_size, detector.transform.max_size = (96,), 160
    image = torch.rand(3, 90, 120, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        (expected,) = detector([image])
        (found,) = build_staged(detector, Plan())([image])
    assert len(expected["boxes"])
    assert found["masks"].dtype == expected["masks"].dtype == torch.bool
    same(*({name: values for name, values in one.items() if name != "masks"} for one in (found, expected)))
    assert (found["masks"] != expected["masks"]).float().mean() < 1e-3
