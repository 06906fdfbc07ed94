"""Which tensors, of which shapes, Detectron2 saves for a config."""

from __future__ import annotations

from collections.abc import Iterator

from detq.models.detectron2.config import Detectron2Config

__all__ = ["expected_shapes"]

Shape = tuple[int, ...]
Named = Iterator[tuple[str, Shape]]

_BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
_PYRAMID = 256


def expected_shapes(config: Detectron2Config) -> dict[str, Shape]:
    """Return the names and shapes of all parameters and buffers that a trained detector depends on, in its order."""
    return dict(_all(config))


def _all(config: Detectron2Config) -> Named:
    for level, channels in zip((2, 3, 4, 5), (256, 512, 1024, 2048), strict=True):
        yield from _layer(f"backbone.fpn_lateral{level}", _PYRAMID, channels, 1)
        yield from _layer(f"backbone.fpn_output{level}", _PYRAMID, _PYRAMID, 3)
    yield from _normed("backbone.bottom_up.stem.conv1", 64, 3, 7)
    for stage, blocks in enumerate(_BLOCKS[config.depth]):
        yield from _stage(f"backbone.bottom_up.res{stage + 2}", blocks, 64 * 2**stage)
    anchors = config.anchors_per_location
    yield from _layer("proposal_generator.rpn_head.conv", _PYRAMID, _PYRAMID, 3)
    yield from _layer("proposal_generator.rpn_head.objectness_logits", anchors, _PYRAMID, 1)
    yield from _layer("proposal_generator.rpn_head.anchor_deltas", 4 * anchors, _PYRAMID, 1)
    yield from _layer("roi_heads.box_head.fc1", config.box_width, _PYRAMID * config.box_pool.size**2)
    yield from _layer("roi_heads.box_head.fc2", config.box_width, config.box_width)
    yield from _layer("roi_heads.box_predictor.cls_score", config.num_classes + 1, config.box_width)
    yield from _layer("roi_heads.box_predictor.bbox_pred", 4 * config.num_classes, config.box_width)
    if config.masks:
        for number in (1, 2, 3, 4):
            yield from _layer(f"roi_heads.mask_head.mask_fcn{number}", _PYRAMID, _PYRAMID, 3)
        yield from _layer("roi_heads.mask_head.deconv", _PYRAMID, _PYRAMID, 2)
        yield from _layer("roi_heads.mask_head.predictor", config.num_classes, _PYRAMID, 1)


def _stage(name: str, blocks: int, width: int) -> Named:
    for block in range(blocks):
        given = 4 * width if block else 64 if width == 64 else 2 * width
        if not block:
            yield from _normed(f"{name}.0.shortcut", 4 * width, given, 1)
        yield from _normed(f"{name}.{block}.conv1", width, given, 1)
        yield from _normed(f"{name}.{block}.conv2", width, width, 3)
        yield from _normed(f"{name}.{block}.conv3", 4 * width, width, 1)


def _layer(name: str, made: int, given: int, kernel: int | None = None) -> Named:
    yield f"{name}.weight", (made, given) if kernel is None else (made, given, kernel, kernel)
    yield f"{name}.bias", (made,)


def _normed(name: str, made: int, given: int, kernel: int) -> Named:
    yield f"{name}.weight", (made, given, kernel, kernel)
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.norm.{part}", (made,)
