"""What a training starts from: a detector whose classes are those of the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from detq.errors import WeightsError
from detq.files import file_sha256
from detq.models.build import build_module, config_of, norm_eps, set_norm_eps
from detq.models.detectron2.config import Detectron2Config
from detq.models.state import State, count_classes, fit, read_state
from detq.models.weights import WeightsSource, load_model, parse_weights
from detq.models.zoo import ModelSpec
from detq.training.config import TrainConfig

__all__ = ["FRESH_MASKS", "Start", "load_start", "load_untuned"]

BACKBONE = "backbone.body."
FRESH_MASKS = "the mask head"
MASK_HEAD = ("roi_heads.mask_head.", "roi_heads.mask_predictor.")


@dataclass(frozen=True)
class Start:
    """A detector before its training.

    Attributes:
        module: torchvision's module, every parameter trainable, in eval mode.
        classes: torchvision's label k is `classes[k - 1]`.
        source: where its parameters come from.
        sha256: of the weights' file, of several with "+" between them, or None without one.
        fresh: the parts that start with random parameters: "", "the predictor", "the mask head", "all but the backbone"
            or "everything".
    """

    module: nn.Module
    classes: tuple[str, ...]
    source: WeightsSource
    sha256: str | None
    fresh: str = ""


def load_start(config: TrainConfig, spec: ModelSpec, classes: Sequence[str]) -> Start:
    """Return the detector to train on data with `classes`.

    Weights for other classes keep all but their predictor where nobody chose them for their classes (COCO, packaged),
    or with `config.new_predictor`. A file with the parameters of a backbone alone starts the backbone.

    Raises:
        WeightsError: the weights cannot be used, or their classes are others and nothing allows a new predictor.
    """
    start = _load(config, spec, classes)
    if set(start.classes) != set(classes):
        start = _with_new_predictor(start, config, spec, classes)
    start.module.requires_grad_(requires_grad=True)
    return start


def load_untuned(config: TrainConfig, spec: ModelSpec, classes: Sequence[str]) -> Start | None:
    """Return what the training starts from as it can be used without training: with the weights' own classes.

    Returns:
        None where that finds none of `classes`: random parameters, a backbone alone, or weights for other classes.
    """
    start = _load(config, spec, classes)
    usable = start.fresh in {"", FRESH_MASKS} and set(start.classes) & set(classes)
    return start if usable else None


def _load(config: TrainConfig, spec: ModelSpec, classes: Sequence[str]) -> Start:
    """Return the weights' detector with the weights' own classes."""
    source = parse_weights(config.weights, spec, config.seed)
    if source.kind == "random" and not spec.own:
        start = Start(build_module(spec, len(classes) + 1, seed=config.seed), tuple(classes), source, None)
        start = replace(start, fresh="everything")
    elif source.kind == "file":
        start = _from_file(config, spec, source, classes)
    else:
        loaded = load_model(spec, source, config.classes)
        sha256 = "+".join(map(file_sha256, source.paths)) or None
        start = Start(loaded.module, loaded.classes, source, sha256)
    return start


def _from_file(config: TrainConfig, spec: ModelSpec, source: WeightsSource, classes: Sequence[str]) -> Start:
    path = Path(str(source.path))
    state = read_state(path)
    sha256 = file_sha256(path)
    if not spec.own and (backbone := _as_backbone(spec, state)) is not None:
        module = build_module(spec, len(classes) + 1, seed=config.seed)
        fit(module, replace(backbone, tensors={**module.state_dict(), **backbone.tensors}), spec.name)
        return Start(module, tuple(classes), source, sha256, "all but the backbone")
    if (with_mask_head := _with_mask_head(config, spec, state)) is not None:
        named = config.classes or state.classes or tuple(classes)
        return Start(with_mask_head, named, source, sha256, FRESH_MASKS)
    names = config.classes
    if names is None and state.classes is None and count_classes(state.tensors, spec) == len(classes) + 1:
        names = tuple(classes)  # a bare state dict of the data's class count
    if names is None and state.classes is None and (count := count_classes(state.tensors, spec)) is not None:
        if not config.new_predictor:
            raise WeightsError(
                f"--weights {path}: its predictor has {count - 1} class{'es' * (count > 2)}, the data has "
                f"{len(classes)} ({', '.join(classes)}); add --new-predictor to train that part "
                "anew, or map the data's classes"
            )
        names = tuple(f"class {number}" for number in range(1, count))
    loaded = load_model(spec, source, names)
    return Start(loaded.module, loaded.classes, source, sha256)


def _as_backbone(spec: ModelSpec, state: State) -> State | None:
    """Return `state` with a detector's names if it holds exactly the parameters of `spec`'s backbone, else None."""
    own = build_module(spec, 2).state_dict()
    wanted = {key for key in own if key.startswith(BACKBONE)}
    given = {f"{BACKBONE}{key.removeprefix('features.')}": value for key, value in state.tensors.items()}
    given = {key: value for key, value in given.items() if key in wanted or not key.endswith("num_batches_tracked")}
    fits = wanted == given.keys() and all(own[key].shape == value.shape for key, value in given.items())
    return State(state.path, given, None, state.norm_eps) if wanted and fits else None


def _with_mask_head(config: TrainConfig, spec: ModelSpec, state: State) -> nn.Module | None:
    """Return `spec`'s detector with a new mask head if `state` has all of it but that: a Faster R-CNN's, else None."""
    count = count_classes(state.tensors, spec)
    if not spec.has_masks or count is None or any(key.startswith(MASK_HEAD) for key in state.tensors):
        return None
    own = _config_with_masks(state)
    if (own.model if own else None) != (spec.name if spec.config else None):
        return None  # torchvision's weights in Detectron2's model, or the reverse: load_model says so
    module = build_module(spec, count, seed=config.seed, config=own.to_json() if own else None)
    fresh = {key: value for key, value in module.state_dict().items() if key.startswith(MASK_HEAD)}
    fit(module, replace(state, tensors={**fresh, **state.tensors}), spec.name)
    return module


def _config_with_masks(state: State) -> Detectron2Config | None:
    """Return the config of weights that were imported from Detectron2, for a detector with masks, or None."""
    return None if state.config is None else replace(Detectron2Config.from_json(state.config), masks=True)


def _with_new_predictor(start: Start, config: TrainConfig, spec: ModelSpec, classes: Sequence[str]) -> Start:
    if spec.own or (start.source.kind == "file" and not config.new_predictor):
        raise WeightsError(
            f"--weights {start.source.describe()}: expected the data's classes ({', '.join(classes)}), its own are "
            f"{', '.join(start.classes[:5])}{', …' * (len(start.classes) > 5)}; map the data's classes to them"
            + (" or add --new-predictor to train that part anew" if not spec.own else "")
        )
    own = config_of(start.module)
    module = build_module(spec, len(classes) + 1, seed=config.seed, config=own)
    old, new = start.module.state_dict(), module.state_dict()
    with torch.device("meta"):
        larger = build_module(spec, len(classes) + 2, config=own).state_dict()
    # What changes its shape with the number of classes is the predictor, also where both have the same number.
    kept = {key: old[key] for key in new if larger[key].shape == new[key].shape}
    module.load_state_dict({**new, **kept})
    if (eps := norm_eps(start.module)) is not None:
        set_norm_eps(module, eps)
    return Start(module, tuple(classes), start.source, start.sha256, "the predictor")
