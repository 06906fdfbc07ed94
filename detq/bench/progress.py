"""Saying how far a measurement is, past pytest's capturing: minutes without a sign of life look like a hang."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext

import pytest

__all__ = ["Progress"]

STEPS = 10


class Progress:
    """Lines in the terminal: a title, then one line for each tenth; on a terminal one line that is rewritten."""

    def __init__(self, config: pytest.Config) -> None:
        self._reporter = config.pluginmanager.get_plugin("terminalreporter")
        self._capture = config.pluginmanager.get_plugin("capturemanager")
        self._start = 0.0

    def begin(self, title: str) -> None:
        """Announce a step that takes a while."""
        self._start = time.monotonic()
        self._write(f"detq: {title}", fresh=True)

    def say(self, sentence: str) -> None:
        """Say what takes long at the moment."""
        self._write(f"detq:   {sentence}", fresh=True)

    def update(self, done: int, total: int) -> None:
        """Say that `done` of `total` images are measured, if it is time to."""
        live = self._reporter is not None and self._reporter.isatty
        if not live and done * STEPS // total == (done - 1) * STEPS // total:
            return
        seconds = time.monotonic() - self._start
        rate = done / seconds if seconds else 0.0
        left = (total - done) / rate if rate else 0.0
        text = f"detq:   {done}/{total} images, {rate:.2f} images/s, {left:.0f} s left"
        self._write(text, rewrite=live)
        if live and done == total:
            self._write("")

    def _write(self, text: str, *, fresh: bool = False, rewrite: bool = False) -> None:
        if self._reporter is None:
            return
        with self._uncaptured():
            if rewrite:
                self._reporter.rewrite(text, erase=True)
                return
            if fresh:
                self._reporter.ensure_newline()
            self._reporter.write_line(text)
            self._reporter.flush()

    def _uncaptured(self) -> AbstractContextManager[None]:
        if self._capture is None:
            return nullcontext()
        uncaptured: AbstractContextManager[None] = self._capture.global_and_fixture_disabled()
        return uncaptured
