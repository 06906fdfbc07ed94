"""YOLO's `data.yaml`: class names, and where the parts of a data set lie."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from detq.errors import DataError

__all__ = ["YoloYaml", "find_yaml"]

SPLITS = {"train": ("train",), "val": ("val", "valid"), "test": ("test",)}


@dataclass(frozen=True)
class YoloYaml:
    """What a `data.yaml` says.

    Attributes:
        path: the file.
        names: class number -> name; empty where it lists none.
        content: the whole mapping.
    """

    path: Path
    names: Mapping[int, str]
    content: Mapping[str, Any]

    def folders(self, opened: Path, split: str | None) -> list[Path]:
        """Return the image folders to read when the user opened `opened` and asked for `split`.

        Raises:
            DataError: the split is missing, is not there, or one must be chosen.
        """
        if opened not in (self.path, self.path.parent):  # one part of a data set whose yaml lies above
            return [opened]
        if split is not None:
            return self._split(split)
        present = [name for name in SPLITS if self._entry(name) and all(map(Path.is_dir, self._guess(name)))]
        if len(present) == 1:
            return self._split(present[0])
        if present:
            raise DataError(
                f"{self.path}: expected one part of the data set to be chosen, found {', '.join(present)}; "
                f"write {opened}?split={present[-1]} or name its folder"
            )
        named = next((name for name in SPLITS if self._entry(name)), None)
        # A yaml without any part only gives names. Parts that are not there do not mean: take whatever lies around.
        return [self.path.parent] if named is None else self._split(named)

    def _split(self, split: str) -> list[Path]:
        name = next((name for name, aliases in SPLITS.items() if split in (name, *aliases)), split)
        folders = self._guess(name)
        missing = [str(folder) for folder in folders if not folder.is_dir()]
        if not folders or missing:
            found = f"no folder {missing[0]}" if missing else f"the keys {', '.join(map(str, self.content))}"
            raise DataError(f"{self.path}: expected {split}: with a folder of images, found {found}; correct the path")
        return folders

    def _entry(self, name: str) -> list[str]:
        value: Any = next((self.content[key] for key in SPLITS.get(name, (name,)) if self.content.get(key)), [])
        return [str(entry) for entry in (value if isinstance(value, list) else [value])]

    def _guess(self, name: str) -> list[Path]:
        base = self.path.parent / str(self.content.get("path") or "")
        if not base.is_dir():  # exported elsewhere: the yaml's own folder is where the data is
            base = self.path.parent
        folders = []
        for entry in self._entry(name):
            # Roboflow writes ../train/images for what lies beside the yaml.
            choices = [base / entry, base / entry.removeprefix("../")]
            folders.append(next((choice for choice in choices if choice.is_dir()), choices[0]))
        return folders


def find_yaml(path: Path) -> YoloYaml | None:
    """Return the data set's yaml: `path` itself, the one in the folder, or `data.yaml` above it.

    Raises:
        DataError: it cannot be read, or there are several.
    """
    if path.is_file():
        return _read(path)
    inside = sorted(path.glob("*.y*ml"))
    named = [file for file in inside if file.stem == "data"] or inside
    if len(named) > 1:
        names = ", ".join(file.name for file in named)
        raise DataError(f"data set folder {path}: expected one data.yaml, found {names}; name the one to read")
    # train/ or train/images/ was opened, and the yaml lies above train/.
    parents = Path(os.path.abspath(path)).parents[: 2 if path.name == "images" else 1]  # noqa: PTH100  # links stay as they are
    above = [parent / name for parent in parents for name in ("data.yaml", "data.yml")]
    return next((_read(file) for file in [*named, *above] if file.is_file()), None)


def _read(path: Path) -> YoloYaml:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        found = " ".join(str(error).split())
        raise DataError(f"{path}: expected YAML with names:, found: {found}; correct the file") from None
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected YAML with names:, found {type(content).__name__}; correct the file")
    if "kpt_shape" in content:
        raise DataError(f"{path}: expected boxes or polygons, found key points (kpt_shape); export the boxes alone")
    return YoloYaml(path, _names(content.get("names"), path), content)


def _names(names: object, path: Path) -> dict[int, str]:
    pairs = enumerate(names) if isinstance(names, list) else names.items() if isinstance(names, dict) else ()
    listed = {number: str(name).strip() for number, name in pairs if isinstance(number, int)}
    if (names is not None and not isinstance(names, list | dict)) or len(listed) != len(names or ()):
        raise DataError(
            f"{path}: expected names: as a list or as number: name, found {str(names)[:80]!r}; correct the file"
        )
    return listed
