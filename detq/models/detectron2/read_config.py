"""Reading a user's Detectron2 config: a name of its model zoo, or a YAML file with its `_BASE_`."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

import yaml

from detq.errors import DetqError, UnsupportedError
from detq.models.detectron2.config import Detectron2Config
from detq.models.detectron2.interpret import Computed, config_from, zoo_config
from detq.models.detectron2.options import BASES, ZOO, describe_other

__all__ = ["read_config"]

_MOST_BASES = 16
_ZOO_FOLDERS = ("COCO-Detection", "COCO-InstanceSegmentation")


def read_config(text: str) -> Detectron2Config:
    """Return the config that `--config text` means.

    Args:
        text: a name of Detectron2's model zoo, as `mask_rcnn_R_50_FPN_3x` or
            `COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml`, or the path of a YAML file. Nothing in it is run.

    Raises:
        UnknownNameError: no such name; the message offers close matches.
        UnsupportedError: another kind of detector, or options that detq does not support, all of them named.
        DetqError: the file is missing or not a readable config.
    """
    path = Path(text)
    if path.suffix.lower() == ".py":
        raise UnsupportedError(f"--config {text}: expected YAML, found Python, which detq does not run; {_WRITTEN}")
    is_file = path.suffix.lower() in {".yaml", ".yml"} or path.is_file()
    if not is_file:
        return zoo_config(text)
    if not path.is_file() and path.parent.name in _ZOO_FOLDERS:
        return zoo_config(path.stem)
    return config_from(path.stem, _read(path, _MOST_BASES), f"--config {text}")


_WRITTEN = "give the config.yaml that Detectron2 wrote into OUTPUT_DIR, or a name of its model zoo"


def _read(path: Path, left: int) -> dict[str, Any]:
    """Return the options of a file over those of its bases."""
    content = _load(path)
    version = content.get("VERSION", 2)
    if version != 2:
        raise UnsupportedError(f"--config {path}: VERSION: expected 2, found {version!r}; {_WRITTEN}")
    bases = content.pop("_BASE_", [])
    options: dict[str, Any] = {}
    for base in bases if isinstance(bases, list) else [bases]:
        options.update(_base(path, str(base), left))
    options.update(_flat(content))
    return options


def _base(path: Path, base: str, left: int) -> Mapping[str, Any]:
    beside = path.parent / Path(base).expanduser()
    if beside.is_file():
        if left == 0:
            raise DetqError(
                f"--config {path}: _BASE_ {base}: more than {_MOST_BASES} files deep; do they name each other?"
            )
        return _read(beside, left - 1)
    name = PurePath(base).stem
    if name in BASES:
        return BASES[name]
    if (what := describe_other(name)) is not None:
        raise UnsupportedError(f"--config {path}: _BASE_ {base}: {what}, which detq does not run")
    raise DetqError(
        f"--config {path}: _BASE_ {base}: expected a file at {beside}, or one of Detectron2's "
        f"{', '.join(sorted(BASES))}; put the file there{_close(name, BASES)}"
    )


class _PlainLoader(yaml.SafeLoader):
    """Plain YAML, in which nothing runs: Detectron2's own `Base-RetinaNet.yaml` computes its anchors with `eval`."""


_PlainLoader.add_multi_constructor("tag:yaml.org,2002:python/", lambda _loader, _suffix, _node: Computed())


def _load(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _PlainLoader)  # noqa: S506  # it is a SafeLoader
    except FileNotFoundError:
        here = {other.name for pattern in ("*.yaml", "*.yml") for other in path.parent.glob(pattern)}
        raise DetqError(
            f"--config {path}: there is no such file{_close(path.name, here | {f'{name}.yaml' for name in ZOO})}; "
            "names of Detectron2's model zoo go without .yaml"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DetqError(f"--config {path}: not a readable file ({error})") from None
    except yaml.YAMLError as error:
        reason = getattr(error, "problem", None) or str(error)
        raise DetqError(f"--config {path}: not readable as plain YAML ({reason}); {_WRITTEN}") from None
    if not isinstance(content, dict):
        raise DetqError(f"--config {path}: expected Detectron2's options, found {type(content).__name__}; {_WRITTEN}")
    if "MODEL" not in content and isinstance(content.get("model"), dict):
        raise UnsupportedError(
            f"--config {path}: expected Detectron2's options (MODEL, INPUT, …), found a LazyConfig, which detq does "
            "not run; write what it changes as such options, over a _BASE_ of the model zoo"
        )
    return content


def _close(name: str, choices: Any) -> str:
    found = difflib.get_close_matches(name, sorted(choices), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(found)}?" if found else ""


def _flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested options under their dotted names, and values as Detectron2 understands them."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            flat.update(_flat(value, f"{name}."))
        else:
            flat[name] = _value(value)
    return flat


def _value(value: Any) -> Any:
    """Return lists as tuples, and what a string spells: Detectron2's files write `(640, 800)` and `1e-3` as text."""
    if isinstance(value, str) and "\\" not in value:  # Python warns of paths of Windows
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return value
    return tuple(map(_value, value)) if isinstance(value, list | tuple) else value
