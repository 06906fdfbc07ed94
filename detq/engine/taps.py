"""RoIAlign's arithmetic: which pixels of a feature map each output bin sums, and with which weights.

The samples of a bin lie between pixels, so a bin is a weighted sum of feature vectors: of 16 with 2 × 2 samples, or of
9 where the samples are so close that they share pixels, which holds for all but large boxes. He et al., "Mask R-CNN",
2017, section 3; the numbers are those of `torchvision.ops.roi_align`.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["choose_levels", "close_samples", "cross", "taps"]


def choose_levels(boxes: Tensor, scales: Tensor, canonical: tuple[int, int]) -> Tensor:
    """Return the index of the level for each box, int64 `(R,)`: equation 1 of the FPN paper, Lin et al. 2017.

    Args:
        boxes: float `(R, 4)`, xyxy, pixels of the resized image.
        scales: float32 `(levels,)`, pixels of the level a pixel of the image.
        canonical: level and side in pixels.
    """
    level, side = canonical
    sides = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sqrt()
    wanted = torch.floor(level + torch.log2(sides / side) + 1e-6)
    lowest, highest = -scales[0].log2(), -scales[-1].log2()
    return (torch.clamp(wanted, lowest, highest) - lowest).long()


def close_samples(boxes: Tensor, bins: tuple[int, int], samples: int) -> Tensor:
    """Return for each box whether the samples of each of its bins lie within `samples - 1` pixels, bool `(R,)`.

    Args:
        boxes: float `(R, 4)`, xyxy, pixels of the box's feature map.
        bins: rows and columns of the output.
        samples: of a bin, in each direction.
    """
    limits = boxes.new_tensor([bins[1], bins[0]]) * samples * (1 - 1e-5)  # rounding must not lose a pixel
    return ((boxes[:, 2:] - boxes[:, :2]) <= limits).all(1)


def taps(
    boxes: Tensor,
    first: Tensor,
    shapes: tuple[Tensor, Tensor],
    *,
    bins: tuple[int, int],
    samples: int,
    close: bool = False,
    aligned: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return which rows of a table of pixels each bin sums, and with which weights: both `(R * bins, taps)`.

    Args:
        boxes: float `(R, 4)`, xyxy, pixels of the box's feature map.
        first: int32 `(R,)`, the row of the table where that map begins; its pixels follow line by line.
        shapes: height and width of that map in pixels, int32 `(R,)` each.
        bins: rows and columns of the output.
        samples: of a bin, in each direction.
        close: `close_samples` holds for every box: `(samples + 1)²` taps do instead of `(2 * samples)²`.
        aligned: boxes may be shorter than a pixel.
    """
    x1, y1, x2, y2 = boxes.unbind(1)
    (heights, widths), (rows, columns) = shapes, bins
    least = 0.0 if aligned else 1.0  # a roi shorter than a pixel counts as one pixel long unless it is aligned
    y_index, y_weight = _axis(y1, (y2 - y1).clamp(min=least) / rows, heights, rows, samples, close=close)
    x_index, x_weight = _axis(x1, (x2 - x1).clamp(min=least) / columns, widths, columns, samples, close=close)
    y_index = y_index * widths[:, None, None] + first[:, None, None]
    return cross((y_index, y_weight), (x_index, x_weight))


def cross(y: tuple[Tensor, Tensor], x: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Return rows of the table and weights of every bin, both `(R * bins, taps)`, from those of its two axes.

    Args:
        y: rows of the table where lines begin, and their weights, `(R, rows, m)` each.
        x: columns and their weights, `(R, columns, n)` each; a bin has m * n taps.
    """
    (y_index, y_weight), (x_index, x_weight) = y, x
    high, wide = y_index.shape[2], x_index.shape[2]
    # Both axes spread over all taps of a bin first: sums over a long last dimension are vectorized.
    indices = _inner(y_index, wide)[:, :, None] + _outer(x_index, high)[:, None]
    weights = _inner(y_weight, wide)[:, :, None] * _outer(x_weight, high)[:, None]
    return indices.reshape(-1, high * wide), weights.reshape(-1, high * wide)


def _inner(axis: Tensor, times: int) -> Tensor:
    """Repeat each of `(R, bins, n)`: `(R, bins, n * times)`."""
    return axis[..., None].expand(*axis.shape, times).flatten(2)


def _outer(axis: Tensor, times: int) -> Tensor:
    """Repeat all n of `(R, bins, n)`: `(R, bins, times * n)`."""
    return axis[:, :, None].expand(*axis.shape[:2], times, axis.shape[2]).flatten(2)


def _axis(
    start: Tensor, bin_length: Tensor, length: Tensor, bins: int, samples: int, *, close: bool
) -> tuple[Tensor, Tensor]:
    """Return the pixels of one axis that the samples of each bin lie between, and their weights, `(R, bins, n)`.

    Samples outside of the map weigh nothing. Samples that are close share one window of pixels; others have a window of
    two each.
    """
    # Boxes are the last dimension here: arithmetic along a short one is several times slower.
    steps = torch.arange(bins * samples, dtype=start.dtype, device=start.device).reshape(bins, samples, 1)
    offsets = (steps.remainder(samples) + 0.5) / samples + torch.arange(bins, device=start.device)[:, None, None]
    where = start + offsets * bin_length
    inside = ((where >= -1) & (where <= length)).to(where.dtype) / samples
    last = (length - 1).to(where.dtype)
    where = torch.minimum(where.clamp(min=0), last)
    # (bins, windows, samples of a window, R)
    where, inside = (part[:, None] if close else part[:, :, None] for part in (where, inside))
    width = samples + 1 if close else 2
    pixels = where[:, :, :1].floor() + torch.arange(width, dtype=where.dtype, device=where.device)[:, None]
    near = (1 - (where[:, :, None] - pixels[:, :, :, None]).abs()).clamp(min=0)
    weights = (near * inside[:, :, None]).sum(3)
    pixels = torch.minimum(pixels, last).to(torch.int32)
    return pixels.flatten(1, 2).permute(2, 0, 1), weights.flatten(1, 2).permute(2, 0, 1)
