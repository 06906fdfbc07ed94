"""Reading Detectron2's checkpoints without running code: `.pth` of its trainer, `.pkl` of its model zoo."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from detq.errors import WeightsError

__all__ = ["read_checkpoint"]


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
    names = [str(name) for name in model]
    shared = "module." if all(name.startswith("module.") for name in names) else ""  # of distributed training
    return {name.removeprefix(shared): _as_tensor(value) for name, value in zip(names, model.values(), strict=True)}


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) or (
        isinstance(value, np.ndarray) and value.dtype.kind in "fiub" and value.itemsize <= 8
    )


def _as_tensor(value: Any) -> Tensor:
    tensor = (
        value if isinstance(value, Tensor) else torch.from_numpy(np.array(value, dtype=value.dtype.newbyteorder("=")))
    )
    return tensor.float() if tensor.is_floating_point() else tensor


def _outline(content: Any) -> str:
    if not isinstance(content, Mapping):
        return type(content).__name__
    names = [str(name) for name in content]
    return f"a dict with {', '.join(names[:5])}{', …' * (len(names) > 5)}" if names else "an empty dict"


def _read_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise WeightsError(
            f"{path}: refused, because reading it would run code or it is no torch file; if you trust it, save its "
            "tensors alone where Detectron2 runs, "
            'torch.save({"model": torch.load(FILE, weights_only=False)["model"]}, NEW)'
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError) as error:
        raise WeightsError(f"{path}: not a readable torch file ({_reason(error)}); copy it again, whole") from None


def _read_pickle(path: Path) -> Any:
    try:
        with path.open("rb") as stream:
            # The model zoo's files were written by Python 2 and 3: latin1 reads what both made of NumPy arrays.
            content = _Plain(stream, encoding="latin1").load()
    except _ForbiddenError as error:
        raise WeightsError(
            f"{path}: refused, because reading it would run {error}; expected only dicts, lists, strings, numbers and "
            "NumPy arrays, as in Detectron2's model zoo"
        ) from None
    except (MemoryError, RecursionError):
        raise WeightsError(f"{path}: not a readable pickle (what it announces does not fit into memory)") from None
    except Exception as error:  # noqa: BLE001  # a damaged pickle is a damaged program and can fail in any way
        raise WeightsError(f"{path}: not a readable pickle ({_reason(error)}); copy it again, whole") from None
    _check_plain(path, content)
    return content


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".:")


class _ForbiddenError(pickle.UnpicklingError):
    pass


class _Plain(pickle._Unpickler):  # noqa: SLF001
    """Finds what NumPy arrays and ordered dicts are made of, and nothing else.

    It is Python's unpickler in Python: that in C takes as much memory as a damaged byte tells it to.
    """

    def find_class(self, module: str, name: str) -> Any:
        found = _FOUND.get((module.replace("numpy._core.", "numpy.core."), name))
        if found is None:
            raise _ForbiddenError(f"{module}.{name}")
        # A pickle can set attributes of what it has found. This way it sets them on an object of its own.
        return found if isinstance(found, type) else _Call(found)

    def persistent_load(self, pid: Any) -> Any:
        raise _ForbiddenError(f"a reference to {pid!r}")


class _Call:
    """A function behind an object that is thrown away with its attributes."""

    __slots__ = ("_function",)

    def __init__(self, function: Any) -> None:
        self._function = function

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)


def _empty_array(_subtype: Any, _shape: Any, _code: Any) -> Any:
    return np.ndarray((0,), np.int8)


def _scalar(dtype: Any, data: Any) -> Any:
    raw = data.encode("latin1") if isinstance(data, str) else bytes(data)
    return np.frombuffer(raw, dtype=dtype, count=1)[0]


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> Any:
    return np.frombuffer(data, dtype=dtype).reshape(shape, order=order)


def _encode(text: Any, encoding: Any) -> bytes:
    if encoding != "latin1":
        raise _ForbiddenError(f"codec {encoding!r}")
    return str(text).encode("latin1")


def _no_bytes() -> bytes:
    return b""


_FOUND: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _empty_array,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("_codecs", "encode"): _encode,  # this and the next: how Python 3 writes bytes for Python 2
    ("__builtin__", "bytes"): _no_bytes,
}


def _check_plain(path: Path, content: Any) -> None:
    pending, seen = [content], set()
    while pending:
        value = pending.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Mapping):
            pending += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple):
            pending += value
        elif not isinstance(value, str | bytes | int | float | np.ndarray | np.generic | None):
            raise WeightsError(
                f"{path}: expected only dicts, lists, strings, numbers and NumPy arrays, found {type(value).__name__}"
            )
