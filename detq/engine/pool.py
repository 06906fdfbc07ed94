"""RoIAlign over a feature pyramid as one weighted sum of table rows, channels-last.

torchvision's CPU kernel is scalar and runs in one thread. Each output bin is a weighted sum of some feature vectors (at
most 16 for 2 × 2 samples, each between 4 pixels; with adaptive sampling as many as the box asks for), which is what
`embedding_bag` computes, vectorized over the channels and on all threads; a table in bf16 halves what it has to read.
He et al., "Mask R-CNN", 2017, section 3; the arithmetic is that of `torchvision.ops.roi_align`.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  # its name in every torch program
from torch import Tensor, nn
from torchvision.ops import MultiScaleRoIAlign

from detq.engine.adaptive import adaptive_taps
from detq.engine.taps import choose_levels, close_samples, taps
from detq.models.detectron2.pool import Detectron2Pool

__all__ = ["ROWS", "RoiPool", "scales_of"]

ROWS = MappingProxyType({"box_head": 64, "mask_head": 8})
"""Stage -> a multiple that its rois are padded to, so that it meets few numbers. A mask costs as much as 32 boxes."""


class RoiPool(nn.Module):
    """`MultiScaleRoIAlign` for one image, or Detectron2's, with another layout of the result.

    Attributes:
        fast: False where the pooler is of a class that is not known here, whose own code then does the work.
    """

    def __init__(self, pool: Any, names: Sequence[str], dtype: torch.dtype = torch.float32) -> None:
        """Wrap a pooler.

        Args:
            pool: torchvision's, or one that can be called like it.
            names: of the feature maps, in the order in which the backbone returns them.
            dtype: of the table; sums are in fp32 whatever it is.
        """
        super().__init__()
        self.pool = pool
        self.names = tuple(names)
        self.levels = tuple(index for index, name in enumerate(names) if name in pool.featmap_names)
        self.dtype = dtype
        self.fast = type(pool) in (MultiScaleRoIAlign, Detectron2Pool)

    def table(self, features: Sequence[Tensor]) -> Tensor | None:
        """Return the feature vectors of all levels that are pooled from, `(pixels, channels)`; None unless `fast`.

        Args:
            features: see `forward`.
        """
        return self._table(features) if self.fast else None

    def _table(self, features: Sequence[Tensor]) -> Tensor:
        levels = [features[index] for index in self.levels]
        return torch.cat([one.permute(0, 2, 3, 1).reshape(-1, one.shape[1]) for one in levels]).to(self.dtype)

    def shares(self, other: RoiPool) -> bool:
        """Return whether another pool's table is the same."""
        return (self.fast, self.levels, self.dtype) == (other.fast, other.levels, other.dtype)

    def forward(
        self, features: Sequence[Tensor], boxes: Tensor, size: tuple[int, int], table: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return pooled features `(R, height, width, channels)` in the table's dtype, and where each box's are.

        Large boxes come last, because their bins sum more feature vectors each. The second value, int64 `(R,)`, says
        which row of the first each box has: later stages keep the rows' order, and their results are indexed with it.

        Args:
            features: `(1, channels, height, width)` each.
            boxes: float32 `(R, 4)`, xyxy, pixels of the resized image.
            size: (height, width) of the resized image, without padding.
            table: what `table` returned for these features, where it is there already.
        """
        if not self.fast:
            wide = {name: feature.float() for name, feature in zip(self.names, features, strict=True)}
            pooled: Tensor = self.pool(wide, [boxes], [size])
            return pooled.permute(0, 2, 3, 1).to(features[0].dtype), torch.arange(len(boxes))
        table = self._table(features) if table is None else table
        shapes = [(features[index].shape[2], features[index].shape[3]) for index in self.levels]
        rows, weights, offsets, place = self._taps(boxes, shapes, size)
        pooled = F.embedding_bag(rows, table, offsets, per_sample_weights=weights.to(self.dtype), mode="sum")
        return pooled.reshape(-1, *self.pool.output_size, pooled.shape[1]), place

    def _taps(
        self, boxes: Tensor, shapes: Sequence[tuple[int, int]], size: tuple[int, int]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return rows, weights, where each bin begins in them, and where each box is."""
        sizes = torch.tensor(shapes, dtype=torch.int32)
        if isinstance(self.pool, Detectron2Pool):
            aligned, scales, chosen = self.pool.aligned, self.pool.level_scales(), self.pool.choose(boxes)
        else:
            aligned, scales = False, scales_of(shapes, size)
            chosen = choose_levels(boxes, scales, (self.pool.canonical_level, self.pool.canonical_scale))
        area = sizes.prod(1)
        first = area.cumsum(0, dtype=torch.int32) - area
        boxes = boxes * scales[chosen][:, None] - (0.5 if aligned else 0.0)
        order, parts = self._parts(boxes, first[chosen], sizes[chosen], aligned=aligned)
        begins, total = [], 0
        for rows, _ in parts:
            begins.append(torch.arange(total, total + rows.numel(), rows.shape[1], dtype=torch.int32))
            total += rows.numel()
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order))
        rows, weights = (torch.cat([part[kind].flatten() for part in parts]) for kind in (0, 1))
        return rows, weights, torch.cat(begins), place

    def _parts(
        self, boxes: Tensor, first: Tensor, sizes: Tensor, *, aligned: bool
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Return an order of the boxes, and in that order the taps of groups of boxes that need equally many."""
        bins, samples = tuple(self.pool.output_size), self.pool.sampling_ratio
        heights, widths = sizes.unbind(1)
        if samples <= 0 and len(boxes):
            return adaptive_taps(boxes, first, (heights, widths), bins=bins, aligned=aligned)
        close = close_samples(boxes, bins, max(samples, 1))
        groups = [close.nonzero().flatten(), (~close).nonzero().flatten()]
        shared: dict[str, Any] = {"bins": bins, "samples": max(samples, 1), "aligned": aligned}
        parts = [
            taps(boxes[group], first[group], (heights[group], widths[group]), close=near, **shared)
            for group, near in zip(groups, (True, False), strict=True)
        ]
        return torch.cat(groups), parts


def scales_of(shapes: Sequence[tuple[int, int]], size: tuple[int, int]) -> Tensor:
    """Return the scales of a pyramid's levels, float32 `(levels,)`: pixels of the level a pixel of the image.

    torchvision takes the power of two nearest to the ratio of the heights.

    Args:
        shapes: (height, width) of each level.
        size: (height, width) of the resized image, without padding.
    """
    return torch.tensor([2.0 ** round(float(torch.tensor(shape[0] / size[0]).log2())) for shape in shapes])
