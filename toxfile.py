"""A tox runner whose virtual environment belongs to its folder, so that environments with equal needs can share one.

tox stores the environment's name in the folder and rebuilds it under another name. Dependencies, extras and Python are
still compared: two environments that need different packages must not share, and would rebuild each other if they did.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tox.plugin import impl
from tox.tox_env.api import ToxEnv
from tox.tox_env.info import Info
from tox.tox_env.python.virtual_env.runner import VirtualEnvRunner
from tox.tox_env.register import ToxEnvRegister


class _FolderInfo(Info):
    @contextmanager
    def compare(self, value: Any, section: str, sub_section: str | None = None) -> Iterator[tuple[bool, Any | None]]:
        if section == ToxEnv.__name__:
            value = {**value, "name": self._path.parent.name}
        with super().compare(value, section, sub_section) as outcome:
            yield outcome


class SharedVirtualEnvRunner(VirtualEnvRunner):
    """A virtual environment known by its `env_dir` instead of its name."""

    @staticmethod
    def id() -> str:
        """Return the name that `runner =` refers to."""
        return "shared-virtualenv"

    @property
    def cache(self) -> Info:
        """Return what the folder remembers of its last set-up."""
        return _FolderInfo(self.env_dir)


@impl
def tox_register_tox_env(register: ToxEnvRegister) -> None:
    """Make the runner known to tox."""
    register.add_run_env(SharedVirtualEnvRunner)
