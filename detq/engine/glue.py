"""What lies between the dense stages: resizing, anchors, filtering and mask selection, by torchvision's own code.

The glue depends on the data, so it does not compile well. It calls torchvision's methods, so a detector that overrides
one (another filter, another resize) keeps its own behaviour. A transform may bring, as Detectron2's does, `of_pixels`
(bytes to the network's image), `paste` (small masks into the image) and `small_masks` (the class of those not pasted).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  # its name in every torch program
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from detq.engine.frame import Frame
from detq.engine.proposing import choose_proposals, is_known
from detq.masks import InstanceMasks, Masks
from detq.tensors import as_float

__all__ = ["Canvases", "Paste", "Postprocess", "Proposals", "Transform", "choose_masks", "own_resize"]


def own_resize(transform: nn.Module) -> bool:
    """Return whether a detector resizes in a way of its own, so that `uint8` pixels cannot be resized for it."""
    return type(transform) is not GeneralizedRCNNTransform


class Transform:
    """Image to canvas.

    In `float` it is torchvision's own: normalize, resize, pad. In `uint8` the bytes are resized and padded with the
    mean colour, and the backbone normalizes them: rounding to whole levels costs less precision than bf16 has.
    """

    def __init__(self, transform: Any, *, pixels: bool) -> None:
        self.transform = transform
        self.pixels = pixels
        self.canvases = Canvases(transform.size_divisible)
        if pixels:  # a transform of another kind, such as Detectron2's, may count its mean in other units
            self.fill = torch.tensor([round(255 * mean) for mean in transform.image_mean], dtype=torch.uint8)

    def __call__(self, frame: Frame) -> None:
        """Set `canvas` and `size`."""
        if self.pixels:
            self._resize_bytes(frame)
            return
        made, frame.size = self._resize_numbers(frame.image)
        height, width = self.canvases.fit(*frame.size)
        grown = (0, width - made.shape[3], 0, height - made.shape[2])
        frame.canvas = F.pad(made, grown) if any(grown) else made

    def _resize_numbers(self, image: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Return `(1, 3, H, W)`, normalized and maybe padded, and (height, width) without padding."""
        of_pixels = getattr(self.transform, "of_pixels", None)
        if of_pixels is not None and not image.is_floating_point():
            made = of_pixels(image)[None]
            return made, (made.shape[2], made.shape[3])
        found, _ = self.transform([image if image.is_floating_point() else as_float(image)])
        return found.tensors, (int(found.image_sizes[0][0]), int(found.image_sizes[0][1]))

    def _resize_bytes(self, frame: Frame) -> None:
        height, width = frame.original
        size = self.resized(height, width)
        image = frame.image if not frame.image.is_floating_point() else _as_bytes(frame.image)
        if size != (height, width):
            pixels = image[None].permute(0, 3, 1, 2)  # in this order torch sees that channels come last: twice as fast
            pixels = F.interpolate(pixels, size=size, mode="bilinear", align_corners=False)
            image = pixels.permute(0, 2, 3, 1)[0]
        frame.canvas, frame.size = self._padded(image), size

    def _padded(self, image: Tensor) -> Tensor:
        """Return the canvas, uint8 `(1, 3, H, W)`, for an image `(height, width, 3)`; lines are copied whole."""
        height, width = image.shape[:2]
        high, wide = self.canvases.fit(height, width)
        filling, canvas = self.fill.repeat(wide), torch.empty((high, 3 * wide), dtype=torch.uint8)
        canvas[:height, : 3 * width] = image.reshape(height, 3 * width)
        canvas[height:] = filling
        canvas[:height, 3 * width :] = filling[: 3 * (wide - width)]
        return canvas.view(1, high, wide, 3).permute(0, 3, 1, 2)

    def expect(self, image: Tensor) -> None:
        """Keep the exact canvas of images of this size.

        Args:
            image: uint8 `(height, width, 3)`.
        """
        if self.pixels:
            size = self.resized(int(image.shape[0]), int(image.shape[1]))
        else:
            _, size = self._resize_numbers(image)
        self.canvases.expect(*size)

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """Return (height, width) of an image once it is resized, by torchvision's rule."""
        rule: Any = self.transform
        if rule.fixed_size is not None:
            return int(rule.fixed_size[1]), int(rule.fixed_size[0])
        scale = min(rule.min_size[-1] / min(height, width), rule.max_size / max(height, width))
        return math.floor(height * scale), math.floor(width * scale)


