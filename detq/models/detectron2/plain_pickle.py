"""Unpickling what is plain: dicts, lists, tuples, strings, numbers and NumPy arrays, without NumPy's own unpickling.

A pickle is a program. This reader knows a handful of names, and none of them is the real thing: arrays and their types
are stand-ins that keep what they are told, and become arrays by `np.frombuffer`. NumPy's own types trust their pickled
state so far that a damaged one can crash the process.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ForbiddenPickleError", "load_plain"]

_CODE = re.compile(r"[fiub][1248]")


class ForbiddenPickleError(pickle.UnpicklingError):
    """The pickle asks for something that is not plain; the message names it."""


def load_plain(stream: IO[bytes]) -> Any:
    """Return the object in `stream`: NumPy arrays inside of dicts, lists, tuples, strings, numbers and None.

    Strings of Python 2 are read as latin1, because its NumPy arrays are such strings.

    Raises:
        ForbiddenPickleError: there is something else in it; nothing of it was run.
        Exception: it is damaged. A damaged pickle is a damaged program, and can fail in any way.
    """
    return _plain(_Unpickler(stream, encoding="latin1").load())


def _plain(value: Any) -> Any:
    """Return `value` with arrays for their stand-ins. One that contains itself raises RecursionError."""
    if isinstance(value, _Array):
        return value.array
    if isinstance(value, list | tuple):
        return type(value)(_plain(item) for item in value)
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if not isinstance(value, str | bytes | int | float | None):
        raise ForbiddenPickleError("a function" if isinstance(value, _Name | _Type) else f"a {type(value).__name__}")
    return value


class _Unpickler(pickle._Unpickler):  # noqa: SLF001
    """Python's unpickler in Python: that in C takes as much memory as a damaged byte tells it to."""

    def find_class(self, module: str, name: str) -> Any:
        found = _FOUND.get((module.replace("numpy._core.", "numpy.core."), name))
        if found is None:
            raise ForbiddenPickleError(f"{module}.{name}")
        return _Name(found)

    def persistent_load(self, pid: Any) -> Any:
        raise ForbiddenPickleError(f"a reference to {pid!r}")


class _Name:
    """What a pickle gets for a name: it can be called. Each is new, so nobody else sees what the pickle does to it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)


class _Type:
    """Stands for a NumPy type: a kind, a size and an order of bytes."""

    def __init__(self, code: Any, *_options: Any) -> None:
        if not isinstance(code, str) or not _CODE.fullmatch(code):
            raise ForbiddenPickleError(f"an array of type {code!r}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        if state[1] not in {"<", ">", "|", "="}:
            raise pickle.UnpicklingError(f"byte order {state[1]!r}")
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stands for a NumPy array until its content is known."""

    def __init__(self, *_empty: Any) -> None:
        self.array: NDArray[Any] = np.zeros(0, np.float32)

    def __setstate__(self, state: Any) -> None:
        shape, kind, fortran, data = state[-4:]  # a version comes before them
        self._fill(data, kind, shape, "F" if fortran else "C")

    @classmethod
    def of_buffer(cls, data: Any, kind: Any, shape: Any, order: Any) -> _Array:
        array = cls()
        array._fill(data, kind, shape, order)
        return array

    def _fill(self, data: Any, kind: Any, shape: Any, order: Any) -> None:
        raw = data.encode("latin1") if isinstance(data, str) else bytes(memoryview(data))
        values = np.frombuffer(raw, kind.dtype) if raw else np.zeros(0, kind.dtype)
        native = kind.dtype.newbyteorder("=")
        self.array = values.reshape(shape, order=order).astype(native)


def _scalar(kind: Any, data: Any) -> Any:
    return _Array.of_buffer(data, kind, (), "C").array.item()


def _dict(*pairs: Any) -> dict[Any, Any]:
    return dict(*pairs)


def _encode(text: str, _encoding: str) -> bytes:
    return text.encode("latin1")


def _no_bytes() -> bytes:
    return b""


_FOUND: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): _dict,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _Array.of_buffer,
    ("_codecs", "encode"): _encode,  # this and the next: how Python 3 writes bytes for Python 2
    ("__builtin__", "bytes"): _no_bytes,
}
