"""What the pytest plugin does in a session that runs detq's benchmarks: settings, measuring, comparing, reporting."""

from __future__ import annotations

__all__: list[str] = []
