"""Which class of a data set's files becomes which class of detq: names, merging, `--map`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from detq.errors import DataError, unknown_name

__all__ = ["ClassTable", "parse_class_map"]

Key = int | str


def parse_class_map(text: str) -> dict[str, tuple[str, ...]]:
    """Parse `car=1,2;truck=4` into the sources of each class: names, indices or COCO category ids.

    >>> parse_class_map("car=1,2;truck=lorry")
    {'car': ('1', '2'), 'truck': ('lorry',)}

    Raises:
        DataError: an entry is not `NAME=SOURCE,…`, or a source is given twice.
    """
    merged: dict[str, tuple[str, ...]] = {}
    owners: dict[str, str] = {}
    for entry in filter(str.strip, text.split(";")):
        name, _, right = (part.strip() for part in entry.partition("="))
        sources = tuple(source.strip() for source in right.split(",") if source.strip())
        if not name or not sources:
            raise DataError(f"--map: expected NAME=CLASS,CLASS such as car=1,2, found {entry.strip()!r} in {text!r}")
        for source in sources:
            if owners.setdefault(source, name) != name:
                raise DataError(
                    f"--map: class {source!r} cannot become both {owners[source]!r} and {name!r} in {text!r}; keep one"
                )
        merged[name] = tuple(dict.fromkeys((*merged.get(name, ()), *sources)))
    if not merged:
        raise DataError(f"--map: expected NAME=CLASS,CLASS such as car=1,2, found {text!r}; leave it out to keep all")
    return merged


@dataclass(frozen=True)
class ClassTable:
    """From what files call a class (an index, a COCO category id or a word) to a label.

    Attributes:
        classes: the class names, without duplicates.
        labels: what files say -> index into `classes`, or -1 for a class that the map leaves out.
        names: what files say -> the class's own name, for messages and counts.
        is_open: whether what `labels` does not list is left out like a -1 (True), or is a mistake (False).
    """

    classes: tuple[str, ...]
    labels: Mapping[Key, int]
    names: Mapping[Key, str]
    is_open: bool = False

    def label(self, key: Key) -> int:
        """Return the label of `key`, or -1 where the map leaves its class out.

        Raises:
            KeyError: the data set has no such class.
        """
        return self.labels.get(key, -1) if self.is_open else self.labels[key]

    def name(self, key: Key) -> str:
        """Return the class's own name; a class without one is called by its number."""
        return self.names.get(key, str(key))

    @classmethod
    def of(cls, names: Mapping[Any, str], class_map: str | None = None) -> ClassTable:
        """Return the table of a data set whose classes are known: all of them, or those that `class_map` keeps.

        Names that occur twice become one class.

        Raises:
            UnknownNameError: `class_map` names a class that is not there.
            DataError: `class_map` is malformed or ambiguous.
        """
        if class_map is None:
            classes = tuple(dict.fromkeys(names.values()))
            return cls(classes, {key: classes.index(name) for key, name in names.items()}, names)
        wanted = parse_class_map(class_map)
        labels: dict[Key, int] = dict.fromkeys(names, -1)
        for label, sources in enumerate(wanted.values()):
            for source in sources:
                for key in _keys(source, names):
                    if labels[key] not in (-1, label):
                        raise DataError(f"--map: {class_map!r} gives class {names[key]!r} to two classes; keep one")
                    labels[key] = label
        return cls(tuple(wanted), labels, names)

    @classmethod
    def unnamed(cls, class_map: str) -> ClassTable:
        """Return the table of a data set whose classes have only numbers; what `class_map` leaves out is dropped.

        Raises:
            DataError: a source in `class_map` is a name.
        """
        labels: dict[Key, int] = {}
        wanted = parse_class_map(class_map)
        for label, sources in enumerate(wanted.values()):
            for source in sources:
                if not source.isdecimal():
                    raise DataError(
                        f"--map: class {source!r} in {class_map!r} is a name, but the labels have only numbers and "
                        "nothing names them; add --classes NAME,NAME,… or a data.yaml, or write the class's number"
                    )
                labels[int(source)] = label
        return cls(tuple(wanted), labels, {}, is_open=True)


def _keys(source: str, names: Mapping[Key, str]) -> Sequence[Key]:
    """Return the keys that `source` stands for: the classes of that name, or the one of that number."""
    by_name = [key for key, name in names.items() if name == source]
    number = int(source) if source.isdecimal() else None
    by_number = [number] if number is not None and number in names else []
    if by_name and by_number and by_name != by_number:
        raise DataError(
            f"--map: {source!r} is both the name of class {by_name[0]} and the number of class "
            f"{names[by_number[0]]!r}; rename one of them with --classes or in the data set"
        )
    if not by_name and not by_number:
        numbers = {f"{key} ({name})" for key, name in names.items() if isinstance(key, int)}
        raise unknown_name("class in --map", source, numbers or set(names.values()))
    return by_name or by_number
