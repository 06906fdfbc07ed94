"""RoIAlign over a feature pyramid as one weighted sum of table rows, with a fast backward pass.

On a CPU torchvision's `roi_align` runs in one thread, and its backward pass takes a third of a training step. Each
output bin is a weighted sum of at most 16 feature vectors (2 × 2 samples, each between 4 pixels), which is what
`embedding_bag` computes; it is vectorized over the channels, and its backward pass is deterministic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F  # noqa: N812  # its name in every torch program
from torch import Tensor
from torchvision.ops import MultiScaleRoIAlign

__all__ = ["axis_taps", "pool_rois"]


def axis_taps(start: Tensor, end: Tensor, *, bins: int, samples: int, length: Tensor) -> tuple[Tensor, Tensor]:
    """Return which pixels of one axis the samples of each bin lie between, and with which weights.

    The arithmetic is `roi_align`'s with `aligned=False`.

    Args:
        start: float32 `(R,)`: where each RoI begins, in pixels of its feature map.
        end: the same of its end. RoIs shorter than a pixel count as one pixel long.
        bins: of the output.
        samples: of a bin.
        length: int64 `(R,)`, pixels of the axis.

    Returns:
        int64 and float32, both `(R, bins, 2 * samples)`; the weights of a bin sum to 1, or less where samples are
        outside of the feature map.
    """
    bin_length = (end - start).clamp(min=1.0) / bins
    steps = torch.arange(bins * samples, dtype=start.dtype, device=start.device).reshape(bins, samples)
    offsets = (steps.remainder(samples) + 0.5) / samples + torch.arange(bins, device=start.device)[:, None]
    where = start[:, None, None] + offsets * bin_length[:, None, None]
    limit = length[:, None, None]
    inside = (where >= -1) & (where <= limit)
    where = where.clamp(min=0)
    low = torch.minimum(where.long(), limit - 1)
    high = torch.minimum(low + 1, limit - 1)
    share = torch.where(low >= limit - 1, 0.0, where - low)
    weights = torch.stack([1 - share, share], dim=-1) * inside[..., None] / samples
    return torch.stack([low, high], dim=-1).flatten(2), weights.flatten(2)


def pool_rois(
    pool: MultiScaleRoIAlign, features: Mapping[str, Tensor], boxes: Sequence[Tensor], shapes: Sequence[tuple[int, int]]
) -> Tensor:
    """Return what `pool(features, boxes, shapes)` does, `(R, channels, height, width)`, up to rounding.

    Args:
        pool: torchvision's module, with a fixed `sampling_ratio`.
        features: feature maps `(images, channels, height, width)` by name.
        boxes: for each image `(N, 4)`, xyxy, in pixels of the resized image.
        shapes: (height, width) of each resized image, without padding.
    """
    with torch.autocast(boxes[0].device.type, enabled=False):
        levels = [_wide(features[name]) for name in pool.featmap_names if name in features]
        indices, weights = _taps(pool, levels, boxes, shapes)
        channels = levels[0].shape[1]
        table = torch.cat([level.permute(0, 2, 3, 1).reshape(-1, channels) for level in levels])
        pooled = F.embedding_bag(indices, table, per_sample_weights=weights.to(table.dtype), mode="sum")
    pooled = pooled.to(next(iter(features.values())).dtype)
    height, width = pool.output_size
    return pooled.reshape(-1, height, width, channels).permute(0, 3, 1, 2)


def _taps(
    pool: MultiScaleRoIAlign, levels: Sequence[Tensor], boxes: Sequence[Tensor], shapes: Sequence[tuple[int, int]]
) -> tuple[Tensor, Tensor]:
    """Return rows of the table of all feature vectors and their weights, `(R * bins, 16)` for 2 × 2 samples."""
    rois = _wide(torch.cat(list(boxes)).detach())
    device = rois.device
    image = torch.repeat_interleave(
        torch.arange(len(boxes), device=device), torch.tensor([len(found) for found in boxes], device=device)
    )
    scales = torch.tensor([_scale(level, shapes) for level in levels], device=device)
    chosen = _choose_levels(pool, rois, scales)
    sizes = torch.tensor([level.shape[2:] for level in levels], device=device)
    heights, widths = sizes[chosen].unbind(1)
    rows = torch.tensor([level.shape[0] * level.shape[2] * level.shape[3] for level in levels], device=device)
    first = (rows.cumsum(0) - rows)[chosen] + image * heights * widths
    x1, y1, x2, y2 = (rois * scales[chosen][:, None]).unbind(1)
    bins, samples = pool.output_size, pool.sampling_ratio
    y_index, y_weight = axis_taps(y1, y2, bins=bins[0], samples=samples, length=heights)
    x_index, x_weight = axis_taps(x1, x2, bins=bins[1], samples=samples, length=widths)
    line = first[:, None, None] + y_index * widths[:, None, None]
    indices = line[:, :, None, :, None] + x_index[:, None, :, None, :]
    weights = y_weight[:, :, None, :, None] * x_weight[:, None, :, None, :]
    taps = (2 * samples) ** 2
    return indices.reshape(-1, taps), weights.reshape(-1, taps)


def _wide(x: Tensor) -> Tensor:
    """Return `x` in fp32, or in fp64 if it is: weights and sums in bf16 would be too coarse."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _scale(level: Tensor, shapes: Sequence[tuple[int, int]]) -> float:
    """Return the power of two by which `level` is smaller than the batch."""
    height = max(shape[0] for shape in shapes)
    return float(2.0 ** torch.tensor(level.shape[2] / height).log2().round().item())


def _choose_levels(pool: MultiScaleRoIAlign, rois: Tensor, scales: Tensor) -> Tensor:
    """Return the number of the level for each RoI: equation 1 of the FPN paper, Lin et al. 2017."""
    sides = ((rois[:, 2] - rois[:, 0]) * (rois[:, 3] - rois[:, 1])).sqrt()
    level = torch.floor(pool.canonical_level + torch.log2(sides / pool.canonical_scale) + 1e-6)
    lowest, highest = -scales[0].log2(), -scales[-1].log2()
    return (level.clamp(lowest, highest) - lowest).long()
