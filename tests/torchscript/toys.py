"""Small detectors that follow, input and output, what Detectron2's two ways of exporting make of a Mask R-CNN.

They find the bright cells of a grid, so that what they find follows from pixels: order of channels, grey levels and
resizing all show.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["STEP", "Delicate", "Finder", "Scripted", "ScriptedList", "Traced", "TracedBoxes"]

STEP = 16


class Finder(nn.Module):
    """The network: boxes, classes, scores and 28 × 28 probabilities of one image, in the image's own frame."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(1 / 255))
        self.head = nn.Linear(2, 2)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        cells = image[:, 8::16, 8::16] * self.gain
        where = torch.nonzero(cells[0] > 0.5)
        corner = where.flip(1).to(torch.float32) * 16.0
        boxes = torch.cat([corner - 4.0, corner + 20.0], dim=1)
        scores = cells[0, where[:, 0], where[:, 1]]
        classes = (cells[2, where[:, 0], where[:, 1]] > 0.5).to(torch.int64)
        ramp = torch.linspace(0, 1, 28, dtype=torch.float32, device=image.device)
        masks = ramp[None, None, None, :].expand(boxes.shape[0], 1, 28, 28) + self.head(corner).sum() * 0.0
        return boxes, classes, masks, scores


class Scripted(nn.Module):
    """As `ScriptableAdapter` of Detectron2's export_model.py: a one-element tuple of dicts in, fields out."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Finder()

    def forward(self, inputs: tuple[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
        boxes, classes, masks, scores = self.model(inputs[0]["image"])
        return [{"pred_boxes": boxes, "scores": scores, "pred_classes": classes, "pred_masks": masks}]


class ScriptedList(nn.Module):
    """The same with a list, and without masks: a Faster R-CNN."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Finder()

    def forward(self, inputs: list[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
        boxes, classes, _, scores = self.model(inputs[0]["image"])
        return [{"pred_boxes": boxes, "scores": scores, "pred_classes": classes}]


class Traced(nn.Module):
    """As `TracingAdapter` makes it: the bare image in; fields sorted by name and the image's size out."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Finder()

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        boxes, classes, masks, scores = self.model(image)
        return boxes, classes, masks, scores, _size(image)


class TracedBoxes(Traced):
    """A Faster R-CNN has no masks."""

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        boxes, classes, _, scores = self.model(image)
        return boxes, classes, scores, _size(image)


class Delicate(Traced):
    """Keeps a cell that is not of class 1 by a weight so small beside the other that int8 has none."""

    def __init__(self) -> None:
        super().__init__()
        self.keep = nn.Linear(2, 1, bias=False)
        self.keep.weight.data = torch.tensor([[1.0, 0.001]])

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        boxes, classes, masks, scores = self.model(image)
        kept = self.keep(torch.stack([classes, torch.ones_like(classes)], dim=1).to(torch.float32))[:, 0] > 0
        return boxes[kept], classes[kept], masks[kept], scores[kept], _size(image)


def _size(image: Tensor) -> Tensor:
    # Detectron2 keeps the size as a tensor while tracing, so that it is not baked in.
    return torch._shape_as_tensor(image)[1:]
