"""The settings of what lies between the dense stages, and torchvision's glue rebuilt from them without any weights."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from torch import nn
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import MultiScaleRoIAlign

from detq.errors import UnsupportedError

__all__ = ["build_glue", "describe_glue"]

_TRANSFORM = ("min_size", "max_size", "image_mean", "image_std", "size_divisible", "fixed_size")
_RPN = ("nms_thresh", "score_thresh", "min_size")
_ROI = ("score_thresh", "nms_thresh", "detections_per_img")
_POOL = ("featmap_names", "output_size", "sampling_ratio", "canonical_scale", "canonical_level")


def describe_glue(detector: Any) -> dict[str, Any]:
    """Return the settings of a detector's glue, ready for JSON.

    Raises:
        UnsupportedError: a part is of a class of its own, whose code a file cannot bring.
    """
    if config := getattr(detector, "detectron2_config", None):
        return {"kind": "detectron2", "config": config, "masks": bool(detector.roi_heads.has_mask())}
    roi = detector.roi_heads
    plain = {
        "transform": (detector.transform, GeneralizedRCNNTransform),
        "rpn": (detector.rpn, RegionProposalNetwork),
        "rpn.anchor_generator": (detector.rpn.anchor_generator, AnchorGenerator),
        "roi_heads": (roi, RoIHeads),
        "roi_heads.box_roi_pool": (roi.box_roi_pool, MultiScaleRoIAlign),
    }
    if roi.has_mask():
        plain["roi_heads.mask_roi_pool"] = (roi.mask_roi_pool, MultiScaleRoIAlign)
    for name, (part, kind) in plain.items():
        if type(part) is not kind:
            raise UnsupportedError(
                f"--format detq: {name} is a {type(part).__name__}, expected torchvision's {kind.__name__}: an "
                "artifact brings settings, not code"
            )
    return {
        "kind": "torchvision",
        "transform": _read(detector.transform, _TRANSFORM),
        "anchors": _read(detector.rpn.anchor_generator, ("sizes", "aspect_ratios")),
        "rpn": _read(detector.rpn, _RPN)
        | {
            "pre_nms_top_n": int(detector.rpn.pre_nms_top_n()),
            "post_nms_top_n": int(detector.rpn.post_nms_top_n()),
            "box_weights": list(detector.rpn.box_coder.weights),
        },
        "roi_heads": _read(roi, _ROI) | {"box_weights": list(roi.box_coder.weights)},
        "box_roi_pool": _read(roi.box_roi_pool, _POOL),
        "mask_roi_pool": _read(roi.mask_roi_pool, _POOL) if roi.has_mask() else None,
    }


def build_glue(settings: Mapping[str, Any]) -> Any:
    """Return something with the `transform`, `rpn` and `roi_heads` that `describe_glue` described, heads left out.

    Raises:
        KeyError, TypeError, ValueError: these are no such settings.
    """
    if settings["kind"] == "detectron2":
        return _detectron2(settings)
    given = settings["transform"]
    transform = GeneralizedRCNNTransform(
        tuple(given["min_size"]),
        given["max_size"],
        given["image_mean"],
        given["image_std"],
        given["size_divisible"],
        None if given["fixed_size"] is None else tuple(given["fixed_size"]),
    )
    anchors = AnchorGenerator(
        tuple(map(tuple, settings["anchors"]["sizes"])), tuple(map(tuple, settings["anchors"]["aspect_ratios"]))
    )
    return SimpleNamespace(
        transform=transform.eval(), rpn=_rpn(settings["rpn"], anchors), roi_heads=_roi_heads(settings)
    )


def _rpn(given: Mapping[str, Any], anchors: nn.Module) -> nn.Module:
    numbers = {name: {"training": given[name], "testing": given[name]} for name in ("pre_nms_top_n", "post_nms_top_n")}
    training = {"fg_iou_thresh": 0.7, "bg_iou_thresh": 0.3, "batch_size_per_image": 256, "positive_fraction": 0.5}
    rpn: Any = RegionProposalNetwork(anchors, nn.Identity(), nms_thresh=given["nms_thresh"], **training, **numbers)
    rpn.score_thresh, rpn.min_size = given["score_thresh"], given["min_size"]
    rpn.box_coder = BoxCoder(tuple(given["box_weights"]))
    return rpn.eval()  # type: ignore[no-any-return]


def _roi_heads(settings: Mapping[str, Any]) -> nn.Module:
    given, masks = settings["roi_heads"], settings["mask_roi_pool"]
    training = {"fg_iou_thresh": 0.5, "bg_iou_thresh": 0.5, "batch_size_per_image": 512, "positive_fraction": 0.25}
    heads: nn.Module = RoIHeads(
        _pool(settings["box_roi_pool"]),
        None,
        None,
        bbox_reg_weights=tuple(given["box_weights"]),
        mask_roi_pool=None if masks is None else _pool(masks),
        **training,
        **{name: given[name] for name in _ROI},
    )
    return heads.eval()


def _pool(given: Mapping[str, Any]) -> nn.Module:
    pool: nn.Module = MultiScaleRoIAlign(
        given["featmap_names"],
        given["output_size"],
        given["sampling_ratio"],
        canonical_scale=given["canonical_scale"],
        canonical_level=given["canonical_level"],
    )
    return pool


def _detectron2(settings: Mapping[str, Any]) -> Any:
    from detq.models.detectron2.anchors import Detectron2Anchors
    from detq.models.detectron2.config import Detectron2Config
    from detq.models.detectron2.detections import Detectron2RoIHeads
    from detq.models.detectron2.pool import Detectron2Pool
    from detq.models.detectron2.proposals import Detectron2Proposals
    from detq.models.detectron2.transform import Detectron2Transform

    config = Detectron2Config.from_json(settings["config"])
    heads = RoIHeads(
        *(Detectron2Pool(config.box_pool), None, None, 0.5, 0.5, 512, 0.25, None, 0.05, 0.5, 100),
        mask_roi_pool=Detectron2Pool(config.mask_pool) if settings["masks"] else None,
    )
    return SimpleNamespace(
        transform=Detectron2Transform(config).eval(),
        rpn=Detectron2Proposals(Detectron2Anchors(config), nn.Identity(), config).eval(),
        roi_heads=Detectron2RoIHeads.around(heads, config).eval(),
    )


def _read(part: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: _plain(getattr(part, name)) for name in names}


def _plain(value: Any) -> Any:
    return [_plain(one) for one in value] if isinstance(value, tuple | list) else value
