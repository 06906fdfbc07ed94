"""Where Detectron2 differs from torchvision, part by part."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import roi_align
from torchvision.ops.poolers import LevelMapper

from detq.engine.build import build_staged
from detq.models.detectron2.anchors import Detectron2Anchors
from detq.models.detectron2.build import build
from detq.models.detectron2.config import Detectron2Config, PoolConfig
from detq.models.detectron2.detections import Detectron2RoIHeads
from detq.models.detectron2.masks import Detectron2Masks
from detq.models.detectron2.paste import paste_masks, sample_mask
from detq.models.detectron2.pool import Detectron2Pool, choose_levels
from detq.models.detectron2.transform import Detectron2Transform, shortest_edge
from detq.quantization.plan import Plan
from detq.tensors import as_tensor

SMALL = Detectron2Config(masks=True, num_classes=3, min_size=96, max_size=160)


@pytest.fixture(scope="module")
def small():
    """A detector with random parameters that looks at small images. Do not change it."""
    torch.manual_seed(0)
    return build(SMALL).eval()


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1365, 2048), [800, 1200]),
        ((2048, 1536), [1067, 800]),
        ((480, 640), [800, 1067]),
        ((427, 640), [800, 1199]),
        ((300, 1000), [400, 1333]),
        ((1, 5000), [0, 1333]),
    ],
)
def test_the_short_side_is_800_and_the_long_one_1333_at_most(shape, expected):
    """Rounded half up, where torchvision rounds down."""
    assert shortest_edge(*shape, 800, 1333) == expected


@given(st.integers(1, 4000), st.integers(1, 4000), st.integers(1, 1000), st.integers(1, 1500))
def test_the_long_side_never_exceeds_its_limit(height, width, size, limit):
    """And an image that may grow has exactly the short side that was asked for."""
    new = shortest_edge(height, width, size, limit)
    assert max(new) <= max(limit, size if height == width else limit)
    if max(height, width) / min(height, width) * size <= limit:
        assert min(new) == size


def test_a_size_of_0_leaves_images_as_they_are():
    """Detectron2's way to switch resizing off."""
    assert shortest_edge(123, 45, 0, 10) == [123, 45]


@pytest.mark.parametrize("shape", [(150, 211), (61, 40), (96, 130)])
def test_pixels_are_pils_within_one_grey_level(shape):
    """Smaller, larger and almost the same; blue first, the mean subtracted, nothing divided."""
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    transform = Detectron2Transform(SMALL).eval()
    found, _ = transform([as_tensor(image)])
    height, width = found.image_sizes[0]
    expected = np.asarray(Image.fromarray(image[:, :, ::-1]).resize((width, height), Image.Resampling.BILINEAR))
    mean = torch.tensor([103.53, 116.28, 123.675])[:, None, None]
    difference = (
        found.tensors[0, :, :height, :width] + mean - torch.from_numpy(expected.copy()).permute(2, 0, 1)
    ).abs()
    assert difference.max() < 1.001
    assert (difference > 0.5).float().mean() < 0.01
    assert found.tensors.shape[2] % 32 == found.tensors.shape[3] % 32 == 0


def test_rgb_and_a_deviation_are_followed():
    """Configs with a backbone of torchvision have them."""
    config = Detectron2Config(
        input_format="RGB", pixel_mean=(1.0, 2.0, 3.0), pixel_std=(2.0, 4.0, 8.0), min_size=0, max_size=1
    )
    image = torch.tensor([9, 10, 11]).reshape(3, 1, 1).expand(3, 4, 5) / 255
    found, _ = Detectron2Transform(config).eval()([image])
    assert found.tensors[0, :, 0, 0].tolist() == [4.0, 2.0, 1.0]


def test_others_can_read_means_as_torchvisions():
    """Of RGB in [0, 1], whatever the order and the scale of the network."""
    transform = Detectron2Transform(Detectron2Config())
    assert transform.image_mean == pytest.approx([0.485, 0.456, 0.406])
    assert transform.image_std == [1 / 255] * 3


