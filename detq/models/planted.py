"""Random parameters that find something: how long heads and masks take depends on how many objects there are.

Random layers answer with numbers of any size, so that a detector finds nothing, or boxes as large as the image. Here
the four answers that boxes are made of are scaled to what trained detectors give, and the detector's own limit decides
how many are found. What is found means nothing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from detq.models.build import build_module
from detq.models.zoo import ModelSpec

__all__ = ["build_planted"]

_SIDE = 256
_OBJECTNESS, _PROPOSAL, _LOGITS, _REGRESSION = 1.0, 0.1, 3.0, 0.1
"""Standard deviations: with the third, scores of the likeliest of a few classes spread between 0 and 1."""


def build_planted(spec: ModelSpec, num_classes: int, *, seed: int, detections: int) -> nn.Module:
    """Return `build_module(spec, num_classes)` that finds at most `detections` objects in an image, and seldom fewer.

    Args:
        spec: a two-stage model of the zoo.
        num_classes: classes of the predictor, background included.
        seed: of the random parameters.
        detections: how many.
    """
    module: Any = build_module(spec, num_classes, seed=seed)
    roi = module.roi_heads
    noise = torch.randn((1, 3, _SIDE, _SIDE), generator=torch.Generator().manual_seed(seed))
    corner = torch.arange(0, _SIDE, 32.0)
    boxes = torch.stack([corner, corner, corner + 24, corner + 48], dim=1).clamp(max=_SIDE)
    with torch.no_grad():
        for part in (module.rpn.head, roi.box_head, roi.box_predictor):
            _without_biases(part)  # beside small features they would decide alone
        features = module.backbone(noise)
        objectness, deltas = module.rpn.head(list(features.values()))
        logits, regression = roi.box_predictor(roi.box_head(roi.box_roi_pool(features, [boxes], [(_SIDE, _SIDE)])))
        _scale(module.rpn.head.cls_logits, torch.cat([one.flatten() for one in objectness]), _OBJECTNESS)
        _scale(module.rpn.head.bbox_pred, torch.cat([one.flatten() for one in deltas]), _PROPOSAL)
        roi.box_predictor.cls_score.bias.sub_(logits.mean(0))  # no class is likelier than others
        _scale(roi.box_predictor.cls_score, logits - logits.mean(0), _LOGITS)
        _scale(roi.box_predictor.bbox_pred, regression, _REGRESSION)
    roi.detections_per_img = detections
    return module  # type: ignore[no-any-return]


def _without_biases(part: nn.Module) -> None:
    for name, parameter in part.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()


def _scale(layer: Any, answers: Tensor, deviation: float) -> None:
    """Scale a layer whose answers are `answers` so that their standard deviation is `deviation`."""
    factor = deviation / float(answers.std())
    layer.weight.mul_(factor)
    layer.bias.mul_(factor)
