"""Frozen dataclasses to JSON and back, checked: what is read has the fields and types that the class declares."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

__all__ = ["from_json", "to_json"]

Record = TypeVar("Record")


def to_json(value: Any) -> Any:
    """Return `value` as JSON's own types: dataclasses become objects, tuples arrays, NumPy numbers plain ones."""
    if dataclasses.is_dataclass(value):
        return {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    if hasattr(value, "item") and callable(value.item):
        return value.item()
    return value


def from_json(record: type[Record], value: Any, where: str) -> Record:
    """Return the dataclass `record` that the parsed JSON `value` describes; fields it does not know are left out.

    Fields may be str, bool, int, float, Any, other dataclasses, `X | None`, `tuple[X, ...]`, `dict[str, X]`.

    Args:
        record: a dataclass.
        value: an object as `json.load` returns it.
        where: what to call the value in a message, for example a file's name.

    Raises:
        ValueError: a field is missing or of another type; the message names its path.
    """
    fields = _expect(value, dict, "an object", where)
    hints = typing.get_type_hints(record)
    found: dict[str, Any] = {}
    for field in dataclasses.fields(record):  # type: ignore[arg-type]  # the caller passes a dataclass
        if field.name in fields:
            found[field.name] = _decode(hints[field.name], fields[field.name], f"{where}: {field.name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{where}: the key {field.name!r} is missing")
    return record(**found)


def _decode(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return None if value is None else _decode(arguments[0], value, where)
    if origin is tuple:
        items = _expect(value, list, "an array", where)
        return tuple(_decode(arguments[0], item, f"{where}[{index}]") for index, item in enumerate(items))
    if origin in (dict, Mapping):
        pairs = _expect(value, dict, "an object", where)
        return {key: _decode(arguments[1], item, f"{where}.{key}") for key, item in pairs.items()}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_json(hint, value, where)
    return _decode_plain(hint, value, where)


def _decode_plain(hint: Any, value: Any, where: str) -> Any:
    if hint is Any:
        return value
    if hint is float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{where} must be a number, got {value!r}")
        return float(value)
    if isinstance(value, bool) and hint is int:
        raise ValueError(f"{where} must be an integer, got {value!r}")
    return _expect(value, hint, f"of type {hint.__name__}", where)


def _expect(value: Any, kind: type, called: str, where: str) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"{where} must be {called}, got {value!r:.80}")  # noqa: TRY004 - the file is at fault
    return value
