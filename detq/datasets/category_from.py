"""Which class an annotation has: a dotted path into what the file says about it, or one class for all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from detq.errors import DataError

__all__ = ["CategoryRule", "attribute_paths", "look_up"]

_SHOWN_PATHS = 12
_SHOWN_VALUES = 4
# What describes the outline; a class is no coordinate.
_GEOMETRY = ("shape_attributes", "shape_type", "points", "bndbox", "mask", "polygon", "filename")


@dataclass(frozen=True)
class CategoryRule:
    """How the class of an annotation is found.

    Attributes:
        path: a dotted path such as `region_attributes.Clases`; None for no look.
        fallback: the class of all annotations, or of those that have nothing at `path`.
    """

    path: str | None
    fallback: str | None = None

    def find(self, record: Mapping[str, Any], where: str) -> str:
        """Return the class of the annotation that `record` is.

        Raises:
            DataError: nothing at the path and no fallback, or something that is no name.
        """
        value = None if self.path is None else look_up(record, self.path)
        name = self._name(value, where)
        if name:
            return name
        if self.fallback is not None:
            return self.fallback
        raise DataError(
            f"{where}: expected a class at {self.path}, found {'nothing' if value is None else repr(value)}; fill it "
            "in, or name the class of what has none with --category NAME"
        )

    def _name(self, value: Any, where: str) -> str | None:
        if isinstance(value, Mapping) and all(isinstance(chosen, bool) for chosen in value.values()):
            ticked = [str(option) for option, chosen in value.items() if chosen]  # VIA's checkboxes
            if len(ticked) <= 1:
                return ticked[0].strip() if ticked else None
            raise DataError(
                f"{where}: expected one class at {self.path}, found {len(ticked)} ({', '.join(ticked)[:80]}); "
                "tick one of them"
            )
        if value is None or isinstance(value, str):
            return value and value.strip()
        if isinstance(value, int | float):
            return str(value)
        raise DataError(
            f"{where}: expected a name at {self.path}, found {value!r:.60}; choose another path with --category-from"
        )


def look_up(record: Mapping[str, Any], path: str) -> Any:
    """Return what is at a dotted path, None for nothing; keys may hold dots themselves.

    >>> look_up({"region_attributes": {"a.b": "car"}}, "region_attributes.a.b")
    'car'
    """
    if path in record:
        return record[path]
    for at in (position for position, letter in enumerate(path) if letter == "."):
        inner = record.get(path[:at])
        if isinstance(inner, Mapping):
            found = look_up(inner, path[at + 1 :])
            if found is not None:
                return found
    return None


def attribute_paths(records: Iterable[Mapping[str, Any]]) -> str:
    """Return the paths that lead to names in `records`, with examples, for a message.

    >>> attribute_paths([{"region_attributes": {"kind": "car"}}])
    'region_attributes.kind (car)'
    """
    found: dict[str, Counter[str]] = {}
    for record in records:
        for path, value in _leaves({key: record[key] for key in record if key not in _GEOMETRY}, ""):
            found.setdefault(path, Counter())[value] += 1
    shown = [f"{path} ({_examples(values)})" for path, values in list(found.items())[:_SHOWN_PATHS]]
    more = len(found) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "") or "no attribute at all"


def _examples(values: Counter[str]) -> str:
    shown = ", ".join(value[:30] for value, _ in values.most_common(_SHOWN_VALUES))
    return shown + (", …" if len(values) > _SHOWN_VALUES else "")


def _leaves(record: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in record.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value and all(isinstance(chosen, bool) for chosen in value.values()):
            yield path, next((str(option) for option, chosen in value.items() if chosen), "")
        elif isinstance(value, Mapping):
            yield from _leaves(value, f"{path}.")
        elif isinstance(value, str | int | float) and not isinstance(value, bool):
            yield path, str(value).strip()
