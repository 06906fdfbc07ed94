"""AdamW with weight decay where it belongs."""

from __future__ import annotations

from torch import nn
from torch.nn import Parameter
from torch.optim import AdamW

__all__ = ["make_optimizer", "split_decayed"]


def split_decayed(module: nn.Module) -> tuple[list[Parameter], list[Parameter]]:
    """Return the trainable parameters with decay (weights of two dimensions or more) and without (norms and biases)."""
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return [p for p in trainable if p.ndim > 1], [p for p in trainable if p.ndim <= 1]


def make_optimizer(module: nn.Module, *, learning_rate: float, weight_decay: float) -> AdamW:
    """Return AdamW over `module`'s trainable parameters."""
    decayed, others = split_decayed(module)
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return AdamW([group for group in groups if group["params"]], lr=learning_rate, fused=True)
