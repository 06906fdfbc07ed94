"""A user's own detector, `--model package.module:callable`: imported, built and tried before it is measured."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from detq.errors import UnknownNameError, UnsupportedError

__all__ = ["build_own"]


def build_own(target: str) -> tuple[nn.Module, tuple[str, ...] | None]:
    """Import `target`, call it without arguments and return its module in eval mode and its `classes`, if it says any.

    The current folder can be imported from. `classes` is looked up on the callable, then on the module: the names of
    labels 1, 2, …

    Raises:
        UnknownNameError: no such module or attribute.
        UnsupportedError: it is no callable, does not return an `nn.Module`, or that one does not answer one blank image
            as torchvision's detectors do.
    """
    with _current_folder():
        builder = _import(target)
        if not callable(builder):
            raise UnsupportedError(f"--model {target}: expected a function or class, found {type(builder).__name__}")
        try:
            module = builder()
        except Exception as error:
            raise UnsupportedError(f"--model {target}: calling it without arguments raised {_name(error)}") from error
        if not isinstance(module, nn.Module):
            raise UnsupportedError(
                f"--model {target}: expected it to return a torch.nn.Module, it returned {type(module).__name__}"
            )
        _try(target, module.eval())
    classes = getattr(builder, "classes", None) or getattr(module, "classes", None)
    return module, tuple(str(name) for name in classes) if classes else None


@contextlib.contextmanager
def _current_folder() -> Iterator[None]:
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)


def _import(target: str) -> Any:
    name, _, attribute = target.partition(":")
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        why = f"no module named {error.name!r} in the current folder or the Python environment"
        raise UnknownNameError(f"--model {target}: {why}; expected package.module:callable") from error
    except Exception as error:
        raise UnsupportedError(f"--model {target}: importing {name} raised {_name(error)}") from error
    if not attribute or not hasattr(module, attribute):
        raise UnknownNameError(
            f"--model {target}: expected a function of module {name} that returns the detector, found no "
            f"{attribute or 'name'!r} there; correct what follows the colon"
        )
    return getattr(module, attribute)


def _try(target: str, module: nn.Module) -> None:
    expected = 'a list with one {"boxes": (N, 4), "scores": (N,), "labels": (N,)} an image'
    try:
        with torch.inference_mode():
            answer = module([torch.zeros(3, 320, 320)])
    except Exception as error:
        raise UnsupportedError(
            f"--model {target}: expected {expected} from one blank image, it raised {_name(error)}"
        ) from error
    if not _is_torchvisions(answer):
        raise UnsupportedError(f"--model {target}: expected {expected}, it returned {type(answer).__name__}")


def _is_torchvisions(answer: Any) -> bool:
    if not isinstance(answer, list) or len(answer) != 1 or not isinstance(answer[0], dict):
        return False
    found = [answer[0].get(key) for key in ("boxes", "scores", "labels")]
    shapes = [tuple(value.shape) for value in found if isinstance(value, torch.Tensor)]
    if len(shapes) != 3:
        return False
    boxes, scores, labels = shapes
    return len(boxes) == 2 and boxes[1] == 4 and scores == labels == boxes[:1]


def _name(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0]}" if str(error).strip() else repr(error)
