"""Mask R-CNN on the car detector's backbone: a model that torchvision has the parts of, but no builder for."""

from __future__ import annotations

from typing import Any

from torchvision.models.detection import MaskRCNN, fasterrcnn_mobilenet_v3_large_fpn
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor

__all__ = ["MASK_CHANNELS", "maskrcnn_mobilenet_v3_large_fpn"]

MASK_CHANNELS = 128
"""Half of torchvision's width: a third of the arithmetic, and 0.8 million parameters instead of 2.6."""

_LAYERS = 4


def maskrcnn_mobilenet_v3_large_fpn(
    *, weights: None = None, weights_backbone: Any = None, num_classes: int = 91, progress: bool = True
) -> MaskRCNN:
    """Return a Mask R-CNN whose boxes are those of `fasterrcnn_mobilenet_v3_large_fpn` with the same parameters.

    Backbone, FPN levels, anchors and thresholds are taken from that detector, so that its state dict fits this one but
    for the mask head (He et al., "Mask R-CNN", 2017): RoIAlign to 14 × 14, four 3 × 3 convolutions of `MASK_CHANNELS`,
    a transposed convolution to 28 × 28.

    Args:
        weights: there are none.
        weights_backbone: torchvision's, for the MobileNetV3.
        num_classes: background included.
        progress: show the download of `weights_backbone`.

    Raises:
        ValueError: `weights` are asked for.
    """
    if weights is not None:
        raise ValueError(f"maskrcnn_mobilenet_v3_large_fpn has no pretrained weights, got {weights}")
    boxes = fasterrcnn_mobilenet_v3_large_fpn(
        weights=None, weights_backbone=weights_backbone, num_classes=num_classes, progress=progress
    )
    heads = boxes.roi_heads
    model = MaskRCNN(
        boxes.backbone,
        rpn_anchor_generator=boxes.rpn.anchor_generator,
        rpn_head=boxes.rpn.head,
        box_head=heads.box_head,
        box_predictor=heads.box_predictor,
        mask_head=MaskRCNNHeads(boxes.backbone.out_channels, (MASK_CHANNELS,) * _LAYERS, 1),
        mask_predictor=MaskRCNNPredictor(MASK_CHANNELS, MASK_CHANNELS, num_classes),
    )
    # Not only the layers: with what torchvision sets beside them, such as the least score of a proposal.
    for part in ("mask_roi_pool", "mask_head", "mask_predictor"):
        setattr(heads, part, getattr(model.roi_heads, part))
    model.transform, model.rpn, model.roi_heads = boxes.transform, boxes.rpn, heads
    return model