def test_targets_are_resized_with_their_image(small):
    """Training goes through the same transform."""
    boxes, masks = torch.tensor([[10.0, 20.0, 30.0, 40.0]]), torch.ones((1, 60, 80), dtype=torch.uint8)
    _, targets = small.transform([torch.rand(3, 60, 80)], [{"boxes": boxes, "masks": masks}])
    torch.testing.assert_close(targets[0]["boxes"], boxes * 1.6)
    assert targets[0]["masks"].shape == (1, 96, 128)
    assert targets[0]["masks"].dtype == torch.uint8


@given(
    st.tuples(st.floats(0, 50), st.floats(0, 40), st.floats(0.25, 60), st.floats(0.25, 60)),
    st.integers(1, 28),
    st.integers(0, 9),
)
def test_masks_are_sampled_as_grid_sample_does(place, cells, seed):
    """An independent oracle, at every pixel of the image, also where a box reaches out of it."""
    left, top, width, height = place
    mask = torch.rand((cells, cells), generator=torch.Generator().manual_seed(seed))
    box = torch.tensor([left, top, left + width, top + height])
    x = (torch.arange(50) + 0.5 - box[0]) / (box[2] - box[0]) * 2 - 1
    y = (torch.arange(40) + 0.5 - box[1]) / (box[3] - box[1]) * 2 - 1
    grid = torch.stack(torch.broadcast_tensors(x[None, :], y[:, None]), dim=-1)
    expected = F.grid_sample(mask[None, None], grid[None], align_corners=False)[0, 0]
    torch.testing.assert_close(sample_mask(mask, box, [0, 0, 50, 40]), expected, rtol=0, atol=2e-4)
    pasted = paste_masks(mask[None, None], box[None].clamp(max=torch.tensor([50.0, 40, 50, 40])), (40, 50))
    if left + width <= 50 and top + height <= 40:
        sure = (expected - 0.5).abs() > 3e-4
        assert torch.equal(pasted[0, 0][sure], (expected >= 0.5)[sure])


def test_half_belongs_to_the_object_wherever_masks_are_pasted():
    """Between cells of 0.5 a pixel has exactly that; the outermost ones fade into the zeros around the box."""
    mask, box = torch.full((1, 1, 2, 2), 0.5), torch.tensor([[0.0, 0, 4, 4]])
    expected = np.pad(np.ones((1, 2, 2), np.bool_), ((0, 0), (1, 1), (1, 1)))
    np.testing.assert_array_equal(paste_masks(mask, box, (4, 4))[:, 0].numpy(), expected)
    np.testing.assert_array_equal(Detectron2Masks(mask[0].numpy(), box.numpy(), (4, 4)).full(), expected)


def test_no_detections_have_no_masks():
    """An ordinary case."""
    assert paste_masks(torch.zeros(0, 1, 28, 28), torch.zeros(0, 4), (5, 7)).shape == (0, 1, 5, 7)


def test_anchors_are_not_rounded_and_the_ratios_of_a_size_stay_together():
    """Detectron2's documented boxes of size 32, and its order for several sizes on one level."""
    anchors = Detectron2Anchors(Detectron2Config())
    side = 32 * math.sqrt(2) / 2
    expected = [[-side, -side / 2, side, side / 2], [-16, -16, 16, 16], [-side / 2, -side, side / 2, side]]
    torch.testing.assert_close(anchors.cell_anchors[0], torch.tensor(expected))
    several = anchors.generate_anchors((1.0, 2.0), (1.0, 4.0))
    areas = (several[:, 2] - several[:, 0]) * (several[:, 3] - several[:, 1])
    assert areas.tolist() == [1.0, 1.0, 4.0, 4.0]


