"""Small two-stage detectors with random weights that find something: quick to run and to compile."""

from __future__ import annotations

import torch
from torch import nn
from torchvision.models.detection import FasterRCNN, MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.ops import FrozenBatchNorm2d
from torchvision.ops.misc import Conv2dNormActivation


class Body(nn.Sequential):
    """Two steps of a backbone, with the frozen norm that pretrained detectors have."""

    def __init__(self) -> None:
        make = {"norm_layer": FrozenBatchNorm2d, "activation_layer": nn.Hardswish}
        first = nn.Sequential(Conv2dNormActivation(3, 8, 3, 4, **make), Conv2dNormActivation(8, 16, 3, 2, **make))
        second = nn.Sequential(Conv2dNormActivation(16, 16, 3, 1, **make), Conv2dNormActivation(16, 24, 3, 2, **make))
        super().__init__(first, second)


def small_detector(*, masks: bool = False, seed: int = 0, **settings: object) -> nn.Module:
    """Return a Faster or Mask R-CNN with two levels and random weights, three classes, eval mode.

    Args:
        masks: with a mask head.
        seed: of the weights.
        settings: of torchvision's class; images are resized to about 96 pixels by default.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = BackboneWithFPN(Body(), {"0": "0", "1": "1"}, [16, 24], 16)
        anchors = AnchorGenerator(((16, 32),) * 3, ((0.5, 1.0, 2.0),) * 3)
        chosen = {"min_size": 96, "max_size": 160, "rpn_anchor_generator": anchors, "box_score_thresh": 0.2, **settings}
        made = (MaskRCNN if masks else FasterRCNN)(backbone, 3, **chosen)
        for child in made.modules():
            if isinstance(child, FrozenBatchNorm2d):  # as after training: no norm is the identity
                child.weight.uniform_(0.8, 1.2)
                child.running_mean.uniform_(-0.1, 0.1)
    return made.eval()
