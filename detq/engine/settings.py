"""What a detector's glue is set to, as a digest: which values calibration images show a stage depends on it.

Two detectors may share their weights and resize images differently, suppress other boxes, or drop others by score.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from detq.engine.cache import key_of, own_sources

__all__ = ["glue_digest"]

_TORCHS_OWN = frozenset(vars(nn.Module()))
_FROM_RUNNING = frozenset({"scales", "map_levels"})
"""What torchvision's pooler notes when it runs: it follows from the rest."""


def glue_digest(detector: Any) -> str:
    """Return what differs where the settings, the buffers or the code of a detector's glue do.

    Args:
        detector: torchvision's; its dense stages do not count.
    """
    roi = detector.roi_heads
    dense = (detector.rpn.head, roi.box_head, roi.box_predictor, roi.mask_head, roi.mask_predictor)
    # named_modules returns neither what it is told to have seen nor what lies below
    seen: set[nn.Module] = {module for module in dense if module is not None}
    parts = {"transform": detector.transform, "rpn": detector.rpn, "roi_heads": roi}
    glue = [
        (f"{name}.{path}", module) for name, part in parts.items() for path, module in part.named_modules(memo=seen)
    ]
    return key_of(
        settings=[(path, _class_of(module), dict(_settings(module))) for path, module in glue],
        sources=[hashlib.sha256(file.read_bytes()).hexdigest() for file in own_sources(module for _, module in glue)],
    )


def _settings(module: nn.Module) -> Iterator[tuple[str, Any]]:
    for name, value in vars(module).items():
        if name not in _TORCHS_OWN | _FROM_RUNNING:
            yield name, _plain(value)
    for name, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
        yield name, _plain(tensor)


def _plain(value: Any, *, within: bool = False) -> Any:
    """Return what JSON can hold of a setting; of functions and of what an object holds in turn, the name or class.

    Args:
        value: of any kind.
        within: it belongs to an object that a module holds.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if hasattr(value, "tolist"):  # torch's and numpy's
        return [str(value.dtype), value.tolist()]
    if isinstance(value, Mapping):
        return [[str(name), _plain(one, within=within)] for name, one in value.items()]
    if isinstance(value, list | tuple | set | frozenset):
        ordered = value if isinstance(value, list | tuple) else sorted(value, key=str)
        return [_plain(one, within=within) for one in ordered]
    if callable(value):
        return getattr(value, "__qualname__", _class_of(value))
    held = {} if within else getattr(value, "__dict__", {})
    return [_class_of(value), [[name, _plain(one, within=True)] for name, one in held.items()]]


def _class_of(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"
