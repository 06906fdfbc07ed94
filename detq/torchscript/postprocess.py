"""What Detectron2's exports leave to the caller: resizing before, scaling and pasting after."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # its name in every torch program
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from detq.masks import Masks, PastedMasks
from detq.models.detectron2.masks import Detectron2Masks
from detq.models.detectron2.transform import shortest_edge
from detq.torchscript.conventions import Fields
from detq.types import Detections

__all__ = ["resize_shortest_edge", "to_original_frame"]


def resize_shortest_edge(image: NDArray[np.uint8], size: int, max_size: int) -> NDArray[np.uint8]:
    """Return `image` as Detectron2's `ResizeShortestEdge` does: the short side `size`, the long one at most `max_size`.

    Pillow's bilinear filter on uint8, which averages where it shrinks. A side has at least one pixel, however long and
    thin the image is.

    Args:
        image: uint8 `(height, width, 3)`, in any order of channels.
        size: of the short side in pixels; 0 leaves the image as it is.
        max_size: most of the long side in pixels.
    """
    height, width = (max(side, 1) for side in shortest_edge(image.shape[0], image.shape[1], size, max_size))
    if (height, width) == image.shape[:2]:
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def to_original_frame(fields: Fields, resized: tuple[int, int], original: tuple[int, int]) -> Detections:
    """Return detections in pixels of the original image, clipped to it, best score first.

    Those that are empty there, and those of a network that has no number for them, drop out.

    Args:
        fields: of a Detectron2 export, on any device: boxes in pixels of the resized image, labels from 0, masks
            `(N, 1, M, M)` in [0, 1], or of the resized image's size.
        resized: (height, width) of what the module was given, where the fields do not say otherwise.
        original: (height, width) of the image.
    """
    frame = fields.get("image_size")
    height, width = resized if frame is None or (frame <= 0).any() else (int(frame[0]), int(frame[1]))
    scale = np.asarray([original[1] / width, original[0] / height] * 2, np.float32)
    limit = np.asarray([original[1], original[0]] * 2, np.float32)
    boxes = np.clip(fields["boxes"].float().cpu().numpy() * scale, 0, limit)
    scores, labels = fields["scores"].float().cpu().numpy(), fields["labels"].cpu().numpy()
    # A number that is none compares as False.
    kept = np.flatnonzero((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]) & (scores >= 0))
    kept = kept[np.argsort(-scores[kept], kind="stable")]
    masks = _masks(fields["masks"], boxes, original)[kept] if "masks" in fields else None
    return Detections(boxes[kept], scores[kept], labels[kept], masks, image_size=original)


def _masks(values: Tensor, boxes: NDArray[np.float32], original: tuple[int, int]) -> Masks:
    values = values.float().cpu()
    if values.ndim == 4 and values.shape[2] == values.shape[3]:
        return Detectron2Masks(values[:, 0].numpy(), boxes, original)
    # A mask of the resized image; its threshold has been applied, so that there is nothing to interpolate.
    whole = values[:, None] if values.ndim == 3 else values
    stretched = F.interpolate(whole, size=original, mode="nearest") if len(whole) else torch.zeros(0, 1, *original)
    return PastedMasks(stretched[:, 0].numpy())
