"""What pytest needs at the root: its own plugin for tests of plugins. detq's plugin is an entry point."""

from __future__ import annotations

pytest_plugins = ["pytester"]
