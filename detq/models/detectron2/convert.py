"""From the tensors of a Detectron2 checkpoint to a detq model, or all the reasons why they do not fit its config."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from detq.errors import WeightsError
from detq.models.detectron2.anchors import Detectron2Anchors
from detq.models.detectron2.build import build
from detq.models.detectron2.config import Detectron2Config
from detq.models.detectron2.names import PARTS, part_of, to_torchvision
from detq.models.detectron2.shapes import expected_shapes

__all__ = ["convert", "fit_classes"]

_CLASSES = "roi_heads.box_predictor.cls_score.weight"
_BLOCK = re.compile(r"^(.*\bres\d\.)(\d+)(\..*)$")
_CONSTANTS = re.compile(r"^(pixel_(mean|std)|proposal_generator\.anchor_generator\.cell_anchors\.\d+)$")


def fit_classes(config: Detectron2Config, tensors: Mapping[str, Tensor]) -> Detectron2Config:
    """Return `config` with as many classes as the checkpoint's predictor has, if it has one."""
    rows = tensors[_CLASSES].shape[0] if _CLASSES in tensors and tensors[_CLASSES].ndim else 0
    return replace(config, num_classes=rows - 1) if rows > 1 else config


def convert(path: Path, tensors: Mapping[str, Tensor], config: Detectron2Config) -> nn.Module:
    """Return the detector of `config` with the parameters of a checkpoint, in eval mode.

    Args:
        path: of the checkpoint, for messages.
        tensors: by Detectron2's names.
        config: see `Detectron2Config`.

    Raises:
        WeightsError: tensors are missing, not in the model, of another shape or not finite, or contradict the config;
            the message names all of them by part.
    """
    given = {
        name: value
        for name, value in tensors.items()
        if not _CONSTANTS.match(name) and not name.endswith(".num_batches_tracked")
    }
    expected = expected_shapes(config)
    problems = [*_differences(given, expected), *_not_finite(given), *_contradictions(tensors, config)]
    if problems:
        raise WeightsError(
            f"{path}: {_hint(given, config)}expected the {len(expected)} tensors of {config.name} with "
            f"{config.num_classes} class{'es' * (config.num_classes > 1)}, found {'; '.join(problems)}"
        )
    module = build(config)
    module.load_state_dict(to_torchvision(given))
    return module.eval()


def _differences(given: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]]) -> Iterable[str]:
    shapes = {name: tuple(value.shape) for name, value in given.items()}
    for part in [*(label for _, label in PARTS), "other"]:
        wanted = [name for name in expected if part_of(name) == part]
        missing = [name for name in wanted if name not in shapes]
        extra = sorted(name for name in shapes if part_of(name) == part and name not in expected)
        other = [
            f"{name} {_show(shapes[name])} instead of {_show(expected[name])}"
            for name in wanted
            if name in shapes and shapes[name] != expected[name]
        ]
        kinds = {
            "missing": [f"all {len(missing)}"] if missing and len(missing) == len(wanted) else missing,
            "not in the model": extra,
            "of another shape": other,
        }
        found = [f"{kind}: {', '.join(_folded(names))}" for kind, names in kinds.items() if names]
        if found:
            yield f"{part} {', '.join(found)}"


def _folded(names: Iterable[str]) -> list[str]:
    """Return names with those that differ in the number of their block alone as one, `res4.{6,7,8}.conv1.weight`."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name in names:
        block = _BLOCK.match(name)
        groups.setdefault((block[1], block[3]) if block else (name, ""), []).append(block[2] if block else "")
    return [
        f"{start}{numbers[0] if len(numbers) == 1 else '{' + ','.join(numbers) + '}'}{end}"
        for (start, end), numbers in groups.items()
    ]


def _show(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) or "scalar"


def _not_finite(given: Mapping[str, Tensor]) -> Iterable[str]:
    wrong = [name for name, value in given.items() if not torch.isfinite(value).all()]
    return [f"infinite or undefined numbers in {', '.join(wrong)}"] if wrong else []


def _contradictions(tensors: Mapping[str, Tensor], config: Detectron2Config) -> Iterable[str]:
    """Old checkpoints carry what is the config's to say; theirs must agree."""
    known = {"pixel_mean": torch.tensor(config.pixel_mean), "pixel_std": torch.tensor(config.pixel_std)}
    for level, anchors in enumerate(Detectron2Anchors(config).cell_anchors):
        known[f"proposal_generator.anchor_generator.cell_anchors.{level}"] = anchors.flatten()
    for name, value in known.items():
        if name in tensors and not _close(tensors[name].flatten(), value):
            yield f"{name} that is not the config's ({_numbers(tensors[name])} instead of {_numbers(value)})"


def _close(found: Tensor, expected: Tensor) -> bool:
    return found.shape == expected.shape and torch.allclose(found.float(), expected.float(), rtol=1e-4, atol=1e-3)


def _numbers(values: Tensor) -> str:
    shown = [f"{value:g}" for value in values.flatten().tolist()]
    return ", ".join(shown[:4]) + ", …" * (len(shown) > 4)


# Beginnings of names that other detectors have, the most telling first.
_OTHERS = (
    ("head.cls_subnet.", "a RetinaNet"),
    ("sem_seg_head.", "a panoptic FPN"),
    ("roi_heads.keypoint_head.", "a keypoint R-CNN"),
    ("roi_heads.box_head.0.", "a cascade R-CNN"),
    ("roi_heads.res5.", "an R-CNN with a C4 backbone"),
    ("backbone.res2.", "an R-CNN with a DC5 (dilated) backbone"),
    ("backbone.body.", "a detector of torchvision, which needs no import"),
    ("stem.", "a backbone without a detector"),
    ("conv1", "a backbone without a detector"),
)


def _hint(given: Mapping[str, Tensor], config: Detectron2Config) -> str:
    for prefix, what in _OTHERS:
        if any(name.startswith(prefix) for name in given):
            return f"the file seems to be {what}; "
    depth = 101 if any(name.startswith("backbone.bottom_up.res4.22.") for name in given) else 50
    masks = any(name.startswith("roi_heads.mask_head.") for name in given)
    if (depth, masks) == (config.depth, config.masks):
        return ""
    return f"the file seems to be for --config {'mask' if masks else 'faster'}_rcnn_R_{depth}_FPN_3x; "
