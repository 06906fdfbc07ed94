"""What the stages of one image hand on to each other."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

__all__ = ["Frame"]


@dataclass
class Frame:
    """One image on its way through the stages; each stage fills in what later ones read.

    Attributes:
        image: float32 `(3, height, width)` in [0, 1], or uint8 `(height, width, 3)`; RGB.
        original: (height, width) of the image.
        canvas: `(1, 3, H, W)`, resized and padded.
        size: (height, width) of the resized image inside the canvas.
        features: feature maps `(1, channels, h, w)`, finest level first.
        objectness: float32 `(anchors,)`.
        deltas: float32 `(anchors, 4)`.
        proposals: float32 `(R, 4)`, xyxy in pixels of the resized image, best first.
        table: feature vectors of all levels, which boxes were pooled from, or None.
        pooled: `(R, height, width, channels)`, of proposals or of detections.
        place: int64 `(R,)`, which row of `pooled` each proposal or detection has.
        logits: float32 `(R, classes)`.
        regression: float32 `(R, 4 * classes)`.
        boxes: float32 `(N, 4)`; in pixels of the resized image until the last stage.
        scores: float32 `(N,)`, best first.
        labels: int64 `(N,)`, from 1 as torchvision counts.
        masks: float32 `(N, 1, 28, 28)`, probabilities inside the boxes, or None.
    """

    image: Tensor
    original: tuple[int, int]
    canvas: Tensor = field(init=False)
    size: tuple[int, int] = field(init=False)
    features: tuple[Tensor, ...] = field(init=False)
    objectness: Tensor = field(init=False)
    deltas: Tensor = field(init=False)
    proposals: Tensor = field(init=False)
    table: Tensor | None = field(init=False, default=None)
    pooled: Tensor = field(init=False)
    place: Tensor = field(init=False)
    logits: Tensor = field(init=False)
    regression: Tensor = field(init=False)
    boxes: Tensor = field(init=False)
    scores: Tensor = field(init=False)
    labels: Tensor = field(init=False)
    masks: Tensor | None = None