def test_strides_do_not_depend_on_the_image():
    """P6 of an image of 1376 pixels has 22 columns: torchvision takes their stride for 62."""
    anchors = Detectron2Anchors(Detectron2Config(anchor_offset=0.5))
    features = [torch.zeros(1, 1, 1, width) for width in (344, 172, 86, 43, 22)]
    (found,) = anchors(ImageList(torch.zeros(1, 3, 32, 1376), [(32, 1376)]), features)
    assert found.shape == (3 * (344 + 172 + 86 + 43 + 22), 4)
    centres = (found[:, 0] + found[:, 2]) / 2
    torch.testing.assert_close(centres[-3 * 22 :: 3], torch.arange(22) * 64.0 + 32)


def test_proposals_are_ranked_by_logits(small):
    """The sigmoid of both is 1, and torchvision would keep whichever comes first."""
    boxes = torch.tensor([[[0.0, 0, 10, 10], [1.0, 0, 10, 10], [50.0, 50, 50.0005, 60], [5.0, 5, 5, 9]]])
    found, scores = small.rpn.filter_proposals(boxes, torch.tensor([40.0, 50, 30, 60]), [(96, 96)], [4])
    assert found[0].tolist() == [[1.0, 0, 10, 10], [50.0, 50, pytest.approx(50.0005), 60]]
    assert scores[0].tolist() == [1.0, 1.0]


def test_proposals_that_are_not_numbers_are_dropped(small):
    """As Detectron2 does when a detector runs."""
    boxes = torch.tensor([[[0.0, 0, math.nan, 10], [1.0, 0, 10, 10], [2.0, 0, math.inf, 10], [50.0, 0, 60, 10]]])
    found, _ = small.rpn.filter_proposals(boxes, torch.tensor([4.0, 5, 3, math.inf]), [(96, 96)], [4])
    assert found[0].tolist() == [[1.0, 0, 10, 10]]


def test_a_proposal_has_to_be_larger_than_the_least_size(small, monkeypatch):
    """As large will not do: with 0, Detectron2's default, empty ones are dropped, and no others."""
    monkeypatch.setattr(small.rpn, "min_size", 4.0)
    boxes = torch.tensor([[[0.0, 0, 4, 9], [20.0, 0, 29, 4], [40.0, 0, 44.5, 4.5]]])
    found, _ = small.rpn.filter_proposals(boxes, torch.tensor([3.0, 2, 1]), [(96, 96)], [3])
    assert found[0].tolist() == [[40.0, 0, 44.5, 4.5]]


def test_a_suppressed_proposal_takes_no_place(small, monkeypatch):
    """POST_NMS_TOPK counts those that are left."""
    monkeypatch.setitem(small.rpn._post_nms_top_n, "testing", 2)
    boxes = torch.tensor([[[0.0, 0, 10, 10], [1.0, 0, 10, 10], [50.0, 0, 60, 10], [70.0, 0, 80, 10]]])
    found, _ = small.rpn.filter_proposals(boxes, torch.tensor([4.0, 3, 2, 1]), [(96, 96)], [4])
    assert found[0].tolist() == [[0.0, 0, 10, 10], [50.0, 0, 60, 10]]


def test_only_the_best_of_each_level_are_kept_before_nms():
    """PRE_NMS_TOPK counts on each level, POST_NMS_TOPK over all of them."""
    rpn = build(Detectron2Config(rpn_pre_nms=(9, 2), rpn_post_nms=(9, 3))).rpn.eval()
    corners = torch.arange(6)[:, None] * torch.tensor([100.0, 0, 100, 0]) + torch.tensor([0.0, 0, 10, 10])
    logits = torch.tensor([41.0, 42, 43, 44, 45, 46])  # whose sigmoid is 1 in float32
    found, _ = rpn.filter_proposals(corners[None], logits, [(20, 1000)], [3, 3])
    assert (found[0][:, 0] / 100).tolist() == [5, 4, 2]


def test_proposals_of_other_levels_do_not_suppress_each_other(small):
    """Non-maximum suppression is for each level alone, also where an empty one before them was dropped."""
    boxes = torch.tensor([[[5.0, 5, 5, 9], [0.0, 0, 10, 10], [1.0, 0, 10, 10], [0.0, 0, 10, 10]]])
    found, _ = small.rpn.filter_proposals(boxes, torch.tensor([9.0, 3, 2, 1]), [(96, 96)], [3, 1])
    assert found[0].tolist() == [[0.0, 0, 10, 10]] * 2


