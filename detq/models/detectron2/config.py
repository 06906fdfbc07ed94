"""What a Detectron2 config decides about a detector, as a value that travels with its weights."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, get_type_hints

from detq.errors import WeightsError

__all__ = ["Detectron2Config", "PoolConfig"]

Levels = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class PoolConfig:
    """RoIAlign of one head.

    Attributes:
        size: bins of a side.
        sampling_ratio: samples of a bin's side; 0 for as many as pixels, rounded up.
        aligned: shift by half a pixel, "ROIAlignV2".
    """

    size: int
    sampling_ratio: int = 0
    aligned: bool = True


@dataclass(frozen=True)
class Detectron2Config:
    """A Faster or Mask R-CNN with ResNet and FPN. The defaults are those of Detectron2's `Base-RCNN-FPN.yaml`.

    Attributes:
        name: of the config, for reports.
        masks: it has a mask head.
        depth: 50 or 101.
        stride_in_1x1: a block's stride is in its first convolution, else in the 3×3 one.
        num_classes: without background.
        input_format: "BGR" or "RGB".
        pixel_mean: of each channel of `input_format`, in grey levels.
        pixel_std: the same of the standard deviation.
        min_size: pixels of an image's short side, 0 to leave images as they are.
        max_size: most pixels of the long side.
        anchor_sizes: square roots of areas in pixels, for each of the levels P2 to P6.
        anchor_ratios: height / width, for each level.
        anchor_offset: of the first anchor's centre, in strides.
        rpn_reg_weights: of dx, dy, dw, dh.
        rpn_pre_nms: proposals of a level before non-maximum suppression, in training and testing.
        rpn_post_nms: proposals of all levels after it, in training and testing.
        rpn_nms: IoU.
        rpn_min_size: proposals of this many pixels or less are dropped.
        rpn_iou: below the first an anchor is background in training, from the second on an object.
        rpn_batch: anchors of an image that the RPN learns from.
        rpn_positive: most of them that are objects, as a share.
        roi_iou: from here on a proposal is an object in training.
        roi_batch: proposals of an image that the heads learn from.
        roi_positive: most of them that are objects, as a share.
        box_reg_weights: of dx, dy, dw, dh.
        box_pool: RoIAlign of the box head.
        box_width: of its two linear layers.
        mask_pool: RoIAlign of the mask head.
        score: detections have more.
        nms: IoU.
        detections: most of an image.
    """

    name: str = "faster_rcnn_R_50_FPN_3x"
    masks: bool = False
    depth: int = 50
    stride_in_1x1: bool = True
    num_classes: int = 80
    input_format: str = "BGR"
    pixel_mean: tuple[float, ...] = (103.53, 116.28, 123.675)
    pixel_std: tuple[float, ...] = (1.0, 1.0, 1.0)
    min_size: int = 800
    max_size: int = 1333
    anchor_sizes: Levels = ((32.0,), (64.0,), (128.0,), (256.0,), (512.0,))
    anchor_ratios: Levels = ((0.5, 1.0, 2.0),) * 5
    anchor_offset: float = 0.0
    rpn_reg_weights: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    rpn_pre_nms: tuple[int, int] = (2000, 1000)
    rpn_post_nms: tuple[int, int] = (1000, 1000)
    rpn_nms: float = 0.7
    rpn_min_size: float = 0.0
    rpn_iou: tuple[float, float] = (0.3, 0.7)
    rpn_batch: int = 256
    rpn_positive: float = 0.5
    roi_iou: float = 0.5
    roi_batch: int = 512
    roi_positive: float = 0.25
    box_reg_weights: tuple[float, ...] = (10.0, 10.0, 5.0, 5.0)
    box_pool: PoolConfig = PoolConfig(7)
    box_width: int = 1024
    mask_pool: PoolConfig = PoolConfig(14)
    score: float = 0.05
    nms: float = 0.5
    detections: int = 100

    @property
    def anchors_per_location(self) -> int:
        """Anchors of one place of a level, the same for all levels."""
        return len(self.anchor_sizes[0]) * len(self.anchor_ratios[0])

    @property
    def model(self) -> str:
        """The name in the zoo of the detector that it describes."""
        return f"detectron2_{'mask' if self.masks else 'faster'}rcnn_resnet{self.depth}_fpn"

    def to_json(self) -> str:
        """Return it as one line of JSON, which `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Detectron2Config:
        """Return what `to_json` wrote.

        Raises:
            WeightsError: it is something else.
        """
        try:
            content: dict[str, Any] = json.loads(text)
            hints = get_type_hints(cls)
            return cls(**{field.name: _restored(content[field.name], hints[field.name]) for field in fields(cls)})
        except (TypeError, ValueError, KeyError) as error:
            raise WeightsError(
                f"the Detectron2 config in the weights' metadata is not what detq writes ({error}); import the "
                "checkpoint again with detq import-detectron2"
            ) from None


def _restored(value: Any, hint: Any) -> Any:
    if hint is PoolConfig:
        return PoolConfig(**value)
    if isinstance(value, list):
        return tuple(tuple(item) if isinstance(item, list) else item for item in value)
    if not isinstance(value, hint):
        raise TypeError(f"expected {hint.__name__}, found {value!r}")
    return value
