"""RoIAlign over a feature pyramid as one weighted sum of table rows, with a fast backward pass.

On a CPU torchvision's `roi_align` runs in one thread, and its backward pass takes a third of a training step. Each
output bin is a weighted sum of feature vectors (`detq.engine.taps` says which), which is what `embedding_bag` computes;
it is vectorized over the channels, and its backward pass is deterministic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F  # noqa: N812  # its name in every torch program
from torch import Tensor
from torchvision.ops import MultiScaleRoIAlign

from detq.engine.taps import choose_levels, taps

__all__ = ["pool_rois"]


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
    chosen = choose_levels(rois, scales, (pool.canonical_level, pool.canonical_scale))
    sizes = torch.tensor([level.shape[2:] for level in levels], device=device)
    heights, widths = sizes[chosen].unbind(1)
    rows = torch.tensor([level.shape[0] * level.shape[2] * level.shape[3] for level in levels], device=device)
    first = (rows.cumsum(0) - rows)[chosen] + image * heights * widths
    boxes_there = rois * scales[chosen][:, None]
    return taps(boxes_there, first, (heights, widths), bins=tuple(pool.output_size), samples=pool.sampling_ratio)


def _wide(x: Tensor) -> Tensor:
    """Return `x` in fp32, or in fp64 if it is: weights and sums in bf16 would be too coarse."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _scale(level: Tensor, shapes: Sequence[tuple[int, int]]) -> float:
    """Return the power of two by which `level` is smaller than the batch."""
    height = max(shape[0] for shape in shapes)
    return float(2.0 ** torch.tensor(level.shape[2] / height).log2().round().item())
