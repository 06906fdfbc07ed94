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

__all__ = ["RoiPool", "taps"]

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

    def forward(self, features: Sequence[Tensor], boxes: Tensor, size: tuple[int, int]) -> Tensor:
        """Return pooled features `(R, height, width, channels)` in the features' dtype.

        Args:
            features: `(1, channels, height, width)` each.
            boxes: float32 `(R, 4)`, xyxy, pixels of the resized image.
            size: (height, width) of the resized image, without padding.
        """
        if not self.fast:
            wide = {name: feature.float() for name, feature in zip(self.names, features, strict=True)}
            pooled: Tensor = self.pool(wide, [boxes], [size])
            return pooled.permute(0, 2, 3, 1).to(features[0].dtype)
        levels = [features[index] for index in self.levels]
        channels = levels[0].shape[1]
        table = torch.cat([level.permute(0, 2, 3, 1).reshape(-1, channels) for level in levels]).to(self.dtype)
        pyramid = describe([(level.shape[2], level.shape[3]) for level in levels], size)
        height, width = self.pool.output_size
        rows, weights = taps(
            boxes,
            *pyramid,
            bins=(height, width),
            samples=self.pool.sampling_ratio,
            canonical=(self.pool.canonical_level, self.pool.canonical_scale),
        )
        pooled = F.embedding_bag(rows, table, per_sample_weights=weights.to(self.dtype), mode="sum")
        return pooled.reshape(-1, height, width, channels)


def describe(shapes: Sequence[tuple[int, int]], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return sizes int64 `(levels, 2)` and scales float32 `(levels,)` of a pyramid's levels.

    torchvision takes the power of two nearest to the ratio of the heights.

    Args:
        shapes: (height, width) of each level.
        size: (height, width) of the resized image, without padding.
    """
    scales = [2.0 ** round(float(torch.tensor(shape[0] / size[0]).log2())) for shape in shapes]
    return torch.tensor(shapes), torch.tensor(scales)


def taps(
    boxes: Tensor,
    shapes: Tensor,
    scales: Tensor,
    *,
    bins: tuple[int, int],
    samples: int,
    canonical: tuple[int, int],
) -> tuple[Tensor, Tensor]:
    """Return which rows of the pyramid's table each bin sums, and with which weights: both `(R * bins, 4 * samples²)`.

    Args:
        boxes: float32 `(R, 4)`, xyxy, pixels of the resized image.
        shapes: int64 `(levels, 2)`, height and width of each level.
        scales: float32 `(levels,)`, pixels of the level a pixel of the image.
        bins: rows and columns of the output.
        samples: of a bin, in each direction.
        canonical: level and side in pixels of equation 1 of the FPN paper, Lin et al. 2017.
    """
    chosen = choose_levels(boxes, scales, canonical)
    heights, widths = shapes[chosen].unbind(1)
    rows = shapes[:, 0] * shapes[:, 1]
    first = (rows.cumsum(0) - rows)[chosen]
    x1, y1, x2, y2 = (boxes * scales[chosen][:, None]).unbind(1)
    y_index, y_weight = _axis(y1, y2, bins[0], samples, heights)
    x_index, x_weight = _axis(x1, x2, bins[1], samples, widths)
    line = first[:, None, None] + y_index * widths[:, None, None]
    indices = line[:, :, None, :, None] + x_index[:, None, :, None, :]
    weights = y_weight[:, :, None, :, None] * x_weight[:, None, :, None, :]
    count = (2 * samples) ** 2
    return indices.reshape(-1, count), weights.reshape(-1, count)


def choose_levels(boxes: Tensor, scales: Tensor, canonical: tuple[int, int]) -> Tensor:
    """Return the index of the level for each box, int64 `(R,)`: equation 1 of the FPN paper."""
    level, side = canonical
    sides = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sqrt()
    wanted = torch.floor(level + torch.log2(sides / side) + 1e-6)
    lowest, highest = -scales[0].log2(), -scales[-1].log2()
    return (torch.clamp(wanted, lowest, highest) - lowest).long()


def _axis(start: Tensor, end: Tensor, bins: int, samples: int, length: Tensor) -> tuple[Tensor, Tensor]:
    """Return the pixels of one axis that each bin's samples lie between, and their weights, `(R, bins, 2·samples)`.

    A roi shorter than a pixel counts as one pixel long; samples outside of the map weigh nothing.
    """
    bin_length = (end - start).clamp(min=1.0) / bins
    steps = torch.arange(bins * samples).reshape(bins, samples)
    offsets = (steps.remainder(samples) + 0.5) / samples + torch.arange(bins)[:, None]
    where = start[:, None, None] + offsets * bin_length[:, None, None]
    limit = length[:, None, None]
    inside = (where >= -1) & (where <= limit)
    where = where.clamp(min=0)
    low = torch.minimum(where.long(), limit - 1)
    high = torch.minimum(low + 1, limit - 1)
    share = torch.where(low >= limit - 1, 0.0, where - low)
    weights = torch.stack([1 - share, share], dim=-1) * inside[..., None] / samples
    return torch.stack([low, high], dim=-1).flatten(2), weights.flatten(2)
