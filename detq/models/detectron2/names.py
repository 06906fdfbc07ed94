"""Detectron2's names of tensors in torchvision's words, and its background class at torchvision's place."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["PARTS", "part_of", "to_torchvision", "torchvision_name"]

PARTS: tuple[tuple[str, str], ...] = (
    ("backbone.bottom_up.", "backbone"),
    ("backbone.fpn_", "FPN"),
    ("proposal_generator.", "RPN"),
    ("roi_heads.box_", "box head"),
    ("roi_heads.mask_", "mask head"),
)
"""Beginnings of Detectron2's names, and the part of the detector that they belong to."""

# Each rule is tried in order, on what the rules before it left.
_RULES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^backbone\.bottom_up\.stem\.", "backbone.body."),
        (r"^backbone\.bottom_up\.res(\d)\.", lambda m: f"backbone.body.layer{int(m[1]) - 1}."),
        (r"\.shortcut\.norm\.", ".downsample.1."),
        (r"\.shortcut\.", ".downsample.0."),
        (r"\.conv(\d)\.norm\.", r".bn\1."),
        (r"^backbone\.fpn_lateral(\d)\.", lambda m: f"backbone.fpn.inner_blocks.{int(m[1]) - 2}.0."),
        (r"^backbone\.fpn_output(\d)\.", lambda m: f"backbone.fpn.layer_blocks.{int(m[1]) - 2}.0."),
        (r"^proposal_generator\.rpn_head\.conv\.", "rpn.head.conv.0.0."),
        (r"^proposal_generator\.rpn_head\.objectness_logits\.", "rpn.head.cls_logits."),
        (r"^proposal_generator\.rpn_head\.anchor_deltas\.", "rpn.head.bbox_pred."),
        (r"^roi_heads\.box_head\.fc(\d)\.", lambda m: f"roi_heads.box_head.fc{int(m[1]) + 5}."),
        (r"^roi_heads\.mask_head\.mask_fcn(\d)\.", lambda m: f"roi_heads.mask_head.{int(m[1]) - 1}.0."),
        (r"^roi_heads\.mask_head\.deconv\.", "roi_heads.mask_predictor.conv5_mask."),
        (r"^roi_heads\.mask_head\.predictor\.", "roi_heads.mask_predictor.mask_fcn_logits."),
    )
)


def part_of(name: str) -> str:
    """Return the part of the detector that Detectron2's tensor `name` belongs to, "other" for none.

    >>> part_of("backbone.fpn_lateral2.weight"), part_of("sem_seg_head.p2.weight")
    ('FPN', 'other')
    """
    return next((part for prefix, part in PARTS if name.startswith(prefix)), "other")


def torchvision_name(name: str) -> str:
    """Return what torchvision calls Detectron2's tensor `name`.

    >>> torchvision_name("backbone.bottom_up.res4.22.conv3.norm.bias")
    'backbone.body.layer3.22.bn3.bias'
    """
    for pattern, replacement in _RULES:
        name = pattern.sub(replacement, name)
    return name


def to_torchvision(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return Detectron2's tensors under torchvision's names, with a row for background before those of the classes.

    Detectron2 scores background last, and has neither boxes nor masks for it. Torchvision has, and never uses them:
    these rows are 0.
    """
    converted = {torchvision_name(name): value for name, value in tensors.items()}
    for name, value in converted.items():
        if name.startswith("roi_heads.box_predictor.cls_score."):
            converted[name] = torch.cat([value[-1:], value[:-1]])
        elif name.startswith("roi_heads.box_predictor.bbox_pred."):
            converted[name] = torch.cat([torch.zeros_like(value[:4]), value])
        elif name.startswith("roi_heads.mask_predictor.mask_fcn_logits."):
            converted[name] = torch.cat([torch.zeros_like(value[:1]), value])
    return converted
