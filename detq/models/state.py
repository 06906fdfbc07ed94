"""Parameters in files: reading them without running code, fitting them to a module, and saying why they do not fit."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from detq.errors import WeightsError
from detq.files import atomic_path
from detq.models.build import build_module, config_of, norm_eps, set_norm_eps
from detq.models.torch_file import ForbiddenError, UnreadableError, load_tensors
from detq.models.zoo import MODELS, ModelSpec

__all__ = ["State", "count_classes", "fit", "read_state", "save_state"]

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class State:
    """What a file of weights holds.

    Attributes:
        path: the file, for messages.
        tensors: parameters and buffers by their name in the module.
        classes: the class names that the file brings, or None. Label k of torchvision is `classes[k - 1]`.
        norm_eps: the eps of `FrozenBatchNorm2d` that the parameters were trained with, or None where it is not said.
        config: the Detectron2 config of a detector that was imported from there, as JSON, or None.
    """

    path: Path
    tensors: Tensors = field(repr=False)
    classes: tuple[str, ...] | None = None
    norm_eps: float | None = None
    config: str | None = None


def read_state(path: Path) -> State:
    """Read a `.safetensors` file, or a `.pth` that `torch.load(weights_only=True)` accepts. Nothing in it is executed.

    Raises:
        WeightsError: there is no such file, it is damaged or of another format, or reading it would execute code.
    """
    if not path.is_file():
        raise WeightsError(
            f"--weights {path}: expected a .safetensors or .pth file, found "
            f"{'a folder' if path.is_dir() else 'nothing'}; give the path of a file, or one of packaged, coco and "
            "random"
        )
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)


def _read_safetensors(path: Path) -> State:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # not a dict
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"--weights {path}: not a readable safetensors file ({error}); save it again") from None
    try:
        classes = tuple(str(name) for name in json.loads(metadata["classes"])) if "classes" in metadata else None
        eps = float(metadata["norm_eps"]) if "norm_eps" in metadata else None
    except (TypeError, ValueError) as error:
        raise WeightsError(
            f"--weights {path}: its metadata is not what detq writes ({error}); expected a JSON list of names in "
            '"classes" and a number in "norm_eps"'
        ) from None
    return State(path, tensors, classes, eps, metadata.get("detectron2_config"))


def _read_pickle(path: Path) -> State:
    try:
        content = load_tensors(path)
    except ForbiddenError:
        raise WeightsError(
            f"--weights {path}: refused, because reading it would execute code or it is no torch file; expected a "
            "state dict, so save it again with torch.save(model.state_dict(), path) or as safetensors"
        ) from None
    except UnreadableError as error:
        raise WeightsError(
            f"--weights {path}: expected a state dict saved with torch.save(model.state_dict(), path), found "
            f"{error}; copy it again or save it again"
        ) from None
    return State(path, _tensors(path, content))


def _tensors(path: Path, content: Any) -> Tensors:
    # Training scripts, torchvision's own among them, wrap the state dict together with the optimizer's.
    for wrapper in ("model", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise WeightsError(
            f"--weights {path}: expected a state dict (parameter name -> tensor), found {type(content).__name__}; save "
            "it again with torch.save(model.state_dict(), path)"
        )
    return content


def count_classes(tensors: Tensors, spec: ModelSpec) -> int | None:
    """Return the number of classes, background included, that `spec`'s predictor has in `tensors`; None without one."""
    if spec.class_key not in tensors or not tensors[spec.class_key].ndim:
        return None
    rows = len(tensors[spec.class_key])
    return rows // spec.rows_per_class if rows % spec.rows_per_class == 0 and rows >= 2 * spec.rows_per_class else None


def fit(module: nn.Module, state: State, model: str) -> None:
    """Copy the parameters of `state` into `module`, converted to the module's dtype (fp16 files become fp32).

    Raises:
        WeightsError: names or shapes differ; the message groups the differences by part and says which model and class
            count the file seems to be for. Or a parameter is not finite: such a detector finds nothing, silently.
    """
    own = module.state_dict()
    # FrozenBatchNorm2d has no such counter; a file that was trained with BatchNorm2d fits it all the same.
    given = {
        key: value for key, value in state.tensors.items() if key in own or not key.endswith("num_batches_tracked")
    }
    groups = {
        "missing": own.keys() - given.keys(),
        "not in the model": given.keys() - own.keys(),
        "of another shape": {key for key in own.keys() & given.keys() if own[key].shape != given[key].shape},
    }
    if any(groups.values()):
        found = "; ".join(f"{len(keys)} {what} ({_by_part(keys)})" for what, keys in groups.items() if keys)
        raise WeightsError(
            f"--weights {state.path}: expected the {len(own)} tensors of {model}, found {found}; {_seems(state)}"
        )
    if broken := [key for key, value in given.items() if not torch.isfinite(value).all()]:
        raise WeightsError(
            f"--weights {state.path}: expected finite numbers, found NaN or infinity in {len(broken)} of {len(own)} "
            f"tensors ({_by_part(broken)}); its training diverged, so take an earlier checkpoint or train again"
        )
    module.load_state_dict(given)
    if (eps := norm_eps(module)) is not None and state.norm_eps not in (None, eps):
        set_norm_eps(module, float(state.norm_eps or 0.0))


def _by_part(keys: Iterable[str]) -> str:
    parts = Counter(".".join(key.split(".")[:2]) for key in keys)
    shown = [f"{part} {count}" for part, count in sorted(parts.items())[:5]]
    return ", ".join(shown) + (", …" if len(parts) > 5 else "")


def _seems(state: State) -> str:
    fitting = [
        (spec, classes)
        for spec in MODELS
        if (spec.config is None) == (state.config is None)
        and (classes := count_classes(state.tensors, spec)) is not None
        and _same_shapes(spec, classes, state.tensors)
    ]
    if not fitting:
        return "the file fits no model of `detq list`"
    names = " or ".join(spec.name for spec, _ in fitting)
    return f"the file seems to be for --model {names}, classes besides background: {fitting[0][1] - 1}"


def _same_shapes(spec: ModelSpec, classes: int, tensors: Tensors) -> bool:
    with torch.device("meta"):  # shapes without memory: building all models for a message would take seconds
        own = build_module(spec, classes).state_dict()
    given = {key: value.shape for key, value in tensors.items() if not key.endswith("num_batches_tracked")}
    return given == {key: value.shape for key, value in own.items() if not key.endswith("num_batches_tracked")}


def save_state(path: Path, module: nn.Module, classes: Iterable[str], model: str, *, half: bool = False) -> None:
    """Write `module`'s parameters as safetensors with the metadata that `read_state` reads, whole or not at all.

    Args:
        path: the file, by convention `.safetensors`.
        module: the detector.
        classes: names of torchvision's labels from 1.
        model: the zoo name that it was built from, for the reader.
        half: store floating-point tensors as fp16, half the bytes.

    Raises:
        OutputError: the file cannot be written.
    """
    from safetensors.torch import save_file

    def stored(value: torch.Tensor) -> torch.Tensor:
        wide = value.detach().cpu().contiguous()
        return wide.half() if half and wide.is_floating_point() else wide

    metadata = {"classes": json.dumps(list(classes)), "model": model, "format": "pt"}
    if (eps := norm_eps(module)) is not None:
        metadata["norm_eps"] = repr(eps)
    if (config := config_of(module)) is not None:
        metadata["detectron2_config"] = config
    with atomic_path(path) as temporary:
        save_file({key: stored(value) for key, value in module.state_dict().items()}, temporary, metadata=metadata)
