"""Building a zoo detector with the modules that its pretrained form has, from random parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from detq.errors import WeightsError
from detq.targets import resolve

if TYPE_CHECKING:
    from detq.models.zoo import ModelSpec

__all__ = ["build_module", "coco_classes", "config_of", "norm_eps", "set_norm_eps"]


def build_module(spec: ModelSpec, num_classes: int, *, seed: int = 0, config: str | None = None) -> nn.Module:
    """Return `spec`'s torchvision module in eval mode with random parameters, the same for the same seed.

    torchvision puts `FrozenBatchNorm2d` into the backbone only together with pretrained weights; without them it builds
    trainable `BatchNorm2d`. Here the backbone always has what the pretrained form has, so that every source of weights
    gives the same graph. torch's global random state is left as it was.

    Args:
        spec: a model of the zoo.
        num_classes: classes of the predictor, background included.
        seed: of the random parameters.
        config: for Detectron2's models what `config_of` returned; by default that of the model zoo.
    """
    builder = resolve(spec.target)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module: nn.Module
        if spec.config is None:
            module = builder(weights=None, weights_backbone=None, num_classes=num_classes, progress=False)
        else:
            module = builder(config or spec.config, num_classes=num_classes)
    if spec.frozen_norm:
        _freeze_norm(module.get_submodule("backbone"))
    return module.eval()


def config_of(module: nn.Module) -> str | None:
    """Return the Detectron2 config that `module` was built from, as one line of JSON, or None for other detectors."""
    config: str | None = getattr(module, "detectron2_config", None)
    return config


def _freeze_norm(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, FrozenBatchNorm2d(child.num_features, eps=child.eps))
        else:
            _freeze_norm(child)


def norm_eps(module: nn.Module) -> float | None:
    """Return the eps that all `FrozenBatchNorm2d` of `module` share, or None where there are none."""
    found = {child.eps for child in module.modules() if isinstance(child, FrozenBatchNorm2d)}
    if len(found) > 1:
        raise WeightsError(f"expected one eps in all FrozenBatchNorm2d layers, found {sorted(found)}")
    return found.pop() if found else None


def set_norm_eps(module: nn.Module, eps: float) -> None:
    """Set the eps of every `FrozenBatchNorm2d`: torchvision's ResNet-50 COCO detectors were trained with eps 0."""
    for child in module.modules():
        if isinstance(child, FrozenBatchNorm2d):
            child.eps = eps


def coco_classes(spec: ModelSpec) -> tuple[str, ...]:
    """Return the 90 names behind torchvision's COCO labels 1 to 90 (ten of them "N/A"), without "__background__".

    All of its detectors have the same; one without pretrained weights has them too when it was trained on COCO.
    Detectron2's have the 80 names that are names.
    """
    from torchvision.models import get_weight

    from detq.models.zoo import MODELS

    categories: list[str] = get_weight(spec.coco_weights or MODELS[0].coco_weights).meta["categories"]
    return tuple(name for name in categories[1:] if spec.config is None or name != "N/A")
