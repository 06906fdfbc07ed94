"""A detector as a sequence of named stages, each on the engine and in the precision that its plan says."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from detq.engine.compiled import PerShape
from detq.engine.frame import Frame
from detq.engine.glue import Canvases, Paste, Postprocess, Proposals, Transform, choose_masks
from detq.engine.pool import ROWS, RoiPool
from detq.engine.work import PREFIXES
from detq.quantization.plan import Plan
from detq.quantization.work import LayerWork, count_calls
from detq.tensors import as_pixels

__all__ = ["LEAST_BLOCKS", "Dense", "StagedDetector"]

Dense = Callable[..., Any]
"""A dense stage ready to run: the modules of `detq.engine.dense`, or what was compiled from them."""

LEAST_BLOCKS = 2
"""Of 32 pixels on each side that an int8 backbone takes: a graph for any size cannot be one of maps with one row."""

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "int8": torch.bfloat16}


class StagedDetector(nn.Module):
    """A Faster or Mask R-CNN, stage by stage, one image at a time. It takes and returns what torchvision's does.

    Attributes:
        plan: what runs where.
        notes: what the plan lost on this CPU, in sentences.
        names: of the feature maps.
        pixels: the backbone takes uint8 canvases.
        graphs: what compiled stages were compiled from.
        steps: the stages in order, by name; each takes a `Frame` and fills in its part.
    """

    def __init__(
        self,
        detector: Any,
        plan: Plan,
        dense: Mapping[str, Dense],
        names: tuple[str, ...],
        *,
        pixels: bool,
        notes: tuple[str, ...] = (),
        graphs: Any = None,
    ) -> None:
        """Put the stages together.

        Args:
            detector: torchvision's, for its glue; its layers are not kept.
            plan: see `Plan`.
            dense: by stage name.
            names: of the feature maps.
            pixels: the backbone takes uint8 canvases.
            notes: sentences on what the plan lost on this CPU.
            graphs: what `dense` was compiled from, for who exports it: a `detq.engine.packages.Graphs`.
        """
        super().__init__()
        self.plan, self.notes, self.names, self.pixels, self.graphs = plan, notes, names, pixels, graphs
        roi = detector.roi_heads
        self._dense = dict(dense)
        self._ready: set[tuple[int, ...]] = set()
        self._box_pool = RoiPool(roi.box_roi_pool, names, _DTYPES[plan.box_pool.precision])
        self._mask_pool = None
        if "mask_head" in dense:
            self._mask_pool = RoiPool(roi.mask_roi_pool, names, _DTYPES[plan.mask_pool.precision])
        self.steps: dict[str, Callable[[Frame], None]] = {
            "transform": Transform(detector.transform, pixels=pixels),
            "backbone": self._backbone,
            "rpn_head": self._rpn_head,
            "proposals": Proposals(detector.rpn, plan.proposals, plan.overlap),
            "box_pool": self._pool_boxes,
            "box_head": self._box_head,
            "postprocess": Postprocess(roi),
        }
        if self._mask_pool is not None:
            self.steps |= {"mask_pool": self._pool_masks, "mask_head": self._mask_head}
        if plan.rule("backbone").precision == "int8":
            self.canvases.least = 32 * LEAST_BLOCKS
        self._paste = self.steps["paste"] = Paste(detector.transform)

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

    def from_pixels(self, image: NDArray[np.uint8]) -> dict[str, Any]:
        """Return the detections in one image: tensors, and masks as `detq.masks.Masks`, not pasted yet.

        Args:
            image: uint8 `(height, width, 3)`, RGB.
        """
        frame = self.run(as_pixels(image))
        found: dict[str, Any] = {"boxes": frame.boxes, "labels": frame.labels, "scores": frame.scores}
        return found if frame.masks is None else found | {"masks": self._paste.small(frame.masks, frame)}

    def prepare(self, image: NDArray[np.uint8]) -> None:
        """Get ready for images of this size: what has to be compiled for it is compiled now.

        Args:
            image: uint8 `(height, width, 3)`, RGB.
        """
        shape = image.shape[:2]
        if shape not in self._ready:
            with torch.inference_mode():
                frame = self.run(as_pixels(image))
                self._visit(frame)
            self._ready.add(shape)

    def expect(self, height: int, width: int) -> None:
        """Get ready for images of this size, whose canvas is not rounded up to steps of 64 pixels."""
        transform: Any = self.steps["transform"]
        blank = np.full((height, width, 3), 114, np.uint8)
        transform.expect(as_pixels(blank))
        self.prepare(blank)

    def _visit(self, frame: Frame) -> None:
        """Run the heads that an image without objects has not reached."""
        box = torch.tensor([[0.0, 0.0, 32.0, 32.0]])
        if not len(frame.proposals):
            frame.proposals = box
            self._pool_boxes(frame)
            self._box_head(frame)
        if self._mask_pool is not None and not len(frame.boxes):
            frame.boxes, frame.labels = box, torch.ones(1, dtype=torch.int64)
            self._pool_masks(frame)
            self._mask_head(frame)

    @property
    def canvases(self) -> Canvases:
        """The canvas sizes met so far."""
        transform: Any = self.steps["transform"]
        return transform.canvases  # type: ignore[no-any-return]

    @property
    def dense(self) -> Mapping[str, Dense]:
        """The dense stages by name."""
        return self._dense

    def count_work(self, image: Tensor) -> list[LayerWork]:
        """Run on one image, float32 `(3, height, width)` in [0, 1], and return the work of every layer."""
        eager = {
            f"{PREFIXES[stage]}.{path}": child
            for stage, dense in self._dense.items()
            if isinstance(dense, nn.Module)
            for path, child in dense.named_modules()
        }
        frames: list[Frame] = []
        with torch.inference_mode():
            found = count_calls(eager, lambda: frames.append(self.run(image)))
        counts = {"box_head": len(frames[0].proposals), "mask_head": len(frames[0].boxes)}
        rows = {stage: _rows(count, stage) for stage, count in counts.items()}
        for stage, dense in self._dense.items():
            if isinstance(dense, PerShape) and dense.current is not None:
                found += dense.current.work.work(stage, rows.get(stage, 1))
        return found

    def count_weight_bytes(self) -> int:
        """Return the bytes of all weights and other constants of the dense stages, for one image size."""
        total = 0
        for dense in self._dense.values():
            if isinstance(dense, PerShape):
                total += dense.current.work.weight_bytes if dense.current else 0
            elif isinstance(dense, nn.Module):
                total += sum(one.nbytes for one in (*dense.parameters(), *dense.buffers()))
        return total

    def _full(self, frame: Frame) -> dict[str, Tensor]:
        found = {"boxes": frame.boxes, "labels": frame.labels, "scores": frame.scores}
        return found if frame.masks is None else found | {"masks": self._paste.pasted(frame.masks, frame)}

    def _backbone(self, frame: Frame) -> None:
        frame.features = self._dense["backbone"](frame.canvas)

    def _rpn_head(self, frame: Frame) -> None:
        frame.objectness, frame.deltas = self._dense["rpn_head"](*frame.features)

    def _pool_boxes(self, frame: Frame) -> None:
        frame.table = self._box_pool.table(frame.features)
        boxes = _padded(frame.proposals, "box_head")
        frame.pooled, frame.place = self._box_pool(frame.features, boxes, frame.size, frame.table)

    def _box_head(self, frame: Frame) -> None:
        count = len(frame.proposals)
        if count:
            logits, regression = self._dense["box_head"](frame.pooled)
            place = frame.place[:count]
            frame.logits, frame.regression = logits[place], regression[place]

    def _pool_masks(self, frame: Frame) -> None:
        if self._mask_pool is not None:
            table = frame.table if self._mask_pool.shares(self._box_pool) else None
            boxes = _padded(frame.boxes, "mask_head")
            frame.pooled, frame.place = self._mask_pool(frame.features, boxes, frame.size, table)

    def _mask_head(self, frame: Frame) -> None:
        count = len(frame.boxes)
        if not count:
            frame.masks = torch.zeros((0, 1, 28, 28))
            return
        place = frame.place[:count]
        labels = torch.zeros(len(frame.pooled), dtype=torch.int64)
        labels[place] = frame.labels
        frame.masks = choose_masks(self._dense["mask_head"](frame.pooled), labels)[place]


def _padded(boxes: Tensor, stage: str) -> Tensor:
    """Return `boxes` with empty ones behind, up to a multiple of the stage's `ROWS`."""
    return torch.nn.functional.pad(boxes, (0, 0, 0, _rows(len(boxes), stage) - len(boxes)))


def _rows(count: int, stage: str) -> int:
    return ROWS[stage] * math.ceil(count / ROWS[stage])
