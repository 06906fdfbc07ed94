"""RoIAlign's arithmetic where each box has its own number of samples: as many as a bin has pixels, rounded up.

Detectron2's choice, and torchvision's with `sampling_ratio` 0 or less. Such samples are a pixel or less apart, so the n
samples of an axis lie between n + 1 pixels. Boxes with equally many go together; each such group has taps of its own
number. The numbers are those of `torchvision.ops.roi_align`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from detq.engine.taps import cross

__all__ = ["adaptive_taps"]

_MANY = 1 << 20


def adaptive_taps(
    boxes: Tensor, first: Tensor, shapes: tuple[Tensor, Tensor], *, bins: tuple[int, int], aligned: bool
) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """Return the boxes' order, int64 `(R,)`, and for each group which rows its bins sum, with which weights.

    Both of a group are `(boxes of the group * bins, taps)`; the groups follow each other in that order.

    Args:
        boxes: float `(R, 4)`, at least one, xyxy, pixels of the box's feature map.
        first: int32 `(R,)`, the row of the table where that map begins; its pixels follow line by line.
        shapes: height and width of that map in pixels, int32 `(R,)` each.
        bins: rows and columns of the output.
        aligned: boxes may be shorter than a pixel; those of no length sum nothing.
    """
    x1, y1, x2, y2 = boxes.unbind(1)
    (heights, widths), (rows, columns) = shapes, bins
    y_count, y_index, y_weight = _axis(y1, y2, heights, rows, aligned=aligned)
    x_count, x_index, x_weight = _axis(x1, x2, widths, columns, aligned=aligned)
    y_index = y_index * widths[:, None, None] + first[:, None, None]
    keys, order = (y_count * _MANY + x_count).sort(stable=True)
    different, counts = torch.unique_consecutive(keys, return_counts=True)
    parts, start = [], 0
    for key, count in zip(different.tolist(), counts.tolist(), strict=True):
        group = order[start : start + count]
        high, wide = key // _MANY + 1, key % _MANY + 1
        parts.append(
            cross(
                (y_index[group, :, :high], y_weight[group, :, :high]),
                (x_index[group, :, :wide], x_weight[group, :, :wide]),
            )
        )
        start += count
    return order, parts


def _axis(start: Tensor, end: Tensor, length: Tensor, bins: int, *, aligned: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return how many samples each bin of a box has along one axis, and the pixels that they lie between.

    The first is int64 `(R,)`, at least 1; the others are indices, int32, and weights, `(R, bins, most + 1)`: of a box
    with n samples the first n + 1, the rest weighs nothing.
    """
    side = end - start if aligned else (end - start).clamp(min=1.0)
    step = side / bins
    wanted = step.ceil().long()
    count, some = wanted.clamp(min=1), (wanted > 0).to(start.dtype)
    most = int(count.max())
    last = (length - 1).to(start.dtype)
    # Every sample of every bin, box after box: a list, because few boxes have many.
    owner = torch.arange(len(start) * bins).repeat_interleave(count.repeat_interleave(bins))
    box, bin_of = owner.div(bins, rounding_mode="floor"), owner.remainder(bins)
    begins = (count * bins).cumsum(0) - count * bins
    number = torch.arange(len(owner)) - begins[box] - bin_of * count[box]
    many = count.to(start.dtype)[box]
    where = start[box] + bin_of * step[box] + (number + 0.5) * step[box] / many
    share = ((where >= -1) & (where <= length[box])).to(where.dtype) * some[box] / many
    where = torch.minimum(where.clamp(min=0), last[box])
    low = where.floor()
    base = low[begins[:, None] + torch.arange(bins) * count[:, None]]
    slot = (low - base.flatten()[owner]).long()
    place = owner * (most + 1)
    weights = torch.zeros(len(start) * bins * (most + 1), dtype=where.dtype)
    weights.index_add_(0, place + slot, (1 - (where - low)) * share)
    weights.index_add_(0, place + (slot + 1).clamp(max=most), (where - low) * share)
    pixels = torch.minimum(base[..., None] + torch.arange(most + 1), last[:, None, None])
    return count, pixels.to(torch.int32), weights.reshape(len(start), bins, most + 1)
