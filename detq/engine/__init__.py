"""The staged engine: a detector as named stages, each compiled and quantized by itself."""

from __future__ import annotations

__all__: list[str] = []
