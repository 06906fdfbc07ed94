"""Choosing proposals before decoding them gives torchvision's proposals, or Detectron2's."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.rpn import RegionProposalNetwork

from detq.engine.glue import Proposals
from detq.engine.proposing import choose_proposals, is_known
from detq.models.detectron2.anchors import Detectron2Anchors
from detq.models.detectron2.config import Detectron2Config
from detq.models.detectron2.proposals import Detectron2Proposals


def answers(seed, counts, levels_of_score):
    """Objectness, deltas and anchors of every level; few levels of score make many of them equal."""
    generator = torch.Generator().manual_seed(seed)
    total = sum(counts)
    objectness = torch.randn(total, generator=generator) * 3
    if levels_of_score:
        objectness = (objectness * levels_of_score).round() / levels_of_score
    corner = torch.rand(total, 2, generator=generator) * 200 - 20
    anchors = torch.cat([corner, corner + torch.rand(total, 2, generator=generator) * 90], 1)
    return objectness, torch.randn(total, 4, generator=generator), anchors


def network(*, pre_nms_top_n=1000, post_nms_top_n=1000, **limits):
    """torchvision's network without its layers."""
    numbers = {
        name: {"training": value, "testing": value}
        for name, value in (("pre_nms_top_n", pre_nms_top_n), ("post_nms_top_n", post_nms_top_n))
    }
    chosen = {"nms_thresh": 0.7, "score_thresh": 0.0, **limits}
    return RegionProposalNetwork(AnchorGenerator(), nn.Identity(), 0.7, 0.3, 256, 0.5, **numbers, **chosen).eval()


def detectron2s_network(*, pre_nms_top_n, post_nms_top_n, nms_thresh, score_thresh):
    """Detectron2's, which has no threshold of scores."""
    del score_thresh
    limits = {"rpn_pre_nms": (1, pre_nms_top_n), "rpn_post_nms": (1, post_nms_top_n), "rpn_nms": nms_thresh}
    config = Detectron2Config(**limits)
    return Detectron2Proposals(Detectron2Anchors(config), nn.Identity(), config).eval()


@settings(max_examples=60)
@given(
    make=st.sampled_from([network, detectron2s_network]),
    seed=st.integers(0, 10_000),
    counts=st.lists(st.integers(1, 400), min_size=1, max_size=4),
    levels_of_score=st.sampled_from([0, 1, 8]),
    limits=st.fixed_dictionaries(
        {
            "pre_nms_top_n": st.sampled_from([1, 50, 1000]),
            "post_nms_top_n": st.sampled_from([1, 30, 1000]),
            "nms_thresh": st.sampled_from([0.1, 0.7, 1.0]),
            "score_thresh": st.sampled_from([0.0, 0.05, 0.5, 1.0]),
        }
    ),
)
def test_the_proposals_are_the_networks_own_in_the_same_order(make, seed, counts, levels_of_score, limits):
    """For any settings, sizes of levels and equal scores, down to no proposal at all."""
    rpn = make(**limits)
    objectness, deltas, anchors = answers(seed, counts, levels_of_score)
    size = (150, 170)
    with torch.inference_mode():
        decoded = rpn.box_coder.decode(deltas, [anchors]).view(1, -1, 4)
        (expected,), _ = rpn.filter_proposals(decoded, objectness[:, None], [size], counts)
        found = choose_proposals(rpn, objectness, deltas, (anchors, counts), size)
    assert torch.equal(found, expected)


class Reversed(RegionProposalNetwork):
    """Keeps the worst."""

    def filter_proposals(self, proposals, objectness, image_shapes, num_anchors_per_level):
        boxes, scores = super().filter_proposals(proposals, objectness, image_shapes, num_anchors_per_level)
        return [one.flip(0) for one in boxes], scores


def test_a_network_with_a_filter_of_its_own_keeps_it():
    """A user's method is called, not bypassed."""
    rpn = network()
    assert is_known(rpn)
    assert Proposals(rpn, None, None).quick
    rpn.__class__ = Reversed
    assert not is_known(rpn)
    assert not Proposals(rpn, None, None).quick
