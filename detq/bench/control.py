"""A fixed piece of arithmetic, timed beside every image: how fast the machine itself is at the moment."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["make_control"]


def make_control() -> Callable[[], float]:
    """Return a function that does what detectors do (a convolution, a matrix product) and returns its milliseconds.

    It calls torch's operators on tensors of its own and nothing of detq, so a slower model or a slower detq does not
    slow it down, and a busy or throttled machine does.
    """
    import torch
    from torch.nn.functional import conv2d, linear

    generator = torch.Generator().manual_seed(0)
    image, kernel = (torch.rand(shape, generator=generator) for shape in ((1, 64, 96, 160), (64, 64, 3, 3)))
    rows, weight = (torch.rand(shape, generator=generator) for shape in ((128, 4096), (1024, 4096)))

    def control() -> float:
        with torch.inference_mode():
            start = time.perf_counter_ns()
            conv2d(image, kernel, padding=1)
            linear(rows, weight)
            return (time.perf_counter_ns() - start) / 1e6

    return control
