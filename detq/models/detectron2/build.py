"""Building Detectron2's detectors from torchvision's parts."""

from __future__ import annotations

from typing import Any

from torch import nn
from torchvision.models import resnet
from torchvision.models.detection import FasterRCNN, MaskRCNN
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNPredictor
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from detq.models.detectron2.anchors import Detectron2Anchors
from detq.models.detectron2.config import Detectron2Config
from detq.models.detectron2.detections import Detectron2RoIHeads
from detq.models.detectron2.interpret import zoo_config
from detq.models.detectron2.pool import Detectron2Pool
from detq.models.detectron2.proposals import Detectron2Proposals
from detq.models.detectron2.transform import Detectron2Transform

__all__ = ["build"]

CHANNELS = 256


def build(config: Detectron2Config | str, *, num_classes: int | None = None) -> nn.Module:
    """Return the detector that `config` describes, with random parameters, in training mode.

    Its parameters have the names and shapes of torchvision's `fasterrcnn_resnet50_fpn` or `maskrcnn_resnet50_fpn`, for
    101 layers with more blocks. `config` travels with it as JSON, in the attribute `detectron2_config`.

    Args:
        config: what `Detectron2Config` describes, or its JSON, or a name of `ZOO`.
        num_classes: classes with background; those of `config` by default.
    """
    if isinstance(config, str):
        config = Detectron2Config.from_json(config) if config.startswith("{") else zoo_config(config)
    labels = config.num_classes + 1 if num_classes is None else num_classes
    parts: dict[str, Any] = {
        "rpn_anchor_generator": Detectron2Anchors(config),
        "rpn_head": RPNHead(CHANNELS, config.anchors_per_location),
        "box_roi_pool": Detectron2Pool(config.box_pool),
        "box_head": TwoMLPHead(CHANNELS * config.box_pool.size**2, config.box_width),
        "box_predictor": FastRCNNPredictor(config.box_width, labels),
    }
    module: Any
    if config.masks:
        parts["mask_roi_pool"] = Detectron2Pool(config.mask_pool)
        parts["mask_predictor"] = MaskRCNNPredictor(CHANNELS, CHANNELS, labels)
        module = MaskRCNN(_backbone(config), **parts)
    else:
        module = FasterRCNN(_backbone(config), **parts)
    module.transform = Detectron2Transform(config)
    module.rpn = Detectron2Proposals(module.rpn.anchor_generator, module.rpn.head, config)
    module.roi_heads = Detectron2RoIHeads.around(module.roi_heads, config)
    module.detectron2_config = config.to_json()
    return module  # type: ignore[no-any-return]


def _backbone(config: Detectron2Config) -> nn.Module:
    blocks = [3, 4, {50: 6, 101: 23}[config.depth], 3]
    body = resnet.ResNet(resnet.Bottleneck, blocks, norm_layer=FrozenBatchNorm2d)
    if config.stride_in_1x1:
        for stage in (body.layer2, body.layer3, body.layer4):
            stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    _calm(body)
    names = {f"layer{number + 1}": str(number) for number in range(4)}
    channels = [256, 512, 1024, 2048]
    return BackboneWithFPN(body, names, channels, CHANNELS, extra_blocks=LastLevelMaxPool())  # type: ignore[no-any-return]


def _calm(body: resnet.ResNet) -> None:
    """Make the last norm of each block small, so that random parameters give numbers as large as torchvision's do.

    Frozen norms do not normalize: numbers double from block to block, and grey levels are large to begin with.
    """
    for module in body.modules():
        if isinstance(module, resnet.Bottleneck):
            module.bn3.weight.fill_(0.3)
