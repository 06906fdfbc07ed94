"""How a data set is to be read: options from the command line, or from the query after its path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from detq.datasets.category_from import CategoryRule
from detq.errors import DataError, unknown_name

__all__ = ["Options", "category_rule", "parse_classes", "parse_location", "refuse_category", "refuse_options"]

_FLAGS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
# What a query calls an option -> the field below.
_QUERY = {
    "format": "format",
    "classes": "classes",
    "map": "class_map",
    "split": "split",
    "allow_unlabelled": "allow_unlabelled",
    "unlabelled": "unlabelled",
    "category_from": "category_from",
    "category": "category",
}


@dataclass(frozen=True)
class Options:
    """How to read a data set.

    Attributes:
        format: a format's name; None to recognise it.
        classes: the names that the files' class numbers are indices into; None for the data set's own.
        class_map: which classes to keep and merge, `car=1,2;truck=4`; None for all.
        split: which part of a `data.yaml` to read: train, val or test.
        allow_unlabelled: an image without a label file is background instead of a mistake.
        unlabelled: there are no labels, or they are not to be read.
        category_from: the dotted path to an annotation's class, where the format leaves it to attributes.
        category: the class of all annotations, or of those that have nothing at `category_from`.
    """

    format: str | None = None
    classes: tuple[str, ...] | None = None
    class_map: str | None = None
    split: str | None = None
    allow_unlabelled: bool = False
    unlabelled: bool = False
    category_from: str | None = None
    category: str | None = None


def category_rule(options: Options, path: str) -> CategoryRule:
    """Return how to find classes in a format that has them at `path` if nothing else is said.

    Raises:
        DataError: the name for all is none.
    """
    category = None if options.category is None else options.category.strip()
    if category == "":
        raise DataError(f"--category: expected a name, found {options.category!r}; leave it out or name the class")
    if options.category_from is None and category is not None:
        return CategoryRule(None, category)
    return CategoryRule(options.category_from or path, category)


def refuse_options(path: Path, options: Options, why: str) -> None:
    """Refuse options that speak of class numbers and of a `data.yaml`, for formats that have neither.

    Raises:
        DataError: one was given.
    """
    if options.classes is not None:
        raise DataError(f"--classes does not go with {path}: {why}; leave it out, or choose some with --map car=car")
    if options.split is not None:
        raise DataError(f"option split={options.split} goes with YOLO's data.yaml; name the file or folder to read")


def refuse_category(path: Path, options: Options, why: str) -> None:
    """Refuse the options that choose an attribute for the class, for formats that name classes themselves.

    Raises:
        DataError: one was given.
    """
    for option, value in (("--category-from", options.category_from), ("--category", options.category)):
        if value is not None:
            raise DataError(
                f"{option} does not go with {path}: {why}; leave it out, or merge classes with --map NAME=A,B"
            )


def parse_classes(text: str) -> tuple[str, ...]:
    """Return class names from `pedestrian,car,…`, or from a file with one name a line.

    Raises:
        DataError: the file does not exist or names nothing.
    """
    path = Path(text)
    if path.suffix.lower() in (".txt", ".names", ".list") or (path.name != text and "," not in text):
        return read_names(path)
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise DataError(f"--classes: expected names such as pedestrian,car, found an empty one in {text!r}")
    return names


def read_names(path: Path) -> tuple[str, ...]:
    """Return the class names in a file with one name a line; blank lines at its end do not count."""
    try:
        names = [line.strip() for line in path.read_text(encoding="utf-8-sig").rstrip().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--classes: expected a text file with one name a line in {path}, found: {error}") from None
    if not all(names) or not names:
        raise DataError(f"--classes: expected one name a line in {path}, found an empty line or file; remove it")
    return tuple(names)


def parse_location(path: str | Path, options: Options) -> tuple[Path, Options]:
    """Split `DIR?map=car=1,2&format=yolo` into the path and the options, unless a file of that very name exists.

    Raises:
        DataError: an option is unknown or malformed, or `options` says otherwise.
    """
    text, mark, query = str(path).rpartition("?")
    if not mark or Path(path).exists():
        return Path(path).expanduser(), options
    for part in filter(None, query.split("&")):
        name, _, raw = part.partition("=")
        if name not in _QUERY:
            raise unknown_name(f"option in {str(path)!r}", name, _QUERY)
        options = _with(options, _QUERY[name], name, unquote(raw))
    return Path(text).expanduser(), options


def _with(options: Options, field: str, name: str, raw: str) -> Options:
    value: Any = raw
    if field == "classes":
        value = parse_classes(raw)
    elif isinstance(getattr(options, field), bool):
        value = _FLAGS.get(raw.lower())
    if value in (None, ""):
        raise DataError(f"option {name} of a data set: expected {'1 or 0' if raw else 'a value'}, found {raw!r}")
    given = getattr(options, field)
    if given and given != value:
        raise DataError(
            f"option {name} of a data set is given twice: {_show(given)} as an option, {raw!r} in the path; keep one"
        )
    return replace(options, **{field: value})


def _show(given: str | Sequence[str] | bool) -> str:
    return given if isinstance(given, str) else str(given) if isinstance(given, bool) else ",".join(given)
