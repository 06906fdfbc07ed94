"""The dense stages of a detector as modules that can be exported: tensors in, tensors out, one image.

Pooled features come channels-last, `(R, height, width, channels)`, because that is how the pooling writes them; the
first linear layer's weight is permuted once instead of every activation.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import TwoMLPHead

from detq.engine.cache import key_of, weights_digest
from detq.engine.fold import simplify

__all__ = ["Backbone", "BoxHead", "DenseStages", "MaskHead", "RpnHead"]


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

    def __init__(self, head: nn.Module, predictor: nn.Module, size: Sequence[int]) -> None:
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


class DenseStages(Mapping[str, nn.Module]):
    """The dense stages of a torchvision Faster or Mask R-CNN by name, in fp32, batch norm folded.

    Each is made when it is first asked for: who finds it compiled in the cache needs its `digest` only.

    Attributes:
        detector: that was divided.
    """

    def __init__(self, detector: Any, *, pixels: bool) -> None:
        """Divide a detector.

        Args:
            detector: a `GeneralizedRCNN` in eval mode; it stays as it is.
            pixels: the backbone takes uint8 pixels and normalizes them itself.
        """
        self.detector, self._pixels = detector, pixels
        self._names = ("backbone", "rpn_head", "box_head", *(["mask_head"] if detector.roi_heads.has_mask() else []))
        self._made: dict[str, nn.Module] = {}
        self._digests: dict[str, str] = {}

    def __getitem__(self, stage: str) -> nn.Module:
        if stage not in self._names:
            raise KeyError(stage)
        if stage not in self._made:
            with torch.inference_mode(mode=False), torch.no_grad():
                self._made[stage] = self._make(stage).eval().requires_grad_(False)
        return self._made[stage]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def digest(self, stage: str) -> str:
        """Return what differs where a stage's weights, structure, code or normalization do."""
        if stage not in self._digests:
            parts = [weights_digest(part) for part in self._parts(stage)]
            self._digests[stage] = key_of(parts=parts, settings=self._settings(stage))
        return self._digests[stage]

    def _parts(self, stage: str) -> tuple[nn.Module, ...]:
        roi = self.detector.roi_heads
        if stage == "backbone":
            return (self.detector.backbone,)
        if stage == "rpn_head":
            return (self.detector.rpn.head,)
        return (roi.box_head, roi.box_predictor) if stage == "box_head" else (roi.mask_head, roi.mask_predictor)

    def _settings(self, stage: str) -> Any:
        """Return what a stage is made from beside modules, ready for JSON."""
        if stage == "backbone":
            transform = self.detector.transform
            return {"mean": list(transform.image_mean), "std": list(transform.image_std)} if self._pixels else None
        if stage == "rpn_head":
            return len(self.detector.rpn.anchor_generator.sizes)
        return list(self.detector.roi_heads.box_roi_pool.output_size) if stage == "box_head" else None

    def _make(self, stage: str) -> nn.Module:
        parts, settings = self._parts(stage), self._settings(stage)
        if stage == "backbone":
            return Backbone(simplify(parts[0]), settings)
        if stage == "rpn_head":
            return RpnHead(parts[0], settings)
        if stage == "box_head":
            return BoxHead(simplify(parts[0]), parts[1], settings)
        return MaskHead(simplify(parts[0]), parts[1])
