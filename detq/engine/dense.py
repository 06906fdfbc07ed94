"""The dense stages of a detector as modules that can be exported: tensors in, tensors out, one image.

Pooled features come channels-last, `(R, height, width, channels)`, because that is how the pooling writes them; the
first linear layer's weight is permuted once instead of every activation.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import TwoMLPHead

from detq.engine.fold import simplify

__all__ = ["Backbone", "BoxHead", "MaskHead", "RpnHead", "dense_stages"]


class Backbone(nn.Module):
    """Image to feature pyramid.

    Attributes:
        names: of the levels, in the order in which they are returned.
    """

    factor: Tensor
    shift: Tensor

    def __init__(self, body: nn.Module, normalize: Mapping[str, list[float]] | None = None) -> None:
        """Wrap a folded backbone.

        Args:
            body: torchvision's backbone with pyramid.
            normalize: "mean" and "std" for images in [0, 1]: the input is then uint8 pixels, to be normalized here.
        """
        super().__init__()
        self.body = body
        self.pixels = normalize is not None
        if normalize is not None:
            mean, std = torch.tensor(normalize["mean"]), torch.tensor(normalize["std"])
            self.register_buffer("factor", (1 / (255 * std))[:, None, None])
            self.register_buffer("shift", (-mean / std)[:, None, None])

    def forward(self, canvas: Tensor) -> tuple[Tensor, ...]:
        """Return feature maps `(1, channels, height, width)` for a canvas `(1, 3, height, width)`, float or uint8."""
        if self.pixels:
            canvas = canvas.to(self.factor.dtype) * self.factor + self.shift
        found = self.body(canvas)
        return tuple(found.values()) if isinstance(found, dict) else (found,)


class RpnHead(nn.Module):
    """Feature maps to objectness and box deltas of all anchors, level after level.

    Every level has a copy of the head: quantizers refuse a module that is called several times, and each level's
    activations get ranges of their own.
    """

    def __init__(self, head: nn.Module, levels: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(copy.deepcopy(head) for _ in range(levels))

    def forward(self, *features: Tensor) -> tuple[Tensor, Tensor]:
        """Return float32 objectness `(anchors,)` and deltas `(anchors, 4)`, ordered as torchvision's anchors are."""
        objectness, deltas = [], []
        for head, feature in zip(self.heads, features, strict=True):
            (scores,), (boxes,) = head([feature])
            objectness.append(scores.permute(0, 2, 3, 1).reshape(-1))
            deltas.append(boxes.permute(0, 2, 3, 1).reshape(-1, 4))
        return torch.cat(objectness).float(), torch.cat(deltas).float()


class BoxHead(nn.Module):
    """Pooled features of proposals to class logits and box regression."""

    def __init__(self, head: nn.Module, predictor: nn.Module, size: tuple[int, int]) -> None:
        super().__init__()
        self.head, self.predictor = copy.deepcopy(head), copy.deepcopy(predictor)
        self.flat = isinstance(head, TwoMLPHead)
        if self.flat:
            first = cast("nn.Linear", self.head.fc6)
            weight = first.weight.detach().reshape(len(first.weight), -1, *size).permute(0, 2, 3, 1).flatten(1)
            first.weight = nn.Parameter(weight.contiguous(), requires_grad=False)

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Return float32 logits `(R, classes)` and regression `(R, 4 * classes)` for `(R, height, width, channels)`."""
        found = self.head(pooled.flatten(1) if self.flat else pooled.permute(0, 3, 1, 2))
        logits, regression = self.predictor(found)
        return logits.float(), regression.float()


class MaskHead(nn.Module):
    """Pooled features of detections to mask logits."""

    def __init__(self, head: nn.Module, predictor: nn.Module) -> None:
        super().__init__()
        self.head, self.predictor = copy.deepcopy(head), copy.deepcopy(predictor)

    def forward(self, pooled: Tensor) -> Tensor:
        """Return float32 logits `(R, classes, 28, 28)` for `(R, height, width, channels)`."""
        logits: Tensor = self.predictor(self.head(pooled.permute(0, 3, 1, 2))).float()
        return logits


def dense_stages(detector: Any, *, pixels: bool) -> dict[str, nn.Module]:
    """Return the dense stages of a torchvision Faster or Mask R-CNN by name, in fp32, batch norm folded.

    Args:
        detector: a `GeneralizedRCNN` in eval mode; it stays as it is.
        pixels: the backbone takes uint8 pixels and normalizes them itself.
    """
    transform, roi = detector.transform, detector.roi_heads
    normalize = {"mean": list(transform.image_mean), "std": list(transform.image_std)} if pixels else None
    stages: dict[str, nn.Module] = {
        "backbone": Backbone(simplify(detector.backbone), normalize),
        "rpn_head": RpnHead(detector.rpn.head, len(detector.rpn.anchor_generator.sizes)),
        "box_head": BoxHead(simplify(roi.box_head), roi.box_predictor, roi.box_roi_pool.output_size),
    }
    if roi.has_mask():
        stages["mask_head"] = MaskHead(simplify(roi.mask_head), roi.mask_predictor)
    return {name: stage.eval().requires_grad_(False) for name, stage in stages.items()}
