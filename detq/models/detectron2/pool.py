"""Detectron2's RoIAlign over the levels of a feature pyramid."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import MultiScaleRoIAlign, roi_align

from detq.models.detectron2.config import PoolConfig

__all__ = ["Detectron2Pool", "choose_levels"]


def choose_levels(boxes: Tensor, levels: int) -> Tensor:
    """Return which level each box is pooled from, int64 `(N,)`: 0 for P2 up to `levels - 1`.

    Equation 1 of the FPN paper (Lin et al. 2017), with an epsilon that keeps boxes without an area finite.

    Args:
        boxes: `(N, 4)`, xyxy in pixels of the resized image.
        levels: of the pyramid.
    """
    sides = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sqrt()
    level = torch.floor(4 + torch.log2(sides / 224 + 1e-8))
    return level.clamp(2, levels + 1).to(torch.int64) - 2


class Detectron2Pool(MultiScaleRoIAlign):  # type: ignore[misc]  # torchvision has no types
    """RoIAlign of the levels P2 to P5.

    With `sampling_ratio` 0 a bin has as many samples as it has pixels of its level, rounded up, on each axis.
    """

    def __init__(self, config: PoolConfig) -> None:
        super().__init__(["0", "1", "2", "3"], config.size, config.sampling_ratio)
        self.aligned = config.aligned

    def level_scales(self) -> Tensor:
        """Return the levels' scales, float32 `(4,)`: pixels of the level a pixel of the image."""
        return torch.tensor([1 / float(4 * 2**number) for number in range(len(self.featmap_names))])

    def choose(self, boxes: Tensor) -> Tensor:
        """Return `choose_levels` for these levels."""
        return choose_levels(boxes, len(self.featmap_names))

    def forward(self, x: dict[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]]) -> Tensor:  # noqa: ARG002
        """Return `(boxes of all images, channels, size, size)`.

        Args:
            x: feature maps `(images, channels, height, width)` by name.
            boxes: of each image `(N, 4)`, xyxy in pixels of the resized image.
            image_shapes: unused; strides are 4, 8, 16 and 32.
        """
        features = [x[name] for name in self.featmap_names]
        every = torch.cat(boxes)
        image = torch.cat([torch.full_like(found[:, :1], float(index)) for index, found in enumerate(boxes)])
        rois = torch.cat([image, every], dim=1)
        level = choose_levels(every, len(features))
        size = list(self.output_size)
        pooled = torch.zeros(
            (len(rois), features[0].shape[1], size[0], size[1]), dtype=features[0].dtype, device=features[0].device
        )
        for number, feature in enumerate(features):
            where = torch.where(level == number)[0]
            scale = 1 / float(4 * 2**number)
            found = roi_align(feature, rois[where], size, scale, self.sampling_ratio, self.aligned)
            pooled[where] = found.to(pooled.dtype)  # under autocast levels may differ in dtype
        return pooled
