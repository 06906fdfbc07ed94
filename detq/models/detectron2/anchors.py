"""Detectron2's anchors: not rounded, on strides that do not depend on the image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

from detq.models.detectron2.config import Detectron2Config

__all__ = ["Detectron2Anchors"]

STRIDES = (4, 8, 16, 32, 64)
"""Of the levels P2 to P6, in pixels."""


class Detectron2Anchors(AnchorGenerator):  # type: ignore[misc]  # torchvision has no types
    """torchvision's anchor generator with Detectron2's anchors, in Detectron2's order."""

    def __init__(self, config: Detectron2Config) -> None:
        super().__init__(config.anchor_sizes, config.anchor_ratios)
        self.strides = list(STRIDES)
        self.offset = config.anchor_offset

    def generate_anchors(self, scales: Sequence[float], aspect_ratios: Sequence[float], **_options: Any) -> Tensor:
        """Return the anchors around (0, 0), float32 `(sizes × ratios, 4)`, the ratios of the first size first."""
        anchors = []
        for size in scales:
            for ratio in aspect_ratios:
                width = math.sqrt(size**2 / ratio)
                height = ratio * width
                anchors.append([-width / 2, -height / 2, width / 2, height / 2])
        return torch.tensor(anchors)

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        """Return the anchors of each image, all the same, `(anchors of all levels, 4)`."""
        self.set_cell_anchors(feature_maps[0].dtype, feature_maps[0].device)
        levels = []
        for level, cell in enumerate(self.cell_anchors):
            feature, stride = feature_maps[level], self.strides[level]
            x = (torch.arange(feature.shape[-1], dtype=cell.dtype, device=cell.device) + self.offset) * stride
            y = (torch.arange(feature.shape[-2], dtype=cell.dtype, device=cell.device) + self.offset) * stride
            y, x = torch.meshgrid(y, x, indexing="ij")
            shifts = torch.stack((x, y, x, y), dim=-1).reshape(-1, 1, 4)
            levels.append((shifts + cell[None]).reshape(-1, 4))
        anchors = torch.cat(levels)
        return [anchors for _ in image_list.image_sizes]
