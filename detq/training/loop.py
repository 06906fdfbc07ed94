"""All steps of a training, with checkpoints, the file of losses and interruptions."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from detq.errors import DataError, DetqError
from detq.training.checkpoint import Progressed, load_checkpoint, save_checkpoint
from detq.training.config import TrainConfig
from detq.training.data import TrainingImages, batches
from detq.training.fast import accelerated
from detq.training.folder import Folder
from detq.training.freeze import freeze
from detq.training.interrupts import stop_signals
from detq.training.learner import Learner
from detq.training.losses import LossFile, Smoothed
from detq.training.optimizer import make_optimizer
from detq.training.precision import Compute, deterministic
from detq.training.progress import StepReport, TrainProgress

__all__ = ["Loop"]


@contextlib.contextmanager
def _told_of_workers() -> Iterator[None]:
    """Turn what torch raises, wherever the process is, when a process that loads images ends, into a sentence."""
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        reason = str(error).splitlines()[0].rstrip(" .")
        raise DetqError(
            f"--workers: expected the processes that load images to live as long as the training, but {reason}; free "
            "some memory or ask for fewer workers, and go on from the last checkpoint with the same command and "
            "--resume"
        ) from None


@dataclass(frozen=True)
class Loop:
    """A training that is ready to run.

    Attributes:
        config: what was asked for.
        steps: in all.
        short_sides: to draw from, in pixels; empty for a model that resizes to a fixed size.
        compute: where and in which precision.
        folder: for checkpoints and losses.
        progress: told about each step.
    """

    config: TrainConfig
    steps: int
    short_sides: tuple[int, ...]
    compute: Compute
    folder: Folder
    progress: TrainProgress

    def run(self, module: nn.Module, images: TrainingImages) -> Progressed:
        """Train `module` in place, from the folder's checkpoint if there is one, and return how far it is: to the end.

        Raises:
            KeyboardInterrupt: it was interrupted; a checkpoint was written before.
            DetqError: a loss is not finite, or a file cannot be read (then a checkpoint was written) or written.
        """
        config = self.config
        freeze(module.to(self.compute.device).train(), config)
        exact = deterministic() if self.compute.device == "cpu" else contextlib.nullcontext()
        with accelerated(module, channels_last=True), exact, stop_signals() as stop:
            optimizer = make_optimizer(module, learning_rate=config.learning_rate, weight_decay=config.weight_decay)
            done = load_checkpoint(self.folder.checkpoint, module, optimizer)
            if done.step:
                self.progress.say(f"going on after step {done.step} of {self.steps}")
            learner = Learner(module, optimizer, config, self.compute, self.short_sides, self.steps)
            if done.step < self.steps:
                with _told_of_workers():
                    done = self._steps(learner, images, done, stop)
        module.to("cpu").eval()
        return done

    def _steps(self, learner: Learner, images: TrainingImages, before: Progressed, stop: threading.Event) -> Progressed:
        config, smoothed, progressed = self.config, Smoothed(), before
        loaded = batches(
            images, first_step=before.step, steps=self.steps, size=config.batch_size, workers=config.workers
        )
        started = last = saved = time.monotonic()
        with LossFile.opened(self.folder.losses, before.step) as file:
            try:
                for step, samples in enumerate(loaded, start=before.step):
                    rate, side = learner.prepare(step)
                    losses = learner.learn(samples, step)
                    file.write(step + 1, rate, side, losses)
                    now = time.monotonic()
                    progressed = Progressed(step + 1, before.seconds + now - started)
                    self._report(progressed.step, smoothed.update({"seconds": now - last, **losses}), rate)
                    last = now
                    due = now - saved >= config.checkpoint_minutes * 60
                    if due or stop.is_set() or progressed.step == self.steps:
                        save_checkpoint(self.folder.checkpoint, learner.module, learner.optimizer, progressed)
                        saved = time.monotonic()
                    if stop.is_set():
                        self._stop(progressed)
            except DataError:  # of a file, and the parameters are those of the step before
                save_checkpoint(self.folder.checkpoint, learner.module, learner.optimizer, progressed)
                raise
        self.progress.end_stage()
        return progressed

    def _stop(self, progressed: Progressed) -> None:
        self.progress.end_stage()
        self.progress.say(
            f"interrupted; step {progressed.step} of {self.steps} is saved: go on with the same command and --resume"
        )
        raise KeyboardInterrupt

    def _report(self, step: int, means: dict[str, float], rate: float) -> None:
        seconds = means.pop("seconds")
        self.progress.step(
            StepReport(
                step=step,
                total=self.steps,
                losses=means,
                learning_rate=rate,
                images_per_s=self.config.batch_size / seconds,
                eta_s=seconds * (self.steps - step),
            )
        )