def test_a_box_of_224_pixels_is_pooled_from_p4():
    """And one of no size at all from P2, without a complaint."""
    sides = torch.tensor([0.0, 1, 111.9, 112, 223.9, 224, 447.9, 448, 5000])
    boxes = torch.stack([torch.zeros(9), torch.zeros(9), sides, sides], dim=1)
    assert choose_levels(boxes, 4).tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 3]


def test_the_epsilon_of_the_level_is_detectron2s():
    """1e-8 inside of the logarithm; torchvision adds 1e-6 to it, which moves a box just below 224 pixels to P4."""
    side = torch.tensor([223.9999])
    (box,) = torch.stack([torch.zeros(1), torch.zeros(1), side, side], dim=1)
    assert int(choose_levels(box[None], 4)) == 1
    assert int(LevelMapper(2, 5)([box[None]])) == 2
    near = torch.tensor([[0, 0, 1, 1]], dtype=torch.float64) * 224 * (1 - 9e-9)
    assert int(choose_levels(near, 4)) == 2


@pytest.mark.parametrize("config", [PoolConfig(7), PoolConfig(5, 2, aligned=False)])
def test_pooling_is_roi_align_on_the_level_of_each_box(config):
    """For two images, whose boxes come back in their order."""
    rng = torch.Generator().manual_seed(0)
    features = {str(k): torch.rand((2, 3, 128 >> k, 128 >> k), generator=rng) for k in range(4)} | {
        "pool": torch.ones(1)
    }
    corners = torch.rand((12, 2), generator=rng) * 100
    boxes = torch.cat([corners, corners + torch.logspace(0, 2.7, 12)[:, None]], dim=1)
    found = Detectron2Pool(config)(features, [boxes[:5], boxes[5:]], [(512, 512)] * 2)
    for number, box in enumerate(boxes):
        level = int(choose_levels(box[None], 4))
        rois = torch.cat([torch.tensor([[0.0 if number < 5 else 1.0]]), box[None]], dim=1)
        expected = roi_align(
            features[str(level)], rois, config.size, 0.25 / 2**level, config.sampling_ratio, config.aligned
        )
        torch.testing.assert_close(found[number : number + 1], expected)


def test_an_image_without_proposals_is_pooled_to_nothing():
    """An ordinary case."""
    features = {str(k): torch.rand((1, 3, 16 >> k, 16 >> k)) for k in range(4)}
    assert Detectron2Pool(PoolConfig(7))(features, [torch.zeros(0, 4)], [(64, 64)]).shape == (0, 3, 7, 7)


def test_a_box_thinner_than_a_hundredth_of_a_pixel_is_a_detection(small):
    """torchvision drops it; an empty one is dropped here too, after it has taken another's place."""
    heads: Detectron2RoIHeads = small.roi_heads
    logits = torch.tensor([[0.0, 9, 0, 0], [0.0, 0, 9, 0], [0.0, 0, 0, 9]])
    proposals = torch.tensor([[1.0, 1, 1.005, 9], [3.0, 3, 9, 9], [5.0, 5, 5, 9]])
    boxes, scores, labels = heads.postprocess_detections(logits, torch.zeros(3, 16), [proposals], [(20, 20)])
    assert labels[0].tolist() == [1, 2]
    torch.testing.assert_close(boxes[0], proposals[:2])
    assert (scores[0] > 0.99).all()


