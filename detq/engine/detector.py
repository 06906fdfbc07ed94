"""A detector as a sequence of named stages, each on the engine and in the precision that its plan says."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.roi_heads import paste_masks_in_image

from detq.engine.frame import Frame
from detq.engine.glue import Paste, Postprocess, Proposals, Transform, choose_masks
from detq.engine.pool import ROWS, RoiPool
from detq.quantization.plan import Plan

__all__ = ["Dense", "StagedDetector"]

Dense = Callable[..., Any]
"""A dense stage ready to run: the modules of `detq.engine.dense`, or what was compiled from them."""

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "int8": torch.bfloat16}


class StagedDetector(nn.Module):
    """A Faster or Mask R-CNN, stage by stage, one image at a time. It takes and returns what torchvision's does.

    Attributes:
        plan: what runs where.
        notes: what the plan lost on this CPU, in sentences.
        steps: the stages in order, by name; each takes a `Frame` and fills in its part.
    """

    def __init__(
        self,
        detector: nn.Module,
        plan: Plan,
        dense: Mapping[str, Dense],
        names: tuple[str, ...],
        *,
        pixels: bool,
        notes: tuple[str, ...] = (),
    ) -> None:
        """Put the stages together.

        Args:
            detector: torchvision's, for its glue; its layers are not kept.
            plan: see `Plan`.
            dense: by stage name.
            names: of the feature maps.
            pixels: the backbone takes uint8 canvases.
            notes: sentences on what the plan lost on this CPU.
        """
        super().__init__()
        self.plan, self.notes = plan, notes
        roi = detector.roi_heads
        self._dense = dict(dense)
        self._box_pool = RoiPool(roi.box_roi_pool, names, _DTYPES[plan.box_pool.precision])
        self._mask_pool = None
        if "mask_head" in dense:
            self._mask_pool = RoiPool(roi.mask_roi_pool, names, _DTYPES[plan.mask_pool.precision])
        self.steps: dict[str, Callable[[Frame], None]] = {
            "transform": Transform(detector.transform, pixels=pixels),
            "backbone": self._backbone,
            "rpn_head": self._rpn_head,
            "proposals": Proposals(detector.rpn, plan.proposals),
            "box_pool": self._pool_boxes,
            "box_head": self._box_head,
            "postprocess": Postprocess(roi),
        }
        if self._mask_pool is not None:
            self.steps |= {"mask_pool": self._pool_masks, "mask_head": self._mask_head}
        self.steps["paste"] = Paste(detector.transform)

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        """Return what torchvision's detector does in eval mode, for float `(3, height, width)` images in [0, 1].

        Each image is handled by itself; torchvision pads the images of a batch to one size.
        """
        return [self._full(self.run(image)) for image in images]

    def run(self, image: Tensor, clock: dict[str, float] | None = None) -> Frame:
        """Return the frame of one image after its last stage.

        Args:
            image: float32 `(3, height, width)` in [0, 1], or uint8 `(height, width, 3)`; RGB.
            clock: gets the milliseconds of each stage, by name.
        """
        shape = image.shape[1:] if image.is_floating_point() else image.shape[:2]
        frame = Frame(image, (int(shape[0]), int(shape[1])))
        if clock is None:
            for step in self.steps.values():
                step(frame)
            return frame
        for name, step in self.steps.items():
            start = time.perf_counter_ns()
            step(frame)
            clock[name] = (time.perf_counter_ns() - start) / 1e6
        return frame

    @staticmethod
    def _full(frame: Frame) -> dict[str, Tensor]:
        found = {"boxes": frame.boxes, "labels": frame.labels, "scores": frame.scores}
        if frame.masks is not None:
            found["masks"] = paste_masks_in_image(frame.masks, frame.boxes, frame.original)
        return found

    def _backbone(self, frame: Frame) -> None:
        frame.features = self._dense["backbone"](frame.canvas)

    def _rpn_head(self, frame: Frame) -> None:
        frame.objectness, frame.deltas = self._dense["rpn_head"](*frame.features)

    def _pool_boxes(self, frame: Frame) -> None:
        frame.pooled = self._box_pool(frame.features, _padded(frame.proposals), frame.size)

    def _box_head(self, frame: Frame) -> None:
        count = len(frame.proposals)
        if count:
            logits, regression = self._dense["box_head"](frame.pooled)
            frame.logits, frame.regression = logits[:count], regression[:count]

    def _pool_masks(self, frame: Frame) -> None:
        if self._mask_pool is not None:
            frame.pooled = self._mask_pool(frame.features, _padded(frame.boxes), frame.size)

    def _mask_head(self, frame: Frame) -> None:
        count = len(frame.boxes)
        if not count:
            frame.masks = torch.zeros((0, 1, 28, 28))
            return
        frame.masks = choose_masks(self._dense["mask_head"](frame.pooled)[:count], frame.labels)


def _padded(boxes: Tensor) -> Tensor:
    """Return `boxes` with empty ones behind, up to a multiple of `ROWS`: later stages then meet few shapes."""
    return torch.nn.functional.pad(boxes, (0, 0, 0, -len(boxes) % ROWS))
