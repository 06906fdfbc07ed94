"""Masks of Detectron2's mask heads: pasted as Detectron2 does, at the centres of pixels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detq.masks import Crop, InstanceMasks

__all__ = ["Detectron2Masks"]


class Detectron2Masks(InstanceMasks):
    """A small square of probabilities beside each box, stretched over it by Detectron2's rule, not torchvision's.

    torchvision rounds boxes to whole pixels first. Detectron2 asks for every pixel's centre where in the mask it lies
    (`torch.nn.functional.grid_sample`, zeros around the mask), and takes 0.5 and more.
    """

    def __getitem__(self, keep: NDArray[Any] | slice) -> Detectron2Masks:
        return Detectron2Masks(self.probabilities[keep], self.boxes[keep], self.size)

    def crops(self) -> Iterator[Crop]:
        """Yield each mask where its box and one pixel around it lie in the image."""
        import torch
        import torch.nn.functional as F  # noqa: N812  # its name in every torch program

        masks, boxes = torch.from_numpy(self.probabilities.copy()), torch.from_numpy(self.boxes.copy())
        for mask, box in zip(masks, boxes, strict=True):
            x1, y1, x2, y2 = box.tolist()
            left, right = _span(x1, x2, self.size[1])
            top, bottom = _span(y1, y2, self.size[0])
            if left >= right or top >= bottom:
                yield Crop(0, 0, np.zeros((0, 0), np.bool_))
                continue
            x = (torch.arange(left, right, dtype=torch.float32) + 0.5 - box[0]) / (box[2] - box[0]) * 2 - 1
            y = (torch.arange(top, bottom, dtype=torch.float32) + 0.5 - box[1]) / (box[3] - box[1]) * 2 - 1
            grid = torch.stack([x[None, :].expand(len(y), -1), y[:, None].expand(-1, len(x))], dim=2)
            values = F.grid_sample(mask[None, None], grid[None], align_corners=False)[0, 0]
            yield Crop(top, left, (values >= 0.5).numpy())

    def full(self) -> NDArray[np.bool_]:
        """Return them at the image's size, bool `(N, height, width)`."""
        return super(InstanceMasks, self).full()


def _span(start: float, end: float, length: int) -> tuple[int, int]:
    """Return the first pixel of a box and the one behind its last, with one more on both sides."""
    first = int(min(max(np.floor(start) - 1, 0), length))
    return first, int(min(max(np.ceil(end) + 1, first), length))
