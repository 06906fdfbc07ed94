"""Building detectors: what "fp32" means."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlparse

import pytest
import torch
from torch import nn
from torchvision.models import get_weight
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.backbone_utils import mobilenet_backbone, resnet_fpn_backbone
from torchvision.ops import FrozenBatchNorm2d

from detq.models.build import build_module, norm_eps
from detq.models.weights import load_model, parse_weights
from detq.models.zoo import MODELS, find_model


def _offer_as_torchvisions(spec, module: nn.Module, home: Path) -> Path:
    """Put `module`'s parameters where torchvision's hub code looks before it downloads."""
    folder = home / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    path = folder / Path(urlparse(get_weight(spec.coco_weights).url).path).name
    torch.save(module.state_dict(), path)
    return path


@pytest.mark.parametrize("spec", [spec for spec in MODELS if spec.coco_weights], ids=lambda spec: spec.name)
def test_a_model_has_the_modules_that_torchvision_gives_it_with_its_own_weights(spec, tmp_path, monkeypatch):
    """Every source of weights gives the same graph: FrozenBatchNorm2d in the backbone, whatever torchvision does."""
    ours = build_module(spec, 91)
    offered = _offer_as_torchvisions(spec, ours, tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    theirs = load_model(spec, parse_weights("coco", spec))
    offered.unlink()  # pytest keeps folders of several runs, and these are large
    # torchvision sets eps to 0 for ResNet-50 weights that were trained before FrozenBatchNorm2d had one.
    assert norm_eps(theirs.module) == (0.0 if "resnet50" in spec.name and spec.frozen_norm else norm_eps(ours))
    assert str(ours) == str(theirs.module).replace("eps=0.0)", "eps=1e-05)")
    assert all(torch.equal(value, theirs.module.state_dict()[key]) for key, value in ours.state_dict().items())
    assert theirs.classes[2] == "car"
    assert len(theirs.classes) == 90
    assert theirs.meaningful
    assert not any(child.training for child in theirs.module.modules())


def test_the_frozen_backbones_are_those_of_torchvisions_backbone_builders():
    """torchvision's public backbone builders put FrozenBatchNorm2d in without weights: an independent oracle."""
    resnet = build_module(find_model("fasterrcnn_resnet50_fpn"), 2)
    mobilenet = build_module(find_model("fasterrcnn_mobilenet_v3_large_fpn"), 2)
    assert str(resnet.backbone) == str(resnet_fpn_backbone(backbone_name="resnet50", weights=None))
    assert str(mobilenet.backbone) == str(
        mobilenet_backbone(backbone_name="mobilenet_v3_large", weights=None, fpn=True)
    )


def test_the_mobilenet_mask_rcnn_is_torchvisions_with_the_car_detectors_boxes():
    """The car detector's state dict fits it but for the mask head, and so do its anchors, levels and thresholds."""
    boxes = build_module(find_model("fasterrcnn_mobilenet_v3_large_fpn"), 2)
    masks = build_module(find_model("maskrcnn_mobilenet_v3_large_fpn"), 2)
    assert isinstance(masks, MaskRCNN)
    missing, unexpected = masks.load_state_dict(boxes.state_dict(), strict=False)
    assert unexpected == []
    assert {key.split(".")[1] for key in missing} == {"mask_head", "mask_predictor"}
    assert sum(masks.state_dict()[key].numel() for key in missing) * 2 <= 8_000_000  # bytes in fp16
    assert masks.rpn.score_thresh == boxes.rpn.score_thresh == 0.05
    assert str(masks.rpn) == str(boxes.rpn)
    image = [torch.rand(3, 120, 160, generator=torch.Generator().manual_seed(0))]
    with torch.inference_mode():
        (found,), (expected,) = masks(image), boxes(image)
    assert len(found["boxes"])
    assert all(torch.equal(found[key], value) for key, value in expected.items())
    assert found["masks"].shape == (len(found["boxes"]), 1, 120, 160)


def test_ssdlite_keeps_its_batch_norm():
    """Its pretrained form has plain BatchNorm2d, in eval mode."""
    module = build_module(find_model("ssdlite320_mobilenet_v3_large"), 2)
    kinds = {type(child) for child in module.modules()}
    assert nn.BatchNorm2d in kinds
    assert FrozenBatchNorm2d not in kinds
    assert norm_eps(module) is None


def test_a_seed_gives_the_same_parameters_and_leaves_torchs_random_state_alone():
    """Random weights are for timing, which must be repeatable, in a process that may be doing something random."""
    spec = find_model("ssdlite320_mobilenet_v3_large")
    before = torch.random.get_rng_state()
    first, again, other = (build_module(spec, 2, seed=seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)
