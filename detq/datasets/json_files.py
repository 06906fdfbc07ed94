"""Reading annotation JSON, and telling by its content which tool wrote it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from detq.errors import DataError

__all__ = ["describe_json", "json_format", "load_json", "sniff_json"]


class _RepeatedKeyError(ValueError):
    pass


def load_json(path: Path, expected: str) -> Any:
    """Return the JSON in a file; UTF-8 with or without a byte order mark.

    Args:
        path: the file.
        expected: what it is to hold, for messages: "VIA JSON".

    Raises:
        DataError: it is no JSON, or an object in it has two entries of one name, of which JSON would keep the last.
    """
    try:
        return json.loads(path.read_bytes(), object_pairs_hook=_unique)
    except _RepeatedKeyError as error:
        raise DataError(
            f"{path}: expected each key of an object once, found {error} twice; rename or remove one of the two"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        found = "an empty file" if path.is_file() and not path.stat().st_size else str(error)
        raise DataError(f"{path}: expected {expected}, found {found}; export the annotations again") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        raise _RepeatedKeyError(next(f"{key!r:.80}" for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]
    return found


def json_format(content: Any) -> str | None:
    """Return which of detq's formats parsed JSON is in: coco, via or labelme; None for another kind."""
    return next((name for name, fits in _FORMATS.items() if fits(content)), None)


def sniff_json(path: Path) -> str | None:
    """Return which of detq's formats a JSON file is in, or None for another kind or no JSON.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}; check its permissions") from None
    # To parse half a gigabyte only to recognise it would double the time to open it.
    likely = [name for name, words in _WORDS.items() if all(word in text for word in words)]
    if len(likely) == 1:
        return likely[0]
    try:
        return json_format(json.loads(text))
    except (ValueError, RecursionError):
        return None


def describe_json(content: Any) -> str:
    """Return what parsed JSON seems to be and what to do with it, for a message that refuses it."""
    known = json_format(content)
    if known is not None:
        return f"{_TITLES[known]}; open it with --format {known}"
    named = next((name for name, fits in _OTHERS.items() if fits(content)), None)
    if named is not None:
        return named
    if isinstance(content, dict):
        listed = ", ".join(repr(key)[:40] for key in list(content)[:8])
        return f"an object with {f'the keys {listed}' if listed else 'no keys'}; export the annotations again"
    if isinstance(content, list):
        first = content[0] if content else None
        keys = f" of objects with {', '.join(map(repr, list(first)[:8]))}" if isinstance(first, dict) else ""
        return f"a list{keys or f' of {len(content)} values'}; export the annotations again"
    return f"a lone {type(content).__name__}; export the annotations again"


def via_images(content: Any) -> Mapping[str, Any] | None:
    """Return the images of a VIA 1.x or 2.x export or project by their keys, or None for other JSON."""
    if not isinstance(content, dict):
        return None
    if isinstance(content.get("_via_img_metadata"), dict):
        found: Mapping[str, Any] = content["_via_img_metadata"]
        return found
    entries = list(content.values())
    is_via = bool(entries) and all(isinstance(entry, dict) and "regions" in entry for entry in entries)
    return content if is_via else None


def _is_coco(content: Any) -> bool:
    keys = ("images", "annotations", "categories")
    return isinstance(content, dict) and all(isinstance(content.get(key), list) for key in keys)


def _is_labelme(content: Any) -> bool:
    return isinstance(content, dict) and isinstance(content.get("shapes"), list) and "imagePath" in content


_FORMATS: Mapping[str, Callable[[Any], bool]] = {
    "coco": _is_coco,
    "via": lambda content: via_images(content) is not None,
    "labelme": _is_labelme,
}
_TITLES = {"coco": "COCO JSON", "via": "VIA annotations", "labelme": "a labelme file"}
_WORDS = {
    "coco": (b'"images"', b'"annotations"', b'"categories"'),
    "via": (b'"regions"', b'"filename"'),
    "labelme": (b'"shapes"', b'"imagePath"'),
}


def _entries_have(*keys: str) -> Callable[[Any], bool]:
    def fits(content: Any) -> bool:
        return (
            isinstance(content, list)
            and bool(content)
            and all(isinstance(entry, dict) and all(key in entry for key in keys) for entry in content[:20])
        )

    return fits


def _has(*keys: str) -> Callable[[Any], bool]:
    return lambda content: isinstance(content, dict) and all(key in content for key in keys)


_OTHERS: Mapping[str, Callable[[Any], bool]] = {
    "COCO results, which are predictions; those go to detq eval --predictions": _entries_have(
        "image_id", "category_id", "score"
    ),
    "CreateML annotations; export them as COCO, VIA, VOC or YOLO": _entries_have("image", "annotations"),
    "a Label Studio export; export it as COCO, VOC or YOLO": _entries_have("data", "annotations"),
    "a VIA 3 project; open it in VIA 3 and export it as COCO": _has("project", "file", "metadata", "view"),
    "a Supervisely annotation; export the project as COCO": _has("objects", "size"),
    "GeoJSON, whose coordinates are no pixels; export the annotations as COCO": _has("type", "features"),
    "results of detq, not annotations; name the data set instead": lambda content: (
        isinstance(content, dict) and str(content.get("format", "")).startswith("detq-")
    ),
    "a part of COCO JSON without one of the lists images, annotations and categories; export all three": (
        lambda content: isinstance(content, dict) and any(key in content for key in ("images", "annotations"))
    ),
}
