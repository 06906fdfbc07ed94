"""The paired gate, `detq gate --base REF`: two commits side by side, each in worker processes of its own."""

from __future__ import annotations

__all__: list[str] = []
