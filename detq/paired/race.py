"""Running one variant in its three processes, image by image in turns, until its latency is decided."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from detq.errors import DetqError
from detq.gate.trial import SIDES, Trial
from detq.masks import RleMasks
from detq.paired.frames import Frames
from detq.paired.process import Worker
from detq.types import Detections, select_classes

__all__ = ["checked_ms", "race", "rounds_before_look"]

WARM_UP = 2

Decided = Callable[[Trial, int], bool]


def rounds_before_look(look: int) -> int:
    """Return how many rounds over all images to add before the `look`-th look: 1, 1, 2, 4 and so on.

    The data doubles from look to look, so that looks stay few: each costs some of the error probability.
    """
    return 1 if look < 3 else 1 << (look - 2)


def race(
    trial: Trial,
    workers: Mapping[str, Worker],
    frames: Frames,
    classes: Mapping[str, tuple[str, ...]],
    *,
    decided: Decided,
    budget_s: float,
    seed: int,
    step: Callable[[int], None],
    masks: bool = False,
) -> int:
    """Fill `trial` with measurements and return how many looks were taken.

    The first round over all images is always finished: accuracy is judged on it. Only one process computes at a time,
    and for each image their order is random.

    Args:
        trial: to be filled.
        workers: the built processes by side.
        frames: the images.
        classes: names of each side's labels.
        decided: tells from the trial and the number of the look whether more rounds are needed.
        budget_s: seconds after which no further image is begun.
        seed: of all orders.
        step: is told after each image how many were measured.
        masks: keep those of the first round too.
    """
    deadline = time.monotonic() + budget_s
    for index in range(min(WARM_UP, len(frames))):
        for worker in workers.values():
            worker.ask("detect", image=frames.path(index))
    rounds = _rounds(len(frames), seed)
    _first_round(trial, workers, frames, classes, next(rounds), seed, step, masks=masks)
    look = 1
    while not decided(trial, look) and time.monotonic() < deadline:
        look += 1
        for index in [index for _ in range(rounds_before_look(look)) for index in next(rounds)]:
            if time.monotonic() >= deadline:
                break
            _measure(trial, workers, frames, index, seed)
            step(len(trial.images))
    return look


def _first_round(  # noqa: PLR0917  # a part of `race`
    trial: Trial,
    workers: Mapping[str, Worker],
    frames: Frames,
    classes: Mapping[str, tuple[str, ...]],
    order: Sequence[int],
    seed: int,
    step: Callable[[int], None],
    *,
    masks: bool,
) -> None:
    """Measure every image once, and keep what was found in it."""
    wanted = frames.labelled(classes["base"]).classes
    found: dict[int, dict[str, Detections]] = {}
    for index in order:
        answers = _measure(trial, workers, frames, index, seed, masks=masks)
        found[index] = {
            side: select_classes(_detections(answer), classes[side], wanted) for side, answer in answers.items()
        }
        step(len(trial.images))
    for name, side in trial.sides():
        side.detections = [found[index][name] for index in range(len(frames))]


def _rounds(images: int, seed: int) -> Iterator[list[int]]:
    rng = np.random.default_rng([seed, 2])
    while True:
        yield [int(index) for index in rng.permutation(images)]


def _measure(
    trial: Trial, workers: Mapping[str, Worker], frames: Frames, index: int, seed: int, *, masks: bool = False
) -> dict[str, dict[str, Any]]:
    """Run an image through the three processes in random order, and add what that took to the trial."""
    order = np.random.default_rng([seed, 1, len(trial.images)]).permutation(len(SIDES))
    question = {"image": frames.path(index)} | ({"masks": True} if masks else {})
    answers = {SIDES[place]: workers[SIDES[place]].ask("detect", **question) for place in order}
    trial.images.append(index)
    for name, side in trial.sides():
        answer = answers[name]
        side.times_ms.append(checked_ms(answer["ms"], name))
        side.held_bytes.append(answer["held_bytes"])
        side.stages_ms.append(answer["stages_ms"])
    return answers


def checked_ms(value: float, side: str) -> float:
    """Return the time of an image, which the monotonic clock gave.

    Setting the time of day does nothing to that clock. A virtual machine that is moved can.

    Raises:
        DetqError: it is no time.
    """
    if not (math.isfinite(value) and value > 0):
        raise DetqError(
            f"detq gate: expected an image to take some time, the clock says {value:g} ms in the {side}'s process: "
            "this machine's clock stood still or went backwards; run again"
        )
    return value


def _detections(answer: Mapping[str, Any]) -> Detections:
    boxes = np.asarray(answer["boxes"], np.float32).reshape(-1, 4)
    runs = answer.get("masks")
    masks = None if runs is None else RleMasks(runs, tuple(runs[0]["size"]) if runs else (0, 0))
    return Detections(boxes, np.asarray(answer["scores"], np.float32), np.asarray(answer["labels"], np.int64), masks)
