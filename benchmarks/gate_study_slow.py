"""Put into a clone by `gate_study.py`: spends a fraction of an image's own time once more in one stage."""

from __future__ import annotations

import statistics
import time


def slow_down(predictor, path: str, fraction: float) -> None:
    """Make the module at `path` take longer by `fraction` of what a whole image takes without this.

    A staged or scripted detector has no such module, and stays as it is.
    """
    own, added, predict = [], [0.0], predictor.predict

    def timed(image, **options):
        start, added[0] = time.perf_counter(), 0.0
        found = predict(image, **options)
        own.append(time.perf_counter() - start - added[0])
        return found

    def spend(*_: object) -> None:
        if len(own) > 1:
            added[0] = fraction * statistics.median(own[-9:])
            end = time.perf_counter() + added[0]
            while time.perf_counter() < end:
                pass

    predictor.module.get_submodule(path).register_forward_hook(spend)
    predictor.predict = timed