def _as_bytes(image: Tensor) -> Tensor:
    return (image * 255).round_().clamp_(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous()


class Proposals:
    """Objectness and deltas to the proposals that the box head sees.

    Anchors depend on shapes alone, so they are kept from one image to the next.
    """

    def __init__(self, rpn: Any, limit: int | None, overlap: float | None) -> None:
        self.rpn = without_children(rpn, "head")
        if overlap is not None:
            self.rpn.nms_thresh = overlap
        self.limit, self.quick = limit, is_known(rpn)
        self._anchors: dict[Any, tuple[Tensor, list[int]]] = {}

    def __call__(self, frame: Frame) -> None:
        """Set `proposals`."""
        anchors, counts = self._anchors_for(frame)
        if self.quick:
            found = choose_proposals(self.rpn, frame.objectness, frame.deltas, (anchors, counts), frame.size)
        else:
            boxes = self.rpn.box_coder.decode(frame.deltas, [anchors]).view(1, -1, 4)
            (found,), _ = self.rpn.filter_proposals(boxes, frame.objectness[:, None], [frame.size], counts)
        frame.proposals = found if self.limit is None else found[: self.limit]

    def _anchors_for(self, frame: Frame) -> tuple[Tensor, list[int]]:
        shapes = tuple(tuple(feature.shape[2:]) for feature in frame.features)
        key = tuple(frame.canvas.shape[2:]), frame.size, shapes
        if key not in self._anchors:
            if len(self._anchors) >= 32:  # images of many sizes must not fill the memory
                self._anchors.clear()
            features = [torch.zeros((1, 1, *shape)) for shape in shapes]
            (anchors,) = self.rpn.anchor_generator(ImageList(frame.canvas, [frame.size]), features)
            per_cell = self.rpn.anchor_generator.num_anchors_per_location()
            self._anchors[key] = anchors, [n * h * w for n, (h, w) in zip(per_cell, shapes, strict=True)]
        return self._anchors[key]


def without_children(module: Any, *names: str) -> Any:
    """Return a shallow copy of a module that has not these children, so that it does not keep their weights alive."""
    lighter = copy.copy(module)
    lighter._modules = {name: child for name, child in module.named_children() if name not in names}  # noqa: SLF001
    return lighter


class Postprocess:
    """Class logits and box regression to detections in the resized image."""

    def __init__(self, roi_heads: Any) -> None:
        self.roi_heads = without_children(roi_heads, *(name for name, _ in roi_heads.named_children()))

    def __call__(self, frame: Frame) -> None:
        """Set `boxes`, `scores` and `labels`."""
        if not len(frame.proposals):
            frame.boxes, frame.scores = torch.zeros((0, 4)), torch.zeros(0)
            frame.labels = torch.zeros(0, dtype=torch.int64)
            return
        found = self.roi_heads.postprocess_detections(frame.logits, frame.regression, [frame.proposals], [frame.size])
        (frame.boxes,), (frame.scores,), (frame.labels,) = found


class Paste:
    """Boxes to the original image's pixels; masks stay small probabilities inside their boxes."""

    def __init__(self, transform: Any) -> None:
        self.transform = transform

    def __call__(self, frame: Frame) -> None:
        """Scale `boxes`; a detector whose own rule drops some loses their scores, labels and masks too."""
        given = {"boxes": frame.boxes, "scores": frame.scores, "labels": frame.labels}
        kept = torch.arange(len(frame.boxes))
        (found,) = self.transform.postprocess([given | {"kept": kept}], [frame.size], [frame.original])
        frame.boxes, frame.scores, frame.labels = found["boxes"], found["scores"], found["labels"]
        if frame.masks is not None:
            frame.masks = frame.masks[found["kept"]]

    def pasted(self, masks: Tensor, frame: Frame) -> Tensor:
        """Return the masks of a frame at the original image's size, `(N, 1, height, width)`, by its own rule."""
        paste = getattr(self.transform, "paste", paste_masks_in_image)
        found: Tensor = paste(masks, frame.boxes, frame.original)
        return found

    def small(self, masks: Tensor, frame: Frame) -> Masks:
        """Return the masks of a frame as they are, to be pasted when somebody asks."""
        kind: type[InstanceMasks] = getattr(self.transform, "small_masks", InstanceMasks)
        return kind(masks[:, 0].numpy(), frame.boxes.numpy(), frame.original)


class Canvases:
    """The canvas sizes that images are padded to: few, so that few are compiled.

    The first image's is exact, as torchvision's would be (a camera has one size). Later ones that differ are rounded up
    to a multiple of 64: squeeze-and-excite averages over the padding, so a canvas is never much larger than its image.

    Attributes:
        least: pixels of any canvas on either side.
    """

    def __init__(self, step: int = 32, coarse: int = 64) -> None:
        self.step, self.coarse, self.least = step, coarse, step
        self._known: set[tuple[int, int]] = set()

    @property
    def known(self) -> tuple[tuple[int, int], ...]:
        """(height, width) of the canvases met so far, sorted."""
        return tuple(sorted(self._known))

    def keep(self, canvases: Iterable[tuple[int, int]]) -> None:
        """Take these canvases as met before."""
        self._known.update(canvases)

    def expect(self, height: int, width: int) -> None:
        """Give resized images of this size their exact canvas."""
        self._known.add(self._up(height, width, self.step))

    def fit(self, height: int, width: int) -> tuple[int, int]:
        """Return (height, width) of the canvas for a resized image."""
        exact = self._up(height, width, self.step)
        if exact in self._known or not self._known:
            self._known.add(exact)
            return exact
        coarse = self._up(height, width, self.coarse)
        self._known.add(coarse)
        return coarse

    def _up(self, height: int, width: int, step: int) -> tuple[int, int]:
        return max(self.least, step * math.ceil(height / step)), max(self.least, step * math.ceil(width / step))


def choose_masks(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the probabilities `(N, 1, 28, 28)` of each detection's own class from logits `(N, classes, 28, 28)`.

    They are those of torchvision's `maskrcnn_inference`, which computes the other classes' too.
    """
    return logits[torch.arange(len(labels)), labels, None].sigmoid()
