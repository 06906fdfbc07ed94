"""Progress of a training: a bar with losses, rate and time left on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

from detq.training.progress import StepReport, TrainProgress

__all__ = ["SECONDS_A_LINE", "describe_step", "train_progress_for"]

SECONDS_A_LINE = 30.0


def describe_step(report: StepReport) -> str:
    """Return losses, learning rate, images/s and time left in a line.

    >>> describe_step(StepReport(5, 10, {"loss_classifier": 0.25, "loss_box_reg": 0.5}, 2e-4, 3.2, 75.0))
    'loss 0.750 (classifier 0.250, box_reg 0.500), lr 2.0e-04, 3.2 images/s, 1:15 left'
    """
    parts = ", ".join(f"{name.removeprefix('loss_')} {value:.3f}" for name, value in report.losses.items())
    minutes, seconds = divmod(round(report.eta_s), 60)
    hours, minutes = divmod(minutes, 60)
    left = f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
    return (
        f"loss {sum(report.losses.values()):.3f} ({parts}), lr {report.learning_rate:.1e}, "
        f"{report.images_per_s:.1f} images/s, {left} left"
    )


class BarProgress(TrainProgress):
    """A bar for each stage, on standard error."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None

    def say(self, text: str) -> None:
        """Print above the bar."""
        self._console.print(Text(text))

    def step(self, report: StepReport) -> None:
        """Move the bar of steps."""
        self._update("training", report.step, report.total, describe_step(report))

    def count(self, what: str, done: int, total: int) -> None:
        """Move the bar of another stage."""
        self._update(what, done, total, "")

    def _update(self, what: str, done: int, total: int, detail: str) -> None:
        if self._bar is None:
            columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn())
            self._bar = RichProgress(
                *columns, TextColumn("{task.fields[detail]}"), console=self._console, transient=True
            )
            self._bar.start()
            self._task = self._bar.add_task(what, total=total, detail=detail)
        if self._task is not None:
            self._bar.update(self._task, completed=done, total=total, detail=detail)

    def end_stage(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
        self._bar = self._task = None


class LineProgress(TrainProgress):
    """A line for the first and the last step and every half minute, on standard error: for logs."""

    def __init__(self) -> None:
        self._last = 0.0

    def say(self, text: str) -> None:
        """Print a line."""
        print(text, file=sys.stderr, flush=True)

    def step(self, report: StepReport) -> None:
        """Print a line for the first and the last step, and if the last line is half a minute old."""
        if self._due() or report.step == report.total:
            self.say(f"step {report.step}/{report.total}: {describe_step(report)}")

    def count(self, what: str, done: int, total: int) -> None:
        """Print a line if the last one is half a minute old."""
        if self._last == 0.0:
            self._last = time.monotonic()  # a quick stage says nothing
        if self._due():
            self.say(f"{what}: {done}/{total}")

    def end_stage(self) -> None:
        """Let the next stage begin with a line of its own."""
        self._last = 0.0

    def _due(self) -> bool:
        now = time.monotonic()
        if self._last and now - self._last < SECONDS_A_LINE:
            return False
        self._last = now
        return True


def train_progress_for(*, quiet: bool = False) -> TrainProgress:
    """Return what fits standard error: a bar on a terminal, lines elsewhere, nothing where `quiet`."""
    if quiet:
        return TrainProgress()
    console = Console(stderr=True)
    return BarProgress(console) if console.is_terminal else LineProgress()
