"""Reading Detectron2's checkpoints without running code: `.pth` of its trainer, `.pkl` of its model zoo."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from detq.errors import WeightsError
from detq.models.detectron2.plain_pickle import ForbiddenPickleError, load_plain
from detq.models.torch_file import ForbiddenError, UnreadableError, load_tensors, reason_of, refuse_other

__all__ = ["read_checkpoint"]

_BEGINNINGS = (b"\x80", b"(", b"}", b"]", b"c")
"""Of a pickle of a dict, a list or a call, in all protocols."""


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint by Detectron2's names, floating-point ones as float32.

    Args:
        path: a `.pkl` of the model zoo, or what `torch.save` wrote.

    Raises:
        WeightsError: there is no such file, it is damaged, reading it would run code, or it holds no model.
    """
    if not path.is_file():
        found = "a folder" if path.is_dir() else "nothing"
        raise WeightsError(f"{path}: expected a checkpoint of Detectron2 (.pth or .pkl), found {found}")
    content = _read_pickle(path) if path.suffix.lower() == ".pkl" else _read_torch(path)
    model = content.get("model", content) if isinstance(content, Mapping) else content
    if not isinstance(model, Mapping) or not model or not all(_is_tensor(value) for value in model.values()):
        raise WeightsError(
            f'{path}: expected {{"model": {{name: tensor}}}}, as Detectron2 saves it, found '
            f"{_outline(content)}; give the checkpoint of a detector"
        )
    names = [_shown(name) for name in model]
    shared = "module." if all(name.startswith("module.") for name in names) else ""  # of distributed training
    return {name.removeprefix(shared): _as_tensor(value) for name, value in zip(names, model.values(), strict=True)}


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor | np.ndarray)


def _as_tensor(value: Any) -> Tensor:
    tensor = value if isinstance(value, Tensor) else torch.from_numpy(value)
    return tensor.float() if tensor.is_floating_point() else tensor


def _shown(name: Any) -> str:
    """Return a name from a file for a message of one line."""
    text = str(name)
    return text if text.isprintable() else ascii(text)


def _outline(content: Any) -> str:
    if not isinstance(content, Mapping):
        return type(content).__name__
    names = [_shown(name) for name in content]
    return f"a dict with {', '.join(names[:5])}{', …' * (len(names) > 5)}" if names else "an empty dict"


def _read_torch(path: Path) -> Any:
    try:
        return load_tensors(path)
    except ForbiddenError:
        raise WeightsError(
            f"{path}: refused, because reading it would run code or it is no torch file; if you trust it, save its "
            "tensors alone where Detectron2 runs, "
            'torch.save({"model": torch.load(FILE, weights_only=False)["model"]}, NEW)'
        ) from None
    except UnreadableError as error:
        raise WeightsError(f"{path}: not a readable torch file, but {error}; copy it again, whole") from None


def _read_pickle(path: Path) -> Any:
    try:
        refuse_other(path, _BEGINNINGS)
        with path.open("rb") as stream:
            return load_plain(stream)
    except ForbiddenPickleError as error:
        raise WeightsError(
            f"{path}: refused, because it asks for {_shown(error)}; expected only dicts, lists, strings, numbers and "
            "NumPy arrays, as in Detectron2's model zoo"
        ) from None
    except Exception as error:  # noqa: BLE001  # see load_plain
        what = error if isinstance(error, UnreadableError) else f"a damaged file: {reason_of(error)}"
        raise WeightsError(f"{path}: not a readable pickle, but {what}; copy it again, whole") from None
