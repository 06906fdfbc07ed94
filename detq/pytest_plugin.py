"""The pytest plugin of detq: does nothing in a session that does not run detq's benchmarks."""

from __future__ import annotations

__all__: list[str] = []
