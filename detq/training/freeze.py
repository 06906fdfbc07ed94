"""Training a part of a detector while the rest stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from detq.errors import DetqError
from detq.training.config import TrainConfig

__all__ = ["describe_freeze", "freeze"]

_TRAINED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "backbone": ("rpn.", "roi_heads.", "head."),
        "all-but-heads": ("roi_heads.", "head."),
        "all-but-mask": ("roi_heads.mask_head.", "roi_heads.mask_predictor."),
    }
)
"""What `--freeze` leaves to be trained, as beginnings of parameters' names in torchvision's detectors."""


def freeze(module: nn.Module, config: TrainConfig) -> None:
    """Leave only those parameters trainable that `config.freeze` does not freeze, and stop the others' batch norms.

    A frozen part gives the same answers after the training as before, to the bit. Call it after `module.train()`, which
    would let the batch norms update their statistics again.

    Raises:
        DetqError: nothing would be left to train.
    """
    if config.freeze is None:
        return
    wanted = _TRAINED[config.freeze]
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name.startswith(wanted))
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise DetqError(
            f"--freeze {config.freeze}: nothing of {config.model} would be left to train, because it has no "
            f"{' or '.join(part.rstrip('.') for part in wanted)}; leave --freeze out or choose another --model"
        )
    for name, child in module.named_modules():
        if isinstance(child, _BatchNorm) and not f"{name}.".startswith(wanted):
            child.eval()


def describe_freeze(config: TrainConfig) -> str:
    """Return which layers are trained, for the model card."""
    if config.freeze is None:
        return "all layers trained"
    return f"only {', '.join(part.rstrip('.') for part in _TRAINED[config.freeze])} trained (--freeze {config.freeze})"
