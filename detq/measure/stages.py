"""How an image's time divides among the named stages of a detector, watched from outside.

A `StagedDetector` has its stages as steps; torchvision's own modules are watched by hooks, and what lies between the
modules belongs to the stage that comes next or before. What neither has, such as a scripted detector, is not divided.
"""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from detq.models.stages import STAGES, stage_of

if TYPE_CHECKING:
    from torch import nn

__all__ = ["StageClock", "watching_stages"]

_WATCHED = (
    "transform",
    "backbone",
    "rpn",
    "rpn.head",
    "head",
    "roi_heads",
    "roi_heads.box_roi_pool",
    "roi_heads.box_head",
    "roi_heads.box_predictor",
    "roi_heads.mask_roi_pool",
    "roi_heads.mask_head",
    "roi_heads.mask_predictor",
)
_AFTER = {"roi_heads": "paste", "head": "postprocess"}
"""Module -> whose time it is once the module has returned to the detector."""


class StageClock:
    """Adds up the time of each stage; a stage inside another one counts for itself alone.

    Attributes:
        proposals: how many reached the box head of the last image, or None.
    """

    def __init__(self) -> None:
        self.proposals: int | None = None
        self._spent: dict[str, int] = defaultdict(int)
        self._open: list[str] = []
        self._outside = STAGES[0]
        self._since = 0

    def start(self) -> None:
        """Begin an image."""
        self._spent.clear()
        self._open.clear()
        self.proposals, self._outside = None, STAGES[0]
        self._since = time.perf_counter_ns()

    def stop(self) -> tuple[float, dict[str, float]]:
        """End the image; return its milliseconds, and those of each stage, which add up to them."""
        self._charge()
        spent = {stage: self._spent[stage] / 1e6 for stage in sorted(self._spent, key=_place)}
        return sum(spent.values()), spent

    def enter(self, stage: str) -> None:
        """Begin a stage."""
        self._charge()
        self._open.append(stage)

    def leave(self, after: str) -> None:
        """End the innermost stage; until another begins outside of all, the time is that of `after`."""
        self._charge()
        self._open.pop()
        self._outside = after

    def _charge(self) -> None:
        now = time.perf_counter_ns()
        self._spent[self._open[-1] if self._open else self._outside] += now - self._since
        self._since = now


def _place(stage: str) -> int:
    return STAGES.index(stage) if stage in STAGES else len(STAGES)


@contextlib.contextmanager
def watching_stages(module: Any) -> Iterator[StageClock | None]:
    """Yield a clock that the stages of `module` move while the block runs, or None where they cannot be watched.

    Args:
        module: a staged detector, or one with torchvision's parts.
    """
    steps = getattr(module, "steps", None)
    if isinstance(steps, dict):
        with _steps_watched(steps) as clock:
            yield clock
        return
    parts = _parts(module)
    with _hooked(parts) if parts else contextlib.nullcontext() as clock:
        yield clock


@contextlib.contextmanager
def _steps_watched(steps: dict[str, Callable[[Any], None]]) -> Iterator[StageClock]:
    clock, before = StageClock(), dict(steps)

    def timed(stage: str, step: Callable[[Any], None]) -> Callable[[Any], None]:
        def run(frame: Any) -> None:
            clock.enter(stage)
            step(frame)
            clock.leave(stage)
            if stage == "proposals":
                clock.proposals = len(frame.proposals)

        return run

    steps.update({stage: timed(stage, step) for stage, step in before.items()})
    try:
        yield clock
    finally:
        steps.update(before)


def _parts(module: Any) -> dict[str, nn.Module]:
    """Return the parts of a torchvision detector that are called as modules, by path; none of other modules."""
    import torch

    if not isinstance(module, torch.nn.Module) or isinstance(module, torch.jit.ScriptModule):
        return {}
    modules = dict(module.named_modules())
    found = {path: modules[path] for path in _WATCHED if path in modules}
    return found if {"transform", "backbone"} <= found.keys() else {}


@contextlib.contextmanager
def _hooked(parts: dict[str, nn.Module]) -> Iterator[StageClock]:
    clock = StageClock()

    def hooks(path: str) -> tuple[Any, Any]:
        stage = stage_of(path)

        def enter(_module: Any, given: tuple[Any, ...]) -> None:
            clock.enter(stage)
            if stage == "box_pool":
                clock.proposals = sum(len(boxes) for boxes in given[1])

        def leave(*_: Any) -> None:
            clock.leave(_AFTER.get(path, stage))

        return enter, leave

    handles = []
    for path, part in parts.items():
        enter, leave = hooks(path)
        handles += [part.register_forward_pre_hook(enter), part.register_forward_hook(leave)]
    try:
        yield clock
    finally:
        for handle in handles:
            handle.remove()
