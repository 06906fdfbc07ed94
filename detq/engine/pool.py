"""RoIAlign over a feature pyramid as one weighted sum of table rows, channels-last.

torchvision's CPU kernel is scalar and runs in one thread. Each output bin is a weighted sum of at most 16 feature
vectors (2 × 2 samples, each between 4 pixels), which is what `embedding_bag` computes, vectorized over the channels and
on all threads; a table in bf16 halves what it has to read. He et al., "Mask R-CNN", 2017, section 3; the arithmetic is
that of `torchvision.ops.roi_align`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  # its name in every torch program
from torch import Tensor, nn
from torchvision.ops import MultiScaleRoIAlign

from detq.engine.taps import choose_levels, close_samples, taps

__all__ = ["ROWS", "RoiPool", "describe"]

ROWS = 64
"""Rois are padded to a multiple of this, so that later stages meet few shapes."""


class RoiPool(nn.Module):
    """`MultiScaleRoIAlign` for one image, with another layout of the result.

    Attributes:
        fast: False where the samples of a bin are as many as its size asks for (`sampling_ratio` 0 or less), or the
            pooler is a class of its own: torchvision's operator then does the work.
    """

    def __init__(self, pool: Any, names: Sequence[str], dtype: torch.dtype = torch.float32) -> None:
        """Wrap a pooler.

        Args:
            pool: torchvision's.
            names: of the feature maps, in the order in which the backbone returns them.
            dtype: of the table; sums are in fp32 whatever it is.
        """
        super().__init__()
        self.pool = pool
        self.names = tuple(names)
        self.levels = tuple(index for index, name in enumerate(names) if name in pool.featmap_names)
        self.dtype = dtype
        self.fast = type(pool) is MultiScaleRoIAlign and pool.sampling_ratio > 0

    def forward(self, features: Sequence[Tensor], boxes: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return pooled features `(R, height, width, channels)` in the table's dtype, and where each box's are.

        Large boxes come last, because their bins sum more feature vectors each. The second value, int64 `(R,)`, says
        which row of the first each box has: later stages keep the rows' order, and their results are indexed with it.

        Args:
            features: `(1, channels, height, width)` each.
            boxes: float32 `(R, 4)`, xyxy, pixels of the resized image.
            size: (height, width) of the resized image, without padding.
        """
        if not self.fast:
            wide = {name: feature.float() for name, feature in zip(self.names, features, strict=True)}
            pooled: Tensor = self.pool(wide, [boxes], [size])
            return pooled.permute(0, 2, 3, 1).to(features[0].dtype), torch.arange(len(boxes))
        levels = [features[index] for index in self.levels]
        channels = levels[0].shape[1]
        table = torch.cat([level.permute(0, 2, 3, 1).reshape(-1, channels) for level in levels]).to(self.dtype)
        rows, weights, offsets, place = self._taps(boxes, [(one.shape[2], one.shape[3]) for one in levels], size)
        pooled = F.embedding_bag(rows, table, offsets, per_sample_weights=weights.to(self.dtype), mode="sum")
        return pooled.reshape(-1, *self.pool.output_size, channels), place

    def _taps(
        self, boxes: Tensor, shapes: Sequence[tuple[int, int]], size: tuple[int, int]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return rows, weights, where each bin begins in them, and where each box is."""
        sizes, scales = describe(shapes, size)
        bins, samples = tuple(self.pool.output_size), self.pool.sampling_ratio
        chosen = choose_levels(boxes, scales, (self.pool.canonical_level, self.pool.canonical_scale))
        area = sizes.prod(1)
        first = area.cumsum(0, dtype=torch.int32) - area
        boxes = boxes * scales[chosen][:, None]
        close = close_samples(boxes, bins, samples)
        order = torch.cat([close.nonzero(), (~close).nonzero()]).flatten()
        boxes, chosen = boxes[order], chosen[order]
        count = int(close.sum())
        heights, widths = sizes[chosen].unbind(1)
        parts = [
            taps(
                boxes[part], first[chosen[part]], (heights[part], widths[part]), bins=bins, samples=samples, close=near
            )
            for part, near in ((slice(count), True), (slice(count, None), False))
        ]
        begins, total = [], 0
        for rows, _ in parts:
            begins.append(torch.arange(total, total + rows.numel(), rows.shape[1], dtype=torch.int32))
            total += rows.numel()
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order))
        rows, weights = (torch.cat([part[kind].flatten() for part in parts]) for kind in (0, 1))
        return rows, weights, torch.cat(begins), place


def describe(shapes: Sequence[tuple[int, int]], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return sizes int32 `(levels, 2)` and scales float32 `(levels,)` of a pyramid's levels.

    torchvision takes the power of two nearest to the ratio of the heights.

    Args:
        shapes: (height, width) of each level.
        size: (height, width) of the resized image, without padding.
    """
    scales = [2.0 ** round(float(torch.tensor(shape[0] / size[0]).log2())) for shape in shapes]
    return torch.tensor(shapes, dtype=torch.int32), torch.tensor(scales)
