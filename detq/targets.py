"""Dotted targets, `package.module:attribute`: how a frozen spec names the code it stands for without importing it."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["resolve"]


def resolve(target: str) -> Any:
    """Import and return what `target`, written `package.module:attribute`, names.

    Raises:
        ImportError: the module, or something that it imports, is not installed.
        AttributeError: the module has no such attribute.
    """
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)
