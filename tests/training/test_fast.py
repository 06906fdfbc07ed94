"""The faster training step computes what the plain one does."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from detq.models.build import build_module
from detq.models.zoo import find_model
from detq.training.fast import accelerated, convolution_norm_pairs


def _with_real_norms(name):
    """A detector whose frozen norms are no identities."""
    module = build_module(find_model(name), 2, seed=1).train()
    generator = torch.Generator().manual_seed(2)
    for part in module.modules():
        if isinstance(part, FrozenBatchNorm2d):
            for buffer in (part.weight, part.bias, part.running_mean):
                buffer.copy_(buffer + 0.2 * torch.randn(buffer.shape, generator=generator))
            part.running_var.copy_(0.5 + torch.rand(part.running_var.shape, generator=generator))
    if module.transform.fixed_size is None:
        module.transform.min_size = (96,)
    return module.double()


def _step(module):
    """Losses and gradients on two images, the second without objects."""
    torch.manual_seed(3)
    images = [torch.rand(3, 96, 128).double(), torch.rand(3, 96, 96).double()]
    targets = [
        {"boxes": torch.tensor([[10.0, 10, 60, 70], [40, 20, 90, 50]]).double(), "labels": torch.tensor([1, 1])},
        {"boxes": torch.zeros(0, 4).double(), "labels": torch.zeros(0, dtype=torch.int64)},
    ]
    for target in targets:
        target["masks"] = torch.zeros(len(target["boxes"]), *images[0].shape[1:], dtype=torch.uint8)
    losses = module(images, targets)
    module.zero_grad()
    sum(losses.values()).backward()
    gradients = {name: value.grad.clone() for name, value in module.named_parameters() if value.grad is not None}
    return {name: value.item() for name, value in losses.items()}, gradients


@pytest.mark.parametrize(
    "name", ["fasterrcnn_mobilenet_v3_large_320_fpn", "retinanet_resnet50_fpn", "ssdlite320_mobilenet_v3_large"]
)
def test_losses_and_gradients_are_those_of_the_plain_step(name):
    """For every parameter. In fp64, where rounding flips no ReLU and no choice of proposals."""
    module = _with_real_norms(name)
    plain_losses, plain = _step(module)
    with accelerated(module, channels_last=True):
        fast_losses, fast = _step(module)
    assert fast_losses == pytest.approx(plain_losses, rel=1e-5)
    assert fast.keys() == plain.keys()
    for key, gradient in plain.items():
        # RoI pooling's weights are fp32, as the proposals are in torchvision.
        assert (fast[key] - gradient).norm() <= 1e-4 * gradient.norm() + 1e-9, key


def _fail(condition):
    assert condition
    raise RuntimeError("on purpose")


def test_everything_is_taken_back_at_the_end():
    """The module has its own methods and memory layout again, also after an error."""
    module = build_module(find_model("fasterrcnn_mobilenet_v3_large_320_fpn"), 2)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(RuntimeError, match="on purpose"), accelerated(module, channels_last=True):
        _fail(module.state_dict().keys() == before.keys())
    assert not any("forward" in vars(part) for part in module.modules())
    for name, value in module.state_dict().items():
        assert value.is_contiguous(), name
        assert torch.equal(value, before[name])


def test_every_frozen_norm_of_the_zoo_is_found():
    """A norm that is missed costs time; torchvision's next release may arrange its blocks differently."""
    for name in ("fasterrcnn_mobilenet_v3_large_fpn", "fasterrcnn_resnet50_fpn"):
        module = build_module(find_model(name), 2)
        norms = [part for part in module.modules() if isinstance(part, FrozenBatchNorm2d)]
        # ResNet's four shortcuts are a Sequential of convolution and norm, and count as well.
        assert len(convolution_norm_pairs(module)) == len(norms)


def test_neighbours_of_other_kinds_are_left_alone():
    """A trainable norm, or a norm without a convolution before it, stays."""
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), FrozenBatchNorm2d(4))
    assert convolution_norm_pairs(module) == []
