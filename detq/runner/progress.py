"""How a run tells what it is doing, without knowing about terminals."""

from __future__ import annotations

__all__ = ["Progress"]


class Progress:
    """Receives what a run does; this one keeps it to itself, the command line's subclass shows it."""

    def begin(self, stage: str, total: int, done: int = 0) -> None:
        """Enter a stage, for example "measuring", of `total` steps, `done` of which an earlier session did."""

    def step(self, done: int) -> None:
        """Say that `done` steps of the stage are done."""

    def end(self) -> None:
        """Leave the stage."""

    def say(self, text: str) -> None:
        """Say one sentence that the user should know."""
