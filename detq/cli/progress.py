"""Progress of long work: a bar with images/s and time left on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

from detq.runner.progress import Progress

__all__ = ["progress_for"]

SECONDS_A_LINE = 30.0


class _Rate(ProgressColumn):
    """Steps a second since this session began, or seconds a step where those are more readable."""

    def render(self, task: Task) -> Text:
        if not task.speed:
            return Text("")
        return Text(f"{task.speed:.1f}/s" if task.speed >= 1 else f"{1 / task.speed:.1f} s each")


class BarProgress(Progress):
    """A bar for each stage, on standard error."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: RichProgress | None = None
        self._task: TaskID | None = None

    def begin(self, stage: str, total: int, done: int = 0) -> None:
        """Show a bar."""
        self._bars = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(compact=True),
            console=self._console,
            speed_estimate_period=60,
            transient=True,
        )
        self._bars.start()
        self._task = self._bars.add_task(stage, total=total, completed=done)

    def step(self, done: int) -> None:
        """Move the bar."""
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, completed=done)

    def end(self) -> None:
        """Take the bar away."""
        if self._bars is not None:
            self._bars.stop()
        self._bars = None

    def say(self, text: str) -> None:
        """Print above the bar."""
        self._console.print(Text(text))


class LineProgress(Progress):
    """A line when a long stage begins and every half minute, on standard error: for logs."""

    def __init__(self) -> None:
        self._stage, self._total, self._first = "", 0, 0
        self._start = self._last = 0.0

    def begin(self, stage: str, total: int, done: int = 0) -> None:
        """Remember the stage; a quick one says nothing."""
        self._stage, self._total, self._first = stage, total, done
        self._start = self._last = time.monotonic()

    def step(self, done: int) -> None:
        """Print a line if the last one is half a minute old."""
        now = time.monotonic()
        if now - self._last < SECONDS_A_LINE:
            return
        self._last = now
        rate = (done - self._first) / (now - self._start)
        left = f", {(self._total - done) / rate:.0f} s left" if rate > 0 else ""
        self.say(f"{self._stage}: {done}/{self._total}, {rate:.2f}/s{left}")

    def say(self, text: str) -> None:
        """Print a line."""
        print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def progress_for(*, quiet: bool = False) -> Iterator[Progress]:
    """Yield what fits standard error, then end it: a bar on a terminal, lines elsewhere, nothing where `quiet`."""
    console = Console(stderr=True)
    shown = Progress() if quiet else BarProgress(console) if console.is_terminal else LineProgress()
    try:
        yield shown
    finally:
        shown.end()