def test_an_empty_detection_takes_the_place_of_another(small, monkeypatch):
    """Detectron2 limits their number first and drops empty ones last; a negative number is no limit."""
    heads: Detectron2RoIHeads = small.roi_heads
    logits = torch.tensor([[0.0, 9, 0, 0], [0.0, 0, 8, 0], [0.0, 0, 0, 7]])
    proposals = torch.tensor([[5.0, 5, 5, 9], [3.0, 3, 9, 9], [1.0, 1, 8, 9]])
    for limit, labels in ((1, []), (2, [2]), (-1, [2, 3])):
        monkeypatch.setattr(heads, "detections_per_img", limit)
        found = heads.postprocess_detections(logits, torch.zeros(3, 16), [proposals], [(20, 20)])
        assert found[2][0].tolist() == labels


def test_a_score_has_to_be_above_the_threshold(small, monkeypatch):
    """The threshold itself will not do."""
    heads: Detectron2RoIHeads = small.roi_heads
    given = torch.zeros(1, 4), torch.zeros(1, 16), [torch.tensor([[3.0, 3, 9, 9]])], [(20, 20)]
    for threshold, labels in ((0.25, []), (0.24, [1, 2, 3])):
        monkeypatch.setattr(heads, "score_thresh", threshold)
        assert heads.postprocess_detections(*given)[2][0].tolist() == labels


def test_a_proposal_with_a_box_that_is_no_number_is_dropped_for_all_classes(small):
    """As Detectron2 does: the network has lost its way there."""
    heads: Detectron2RoIHeads = small.roi_heads
    logits, deltas = torch.tensor([[0.0, 6, 5, 0], [0.0, 5, 4, 0]]), torch.zeros(2, 16)
    deltas[0, 8] = math.nan
    proposals = torch.tensor([[1.0, 2, 11, 9], [2.0, 2, 11, 9]])
    boxes, _, labels = heads.postprocess_detections(logits, deltas, [proposals], [(20, 20)])
    assert labels[0].tolist() == [1, 2]
    torch.testing.assert_close(boxes[0], proposals[[1, 1]])


def test_each_class_has_its_own_box_and_its_own_suppression(small):
    """One proposal may be two detections; the second one, with the same boxes, is suppressed in both classes."""
    heads: Detectron2RoIHeads = small.roi_heads
    logits = torch.tensor([[0.0, 6, 5, 0], [0.0, 5, 4, 0]])
    deltas = torch.zeros(2, 16)
    deltas[:, 8] = 1.0  # of the second class: a tenth of the width to the right
    boxes, _, labels = heads.postprocess_detections(logits, deltas, [torch.tensor([[1.0, 2, 11, 9]] * 2)], [(20, 20)])
    assert labels[0].tolist() == [1, 2]
    torch.testing.assert_close(boxes[0], torch.tensor([[1.0, 2, 11, 9], [2.0, 2, 12, 9]]))


def test_an_image_without_proposals_has_no_detections(small):
    """An ordinary case."""
    heads: Detectron2RoIHeads = small.roi_heads
    found = heads.postprocess_detections(torch.zeros(0, 4), torch.zeros(0, 16), [torch.zeros(0, 4)], [(20, 20)])
    assert [tuple(values[0].shape) for values in found] == [(0, 4), (0,), (0,)]


def test_random_parameters_find_something_also_with_101_layers(noise):
    """Timing with random weights, and training from scratch, need numbers that stay in bounds."""
    torch.manual_seed(0)
    module = build(Detectron2Config(depth=101, min_size=96, max_size=160)).eval()
    with torch.inference_mode():
        features = module.backbone(module.transform([as_tensor(noise)])[0].tensors)
        (found,) = module([as_tensor(noise)])
    assert all(0.1 < level.abs().max() < 1000 for level in features.values())
    assert len(found["boxes"])


