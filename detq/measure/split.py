"""How an image's time divides into preprocessing, model and postprocessing.

Of detectors with masks, whose pasting is most of what follows the layers. They are watched from outside by two hooks, a
microsecond each: where `transform` has resized the image, and where the last of the layers has answered. A detector
without those parts, such as a scripted one, is not divided, and one without masks stays without hooks.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from typing import Any

__all__ = ["PARTS", "Marks", "Split", "watching"]

PARTS = ("preprocess_ms", "model_ms", "postprocess_ms")


@dataclass(frozen=True)
class Split:
    """The parts of one image's time; they add up to all of it.

    Attributes:
        preprocess_ms: converting and resizing the image.
        model_ms: all layers, and the choice of boxes between them.
        postprocess_ms: scaling boxes back, and pasting masks.
    """

    preprocess_ms: float
    model_ms: float
    postprocess_ms: float

    def to_row(self) -> tuple[float, ...]:
        """Return the values of `PARTS`."""
        return astuple(self)


class Marks:
    """The times at which the watched detector passed from one part to the next, in nanoseconds."""

    def __init__(self) -> None:
        self._resized = self._answered = 0

    def mark_resized(self, *_: Any) -> None:
        """Take note that the image is resized."""
        self._resized = time.perf_counter_ns()

    def mark_answered(self, *_: Any) -> None:
        """Take note that the last layer has answered."""
        self._answered = time.perf_counter_ns()

    def split(self, start: int, end: int) -> Split | None:
        """Return the parts of the time from `start` to `end`, or None where a mark does not lie between them."""
        if not start <= self._resized <= self._answered <= end:
            return None
        edges = (start, self._resized, self._answered, end)
        return Split(*((after - before) / 1e6 for before, after in itertools.pairwise(edges)))


@contextlib.contextmanager
def watching(predictor: Any) -> Iterator[Marks]:
    """Watch a predictor's `module`, if it finds masks and has torchvision's parts, while the block runs."""
    marks = Marks()
    module = getattr(predictor, "module", None) if getattr(predictor, "has_masks", False) else None
    watched = {"transform": marks.mark_resized, "roi_heads": marks.mark_answered}
    hooks = {name: getattr(getattr(module, name, None), "register_forward_hook", None) for name in watched}
    handles = []
    if None not in hooks.values():
        with contextlib.suppress(RuntimeError):  # a scripted module takes no hooks
            handles = [hook(watched[name]) for name, hook in hooks.items() if hook is not None]
    try:
        yield marks
    finally:
        for handle in handles:
            handle.remove()
