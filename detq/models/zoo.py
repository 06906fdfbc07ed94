"""The list of detectors that detq knows, as specs: reading it imports neither torch nor torchvision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from detq.errors import unknown_name

__all__ = ["CHECKPOINT", "DEFAULT_MODEL", "MASK_CHECKPOINT", "MODELS", "PACKAGED_MODELS", "ModelSpec", "find_model"]

DEFAULT_MODEL = "fasterrcnn_mobilenet_v3_large_fpn"
"""What commands take where nothing says which."""

CHECKPOINT = "car_fasterrcnn_mobilenet_v3_large_fpn.safetensors"
"""File name of the packaged car detector, in `detq/models/checkpoints/`."""

MASK_CHECKPOINT = "car_maskrcnn_mobilenet_v3_large_fpn_mask_head.safetensors"
"""File name of the packaged mask head, which was trained on top of that detector and comes with nothing else."""

_DETECTION = "torchvision.models.detection"
_ROI_CLASSES = "roi_heads.box_predictor.cls_score.weight"


@dataclass(frozen=True)
class ModelSpec:
    """One detector.

    Attributes:
        name: what the user types and the first half of a variant's id. It is API.
        target: dotted target of the callable that builds it.
        coco_weights: name of torchvision's pretrained weights, or None where there are none.
        has_masks: it predicts instance masks beside boxes.
        frozen_norm: its backbone's batch norm is `FrozenBatchNorm2d`, as in torchvision's pretrained form.
        checkpoint: file name of the packaged checkpoint that fits it, or None.
        mask_checkpoint: file name of the packaged mask head to be laid over `checkpoint`, or None.
        class_key: the parameter whose first dimension counts the classes, background included.
        rows_per_class: rows of that parameter a class (anchors a location in one-stage heads).
        own: it is a user's own detector, named as `package.module:callable`.
        config: name of the Detectron2 config that it is built from where weights bring none, or None.
    """

    name: str
    target: str
    coco_weights: str | None = None
    has_masks: bool = False
    frozen_norm: bool = True
    checkpoint: str | None = None
    mask_checkpoint: str | None = None
    class_key: str = _ROI_CLASSES
    rows_per_class: int = 1
    own: bool = False
    config: str | None = None

    @property
    def packaged(self) -> bool:
        """Whether a checkpoint for it comes with detq."""
        return self.checkpoint is not None

    @property
    def two_stage(self) -> bool:
        """Whether it has a box head that judges proposals."""
        return self.class_key == _ROI_CLASSES

    @property
    def checkpoints(self) -> tuple[str, ...]:
        """The file names of all that comes with detq for it."""
        return tuple(name for name in (self.checkpoint, self.mask_checkpoint) if name is not None)


def _detectron2(name: str, config: str, *, has_masks: bool = False) -> ModelSpec:
    return ModelSpec(name, "detq.models.detectron2.build:build", has_masks=has_masks, config=config)


MODELS: tuple[ModelSpec, ...] = (
    ModelSpec(
        "fasterrcnn_mobilenet_v3_large_fpn",
        f"{_DETECTION}:fasterrcnn_mobilenet_v3_large_fpn",
        "FasterRCNN_MobileNet_V3_Large_FPN_Weights.COCO_V1",
        checkpoint=CHECKPOINT,
    ),
    ModelSpec(
        "fasterrcnn_mobilenet_v3_large_320_fpn",
        f"{_DETECTION}:fasterrcnn_mobilenet_v3_large_320_fpn",
        "FasterRCNN_MobileNet_V3_Large_320_FPN_Weights.COCO_V1",
        checkpoint=CHECKPOINT,
    ),
    ModelSpec(
        "fasterrcnn_resnet50_fpn",
        f"{_DETECTION}:fasterrcnn_resnet50_fpn",
        "FasterRCNN_ResNet50_FPN_Weights.COCO_V1",
    ),
    ModelSpec(
        "maskrcnn_mobilenet_v3_large_fpn",
        "detq.models.maskrcnn_mobilenet:maskrcnn_mobilenet_v3_large_fpn",
        has_masks=True,
        checkpoint=CHECKPOINT,
        mask_checkpoint=MASK_CHECKPOINT,
    ),
    ModelSpec(
        "maskrcnn_resnet50_fpn",
        f"{_DETECTION}:maskrcnn_resnet50_fpn",
        "MaskRCNN_ResNet50_FPN_Weights.COCO_V1",
        has_masks=True,
    ),
    ModelSpec(
        "maskrcnn_resnet50_fpn_v2",
        f"{_DETECTION}:maskrcnn_resnet50_fpn_v2",
        "MaskRCNN_ResNet50_FPN_V2_Weights.COCO_V1",
        has_masks=True,
        frozen_norm=False,
    ),
    ModelSpec(
        "retinanet_resnet50_fpn",
        f"{_DETECTION}:retinanet_resnet50_fpn",
        "RetinaNet_ResNet50_FPN_Weights.COCO_V1",
        class_key="head.classification_head.cls_logits.weight",
        rows_per_class=9,
    ),
    ModelSpec(
        "ssdlite320_mobilenet_v3_large",
        f"{_DETECTION}:ssdlite320_mobilenet_v3_large",
        "SSDLite320_MobileNet_V3_Large_Weights.COCO_V1",
        frozen_norm=False,
        class_key="head.classification_head.module_list.0.1.weight",
        rows_per_class=6,
    ),
    _detectron2("detectron2_maskrcnn_resnet50_fpn", "mask_rcnn_R_50_FPN_3x", has_masks=True),
    _detectron2("detectron2_maskrcnn_resnet101_fpn", "mask_rcnn_R_101_FPN_3x", has_masks=True),
    _detectron2("detectron2_fasterrcnn_resnet50_fpn", "faster_rcnn_R_50_FPN_3x"),
    _detectron2("detectron2_fasterrcnn_resnet101_fpn", "faster_rcnn_R_101_FPN_3x"),
)

PACKAGED_MODELS = tuple(spec.name for spec in MODELS if spec.packaged)
"""The models that come with weights."""

_BY_NAME: Mapping[str, ModelSpec] = MappingProxyType({spec.name: spec for spec in MODELS})
if len(_BY_NAME) != len(MODELS):
    raise ValueError("two models in MODELS have the same name")


def find_model(name: str) -> ModelSpec:
    """Return the spec of a model of the list, or one made for a user's own `package.module:callable`.

    A user's own detector is any `torch.nn.Module` with torchvision's detection interface: it takes a list of float
    `(3, height, width)` images in [0, 1] and returns a list of `{"boxes", "scores", "labels"}`, and `"masks"` if it has
    an attribute `has_masks = True` or torchvision's mask head. It is imported when it is built, not here.

    Raises:
        UnknownNameError: no such model; the message offers close matches.
    """
    if ":" in name:
        return ModelSpec(name, name, frozen_norm=False, own=True)
    if name not in _BY_NAME:
        raise unknown_name("model", name, _BY_NAME)
    return _BY_NAME[name]
