"""Where a detector's parameters come from, and loading them: the packaged checkpoint, a file, COCO, or random."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from detq.errors import WeightsError
from detq.files import file_sha256, read_json

if TYPE_CHECKING:
    from torch import nn

    from detq.models.state import State
    from detq.models.zoo import ModelSpec

__all__ = ["CHECKPOINTS", "LoadedModel", "WeightsSource", "load_model", "parse_weights"]

CHECKPOINTS = Path(__file__).parent / "checkpoints"


@dataclass(frozen=True)
class WeightsSource:
    """Where parameters come from.

    Attributes:
        kind: "packaged", "file", "coco", "random", or "own" (a user's own detector brings its own).
        path: the file, for "packaged" and "file".
        seed: for "random".
        mask_path: the file of a mask head that is laid over it, for "packaged" models with masks.
        sha256: of the file that is not at hand, in hexadecimal digits: what a file of a whole model was made of.
        planted: how many objects "random" ones find, or None for as many as chance will have it.
    """

    kind: str
    path: str | None = None
    seed: int | None = None
    mask_path: str | None = None
    sha256: str | None = None
    planted: int | None = None

    def describe(self) -> str:
        """Return what a report says about it; no folder is named, so that reports can be shared."""
        if self.kind == "random":
            planted = "" if self.planted is None else f", {self.planted} detections planted"
            return f"random (seed {self.seed}){planted}: for timing only"
        if self.kind == "coco":
            return "torchvision COCO_V1"
        return f"{self.kind}: {' + '.join(path.name for path in self.paths)}" if self.paths else self.kind

    def hash_path(self) -> str | None:
        """Return the SHA-256 of the file at `path`, in hexadecimal digits, or None without one."""
        return None if self.path is None else file_sha256(Path(self.path))

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files that the parameters are in."""
        return tuple(Path(path) for path in (self.path, self.mask_path) if path is not None)


@dataclass(frozen=True)
class LoadedModel:
    """A detector that is ready to run.

    Attributes:
        module: torchvision's module in eval mode.
        classes: class names; torchvision's label k is `classes[k - 1]`.
        source: where its parameters come from.
        meaningful: False for random parameters, whose detections say nothing.
    """

    module: nn.Module
    classes: tuple[str, ...]
    source: WeightsSource
    meaningful: bool


def parse_weights(text: str | None, spec: ModelSpec, seed: int = 0) -> WeightsSource:
    """Return the source that `--weights text` means for `spec`.

    Without `text`: the packaged checkpoint where there is one, else COCO; a user's own detector brings its own.
    "random:20" are random ones that find 20 objects in an image.

    Raises:
        WeightsError: "packaged" where there is none, or no number of objects.
    """
    word = None if text is None else text.lower()
    if word is not None and word.partition(":")[0] == "random":
        return WeightsSource("random", seed=seed, planted=_planted(word, spec))
    if word in {"coco", "coco_v1"}:
        return WeightsSource("coco")
    if text is not None and word != "packaged":
        return WeightsSource("file", path=text)
    if spec.checkpoint is not None:
        head = None if spec.mask_checkpoint is None else str(CHECKPOINTS / spec.mask_checkpoint)
        return WeightsSource("packaged", path=str(CHECKPOINTS / spec.checkpoint), mask_path=head)
    if word == "packaged":
        raise WeightsError(f"--weights packaged: no checkpoint for {spec.name} comes with detq; give a file or coco")
    return WeightsSource("own" if spec.own else "coco")


def _planted(word: str, spec: ModelSpec) -> int | None:
    _, colon, number = word.partition(":")
    if not colon:
        return None
    if not number.isdecimal() or not 1 <= int(number) <= 1000:
        raise WeightsError(f"--weights {word}: expected a number of detections from 1 to 1000, such as random:20")
    if spec.own or not spec.two_stage:
        raise WeightsError(f"--weights {word}: {spec.name} has no box head to plant detections in; use random")
    return int(number)


def load_model(spec: ModelSpec, source: WeightsSource, classes: Sequence[str] | None = None) -> LoadedModel:
    """Build `spec` with the parameters of `source`, in eval mode.

    Args:
        spec: which detector.
        source: which parameters.
        classes: names of torchvision's labels from 1. Only a file that does not bring names needs them; elsewhere they
            rename the labels and must be as many.

    Raises:
        WeightsError: the parameters are missing, unreadable, or of another architecture or class count.
        DetqError: for a user's own detector, see `detq.models.own.build_own`.
    """
    if spec.own:
        module, names = _load_own(spec, source, classes)
    elif source.kind == "random":
        module, names = _load_random(spec, source, classes)
    elif source.kind == "coco":
        module, names = _load_coco(spec)
    else:
        module, names = _load_file(spec, source, classes)
    chosen = tuple(classes) if classes else names
    if len(chosen) != len(names):
        raise WeightsError(
            f"--classes: expected {len(names)} names, one for each class of {spec.name} with weights "
            f"{source.describe()}, got {len(chosen)} ({', '.join(chosen[:5])})"
        )
    return LoadedModel(module.eval(), chosen, source, meaningful=source.kind != "random")


Built = tuple["nn.Module", tuple[str, ...]]


def _load_own(spec: ModelSpec, source: WeightsSource, classes: Sequence[str] | None) -> Built:
    from detq.models.own import build_own
    from detq.models.state import fit, read_state

    if source.kind not in {"own", "file"}:
        raise WeightsError(
            f"--weights {source.kind}: {spec.name} is your own detector and brings its own weights; leave --weights "
            "out or give a file"
        )
    module, names = build_own(spec.target)
    if source.path is not None:
        state = read_state(Path(source.path))
        fit(module, state, spec.name)
        names = state.classes or names
    if not (names or classes):
        raise WeightsError(f"--model {spec.name}: it has no attribute `classes`; name its labels from 1 with --classes")
    return module, names or tuple(classes or ())


def _load_random(spec: ModelSpec, source: WeightsSource, classes: Sequence[str] | None) -> Built:
    from detq.models.build import build_module, coco_classes

    names = tuple(classes) if classes else ("car",) if spec.packaged else coco_classes(spec)
    if source.planted is None:
        return build_module(spec, len(names) + 1, seed=source.seed or 0), names
    from detq.models.planted import build_planted

    return build_planted(spec, len(names) + 1, seed=source.seed or 0, detections=source.planted), names


def _load_coco(spec: ModelSpec) -> Built:
    import torch
    from torchvision.models import get_weight

    from detq.models.build import coco_classes
    from detq.targets import resolve

    if spec.config is not None:
        raise WeightsError(
            f"no weights for {spec.name} come with detq; give --weights FILE with what detq import-detectron2 made "
            "of your checkpoint, or random for timing only"
        )
    if spec.coco_weights is None:
        raise WeightsError(
            f"--weights coco: torchvision has no pretrained {spec.name}; give a file, or random for timing only"
        )
    weights = get_weight(spec.coco_weights)
    try:
        module: nn.Module = resolve(spec.target)(weights=weights, progress=False)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        place = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(weights.url).path).name
        raise WeightsError(
            f"--weights coco: torchvision could not load {weights.url} ({_reason(error)}); put that file at {place}, "
            "or use --weights FILE"
        ) from None
    return module, coco_classes(spec)


