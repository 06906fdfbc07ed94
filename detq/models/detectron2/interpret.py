"""From Detectron2's options to what they decide about a detector, refusing by name what is not supported."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from detq.errors import UnsupportedError, unknown_name
from detq.models.detectron2.config import Detectron2Config, Levels, PoolConfig
from detq.models.detectron2.options import ALLOWED, DEFAULTS, IGNORED, ZOO, Options, describe_other

__all__ = ["Computed", "config_from", "zoo_config"]

LEVELS = 5
"""P2 to P6."""


class Computed:
    """Stands for a value that Detectron2 would have Python compute, because a tag of its YAML file says so."""


def zoo_config(name: str) -> Detectron2Config:
    """Return a config of Detectron2's model zoo.

    Raises:
        UnsupportedError: it is one of another kind of detector.
        UnknownNameError: no such config; the message offers close matches.
    """
    if name not in ZOO and (what := describe_other(name)) is not None:
        raise UnsupportedError(f"--config {name}: {what}, {_INSTEAD}")
    if name not in ZOO:
        raise unknown_name("Detectron2 config", name, ZOO)
    return config_from(name, ZOO[name], f"--config {name}")


_INSTEAD = "which detq does not run; it runs Faster and Mask R-CNN with a ResNet-50 or -101 and FPN"


def config_from(name: str, changed: Options, where: str) -> Detectron2Config:
    """Return what `changed` and Detectron2's defaults decide.

    Args:
        name: for reports.
        changed: values of options by their dotted names, lists as tuples.
        where: names the config in messages.

    Raises:
        UnsupportedError: it is another kind of detector, or has options that detq does not know or not support; the
            message names all of them.
    """
    options = {**DEFAULTS, **changed}
    if (what := _architecture(options)) is not None:
        raise UnsupportedError(f"{where}: {what}, {_INSTEAD}")
    computed = sorted(key for key, value in changed.items() if _is_computed(value))
    if computed:
        raise UnsupportedError(
            f"{where}: not readable as plain YAML, because it would have Python compute {', '.join(computed)}; write "
            "the values there"
        )
    unknown = sorted(key for key in changed if key not in DEFAULTS and not _ignored(key))
    if unknown:
        raise UnsupportedError(
            f"{where}: options that detq does not know, so that it cannot follow: {', '.join(unknown)}"
        )
    wrong = [
        f"{key}: {_show(options[key])} (supported: {', '.join(map(_show, allowed))})"
        for key, allowed in ALLOWED.items()
        if not _same(options[key], allowed) and (options["MODEL.MASK_ON"] or not key.startswith("MODEL.ROI_MASK_HEAD."))
    ]
    if wrong:
        raise UnsupportedError(f"{where}: options that detq does not support: {'; '.join(wrong)}")
    return _convert(name, options, where)


def _is_computed(value: Any) -> bool:
    return any(map(_is_computed, value)) if isinstance(value, tuple) else isinstance(value, Computed)


def _ignored(key: str) -> bool:
    return any(key == name or (name.endswith(".") and key.startswith(name)) for name in IGNORED)


def _same(value: Any, allowed: Sequence[Any]) -> bool:
    # True == 1 in Python, and neither may stand for the other in a config.
    return any(value == other and isinstance(value, bool) == isinstance(other, bool) for other in allowed)


def _show(value: Any) -> str:
    return str(list(value)) if isinstance(value, tuple) else repr(value)


def _architecture(options: Options) -> str | None:
    """Return what kind of detector it is and which option says so, or None for one that detq may run."""
    name = options["MODEL.META_ARCHITECTURE"]
    if name != "GeneralizedRCNN":
        known = {"RetinaNet": "a RetinaNet", "PanopticFPN": "a panoptic FPN"}
        return f"{known.get(name, f'a {name}')} (MODEL.META_ARCHITECTURE)"
    if options["MODEL.KEYPOINT_ON"]:
        return "a keypoint R-CNN (MODEL.KEYPOINT_ON)"
    if options["MODEL.ROI_HEADS.NAME"] == "CascadeROIHeads":
        return "a cascade R-CNN (MODEL.ROI_HEADS.NAME)"
    if options["MODEL.BACKBONE.NAME"] != "build_resnet_backbone":
        return None
    if options["MODEL.RESNETS.RES5_DILATION"] != 1 or options["MODEL.ROI_HEADS.IN_FEATURES"] == ("res5",):
        return "an R-CNN with a DC5 (dilated) backbone (MODEL.BACKBONE.NAME)"
    return "an R-CNN with a C4 backbone, which a config without _BASE_ means (MODEL.BACKBONE.NAME)"


Check = Callable[[Any], Any]


def _convert(name: str, options: Options, where: str) -> Detectron2Config:
    found: dict[str, Any] = {}
    for field, (key, check) in _FIELDS.items():
        try:
            found[field] = check(options[key])
        except (TypeError, ValueError) as error:
            raise UnsupportedError(f"{where}: {key}: expected {error}, found {_show(options[key])}") from None
    sizes, ratios = found["anchor_sizes"], found["anchor_ratios"]
    if len({len(a) * len(b) for a, b in zip(sizes, ratios, strict=True)}) > 1:
        raise UnsupportedError(f"{where}: MODEL.ANCHOR_GENERATOR.SIZES: expected as many anchors on every level")
    return Detectron2Config(
        name=name,
        rpn_pre_nms=(found.pop("rpn_pre_nms_train"), found.pop("rpn_pre_nms_test")),
        rpn_post_nms=(found.pop("rpn_post_nms_train"), found.pop("rpn_post_nms_test")),
        box_pool=_pool("BOX", options, found),
        mask_pool=_pool("MASK", options, found),
        **found,
    )


def _pool(head: str, options: Options, found: dict[str, Any]) -> PoolConfig:
    lower = head.lower()
    aligned = options[f"MODEL.ROI_{head}_HEAD.POOLER_TYPE"] == "ROIAlignV2"
    return PoolConfig(found.pop(f"{lower}_size"), found.pop(f"{lower}_sampling"), aligned)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("true or false")
    return value


def _text(value: Any) -> str:
    return str(value)


def _count(least: int) -> Check:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"a whole number from {least}")
        return value

    return check


def _number(least: float = -math.inf, most: float = math.inf) -> Check:
    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise ValueError(f"a number from {least:g} to {most:g}")
        return float(value)

    return check


_SHARE = _number(0, 1)
_POSITIVE = _number(1e-6, 1e6)


def _vector(length: int, check: Check) -> Check:
    def convert(value: Any) -> tuple[float, ...]:
        if not isinstance(value, tuple) or len(value) != length:
            raise ValueError(f"a list of {length} numbers")
        return tuple(check(item) for item in value)

    return convert


def _only(value: Any) -> float:
    return _vector(1, _SHARE)(value)[0]  # type: ignore[no-any-return]


def _levels(value: Any) -> Levels:
    """Return a list for each level; one list, or numbers alone, stand for every level."""
    if not isinstance(value, tuple) or not value:
        raise TypeError("a list of lists")
    rows = value if isinstance(value[0], tuple) else (value,)
    rows = rows * LEVELS if len(rows) == 1 else rows
    if len(rows) != LEVELS or not all(isinstance(row, tuple) and row for row in rows):
        raise ValueError(f"one list, or {LEVELS} of them")
    return tuple(tuple(_POSITIVE(item) for item in row) for row in rows)


_FIELDS: Mapping[str, tuple[str, Check]] = {
    "masks": ("MODEL.MASK_ON", _flag),
    "depth": ("MODEL.RESNETS.DEPTH", _count(1)),
    "stride_in_1x1": ("MODEL.RESNETS.STRIDE_IN_1X1", _flag),
    "num_classes": ("MODEL.ROI_HEADS.NUM_CLASSES", _count(1)),
    "input_format": ("INPUT.FORMAT", _text),
    "pixel_mean": ("MODEL.PIXEL_MEAN", _vector(3, _number())),
    "pixel_std": ("MODEL.PIXEL_STD", _vector(3, _POSITIVE)),
    "min_size": ("INPUT.MIN_SIZE_TEST", _count(0)),
    "max_size": ("INPUT.MAX_SIZE_TEST", _count(1)),
    "anchor_sizes": ("MODEL.ANCHOR_GENERATOR.SIZES", _levels),
    "anchor_ratios": ("MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS", _levels),
    "anchor_offset": ("MODEL.ANCHOR_GENERATOR.OFFSET", _SHARE),
    "rpn_reg_weights": ("MODEL.RPN.BBOX_REG_WEIGHTS", _vector(4, _POSITIVE)),
    "rpn_pre_nms_train": ("MODEL.RPN.PRE_NMS_TOPK_TRAIN", _count(1)),
    "rpn_pre_nms_test": ("MODEL.RPN.PRE_NMS_TOPK_TEST", _count(1)),
    "rpn_post_nms_train": ("MODEL.RPN.POST_NMS_TOPK_TRAIN", _count(1)),
    "rpn_post_nms_test": ("MODEL.RPN.POST_NMS_TOPK_TEST", _count(1)),
    "rpn_nms": ("MODEL.RPN.NMS_THRESH", _SHARE),
    "rpn_min_size": ("MODEL.PROPOSAL_GENERATOR.MIN_SIZE", _number(0)),
    "rpn_iou": ("MODEL.RPN.IOU_THRESHOLDS", _vector(2, _SHARE)),
    "rpn_batch": ("MODEL.RPN.BATCH_SIZE_PER_IMAGE", _count(1)),
    "rpn_positive": ("MODEL.RPN.POSITIVE_FRACTION", _SHARE),
    "roi_iou": ("MODEL.ROI_HEADS.IOU_THRESHOLDS", _only),
    "roi_batch": ("MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", _count(1)),
    "roi_positive": ("MODEL.ROI_HEADS.POSITIVE_FRACTION", _SHARE),
    "box_reg_weights": ("MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS", _vector(4, _POSITIVE)),
    "box_size": ("MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION", _count(1)),
    "box_sampling": ("MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO", _count(0)),
    "box_width": ("MODEL.ROI_BOX_HEAD.FC_DIM", _count(1)),
    "mask_size": ("MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION", _count(1)),
    "mask_sampling": ("MODEL.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO", _count(0)),
    "score": ("MODEL.ROI_HEADS.SCORE_THRESH_TEST", _SHARE),
    "nms": ("MODEL.ROI_HEADS.NMS_THRESH_TEST", _SHARE),
    "detections": ("TEST.DETECTIONS_PER_IMAGE", _count(-1)),
}