def test_the_detector_scripts_and_answers_as_it_does_unscripted(small, noise):
    """TorchScript gets the same graph, tensors of uint8 and all."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces the end of TorchScript
        script = torch.jit.script(small)
        for image in (as_tensor(noise), as_tensor(noise[:90, ::-1])):
            with torch.inference_mode():
                (expected,), (_, (found,)) = small([image]), script([image])
            assert len(expected["boxes"])
            for name in ("boxes", "scores", "labels"):
                torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-3)
            assert (found["masks"] == expected["masks"]).float().mean() > 0.9999


def test_the_staged_detector_answers_as_it_does(small, noise):
    """Stage by stage: its own resizing, anchors, choice of proposals, pooling and pasting."""
    staged = build_staged(small, Plan())
    with torch.inference_mode():
        (expected,), (found,), other = small([as_tensor(noise)]), staged([as_tensor(noise)]), staged.from_pixels(noise)
    assert len(expected["boxes"])
    for name in ("boxes", "scores", "labels"):
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-2)
    for masks in (found["masks"], torch.from_numpy(other["masks"].full())[:, None]):
        assert (masks == expected["masks"]).float().mean() > 0.9999


def test_strides_are_in_the_first_convolution_unless_the_config_says_otherwise():
    """MSRA's ResNets have them there, torchvision's in the 3 × 3 convolution."""
    with torch.device("meta"):
        first, second = (build(Detectron2Config(stride_in_1x1=flag)).backbone.body.layer3[0] for flag in (True, False))
    assert (first.conv1.stride, first.conv2.stride) == ((2, 2), (1, 1))
    assert (second.conv1.stride, second.conv2.stride) == ((1, 1), (2, 2))
    assert first.downsample[0].stride == second.downsample[0].stride == (2, 2)


def test_p6_is_every_second_place_of_p5(small, noise):
    """Max-pooling with windows of one place: neither averages nor a convolution of its own."""
    with torch.inference_mode():
        features = small.backbone(small.transform([as_tensor(noise)])[0].tensors)
    assert list(features) == ["0", "1", "2", "3", "pool"]
    assert torch.equal(features["pool"], features["3"][:, :, ::2, ::2])


def test_every_option_of_the_config_reaches_the_part_that_it_is_about():
    """None of these numbers is the default of Detectron2 or of torchvision."""
    config = Detectron2Config(
        masks=True,
        rpn_reg_weights=(2.0, 3.0, 4.0, 5.0),
        rpn_pre_nms=(31, 32),
        rpn_post_nms=(33, 34),
        rpn_nms=0.61,
        rpn_min_size=1.5,
        rpn_iou=(0.21, 0.81),
        rpn_batch=99,
        rpn_positive=0.41,
        roi_iou=0.42,
        roi_batch=98,
        roi_positive=0.22,
        box_reg_weights=(6.0, 7.0, 8.0, 9.0),
        box_pool=PoolConfig(6, 1),
        mask_pool=PoolConfig(12, 3, aligned=False),
        score=0.07,
        nms=0.43,
        detections=44,
    )
    with torch.device("meta"):
        detector = build(config).eval()
    rpn, heads = detector.rpn, detector.roi_heads
    found = replace(
        config,
        rpn_reg_weights=rpn.box_coder.weights,
        rpn_pre_nms=tuple(rpn._pre_nms_top_n[name] for name in ("training", "testing")),
        rpn_post_nms=tuple(rpn._post_nms_top_n[name] for name in ("training", "testing")),
        rpn_nms=rpn.nms_thresh,
        rpn_min_size=rpn.min_size,
        rpn_iou=(rpn.proposal_matcher.low_threshold, rpn.proposal_matcher.high_threshold),
        rpn_batch=rpn.fg_bg_sampler.batch_size_per_image,
        rpn_positive=rpn.fg_bg_sampler.positive_fraction,
        roi_iou=heads.proposal_matcher.high_threshold,
        roi_batch=heads.fg_bg_sampler.batch_size_per_image,
        roi_positive=heads.fg_bg_sampler.positive_fraction,
        box_reg_weights=heads.box_coder.weights,
        box_pool=_pool(heads.box_roi_pool),
        mask_pool=_pool(heads.mask_roi_pool),
        score=heads.score_thresh,
        nms=heads.nms_thresh,
        detections=heads.detections_per_img,
    )
    assert found == config


def _pool(pool):
    return PoolConfig(pool.output_size[0], pool.sampling_ratio, pool.aligned)