def _reason(error: Exception) -> str:
    return (str(getattr(error, "reason", None) or error).strip() or type(error).__name__).splitlines()[0]


def _load_file(spec: ModelSpec, source: WeightsSource, classes: Sequence[str] | None) -> Built:
    from detq.models.build import build_module, set_norm_eps
    from detq.models.state import count_classes, fit, read_state

    path = Path(str(source.path))
    missing = [part.name for part in source.paths if not part.is_file()]
    if source.kind == "packaged" and missing:
        raise WeightsError(
            f"the packaged checkpoint {missing[0]} is not in this installation; install detq again, or use "
            "--weights FILE"
        )
    state = read_state(path)
    if source.mask_path is not None:
        state = replace(state, tensors={**state.tensors, **read_state(Path(source.mask_path)).tensors})
    _check_origin(state, spec)
    number = count_classes(state.tensors, spec) or 2
    module = build_module(spec, number, config=state.config)
    fit(module, state, spec.name)
    if "resnet50" in spec.name and _is_torchvisions(path, spec):
        # These were trained before FrozenBatchNorm2d got an eps; torchvision loads them with 0, so we do.
        set_norm_eps(module, 0.0)
    return module, _names(spec, state, number - 1, classes)


def _check_origin(state: State, spec: ModelSpec) -> None:
    """Refuse torchvision's weights in Detectron2's models and the reverse: names and shapes would fit, silently."""
    if state.config is not None:
        from detq.models.detectron2.config import Detectron2Config

        model = Detectron2Config.from_json(state.config).model
        if spec.name != model:
            raise WeightsError(
                f"--weights {state.path}: expected a file for {spec.name}, found one imported from Detectron2; use "
                f"--model {model}"
            )
    elif spec.config is not None:
        raise WeightsError(
            f"--weights {state.path}: expected a file that detq import-detectron2 wrote, or detq train with "
            f"{spec.name}, found no Detectron2 config in its metadata; import the checkpoint first"
        )


def _is_torchvisions(path: Path, spec: ModelSpec) -> bool:
    from torchvision.models import get_weight

    if spec.coco_weights is None:
        return False
    # Its file names end in the first eight digits of the file's SHA-256: ..._coco-258fb6c6.pth
    prefix = Path(urlparse(get_weight(spec.coco_weights).url).path).stem.rpartition("-")[2]
    if path.suffix != ".pth":
        return False
    return file_sha256(path).startswith(prefix)


def _names(spec: ModelSpec, state: State, number: int, classes: Sequence[str] | None) -> tuple[str, ...]:
    from detq.models.build import coco_classes

    card = state.path.with_suffix(".json")
    names = state.classes
    if names is None and card.is_file():
        content: Any = read_json(card, WeightsError, "model card")
        names = tuple(map(str, content["classes"])) if isinstance(content, dict) and "classes" in content else None
    coco = coco_classes(spec)
    names = names or (coco if number == len(coco) else tuple(classes or ()))
    if not names:
        raise WeightsError(
            f"--weights {state.path}: the file has {number} class{'es' * (number > 1)} and no names; name them with "
            f"--classes {','.join(f'NAME{k + 1}' for k in range(min(number, 3)))}{',…' * (number > 3)}"
        )
    if len(names) != number:
        raise WeightsError(
            f"--weights {state.path}: expected {number} class names, one for each class of its predictor besides "
            f"background, got {len(names)} ({', '.join(names[:5])}); mend --classes"
        )
    return names
