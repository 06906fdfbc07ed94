"""A worker process of the paired gate: builds one variant and runs it on images, one line of JSON a question.

It is started by its path with the code to measure on PYTHONPATH, so that it also serves commits that do not have it
yet: it imports nothing of detq before it is asked, and only what detq has had from its first gate on. Questions come on
standard input, `{"do": "detect", …}`; each is answered by one line on what was standard output. Whatever else the
process prints goes to standard error.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import importlib.util
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__: list[str] = []

COLLECT_EVERY = 50


class Session:
    """What this process has built; a method for each question."""

    def __init__(self) -> None:
        self._predictor: Any = None
        self._clock: Any = None
        self._open = contextlib.ExitStack()
        self._start_bytes: int | None = None
        self._images = 0

    def hello(self, threads: int, modules: Sequence[str] = ()) -> dict[str, Any]:
        """Import everything, pin the threads, and say which code and versions this is.

        Args:
            threads: of torch's operators.
            modules: of users' own models, which are only looked for.
        """
        # Before torch, so that code that is not there is known at once.
        if not _exists("detq"):
            return {"detq": None, "missing": []}
        import detq

        missing = [name for name in modules if not _exists(name)]
        if missing:
            return {"detq": str(Path(detq.__file__).resolve()), "missing": missing}
        import torch
        import torchvision

        torch.set_num_threads(threads)
        torch.zeros(1).add_(1)
        return {
            "detq": str(Path(detq.__file__).resolve()),
            "missing": [],
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "torchvision": torchvision.__version__,
            },
        }

    def recipes(self, model: str) -> dict[str, Any]:
        """Return the names of the recipes that this code has for a model."""
        from detq.variants import variants_of

        return {"recipes": [variant.recipe for variant in variants_of(model)]}

    def build(  # noqa: D417  # as in build_predictor
        self,
        variant: str,
        image: str,
        *,
        weights: str | None,
        classes: list[str] | None,
        seed: int,
        calibration: str | None,
    ) -> dict[str, Any]:
        """Build a variant and prove what it runs in int8.

        Args:
            image: a `.npy` file to prove it with.
        """
        from detq.predictor import build_predictor

        more: dict[str, Any] = {}
        if calibration is not None:
            from detq.engine.calibration import CalibrationChoice

            more["calibration"] = CalibrationChoice(calibration)
        _settle()
        self._start_bytes = _status_bytes("VmRSS")
        self._predictor = predictor = build_predictor(
            variant, weights=weights, classes=classes, seed=seed, prove_on=np.load(image), **more
        )
        self._clock = self._watch(predictor.module)
        proof: Any = predictor.proof
        _settle()
        return {
            "classes": list(predictor.classes),
            "meaningful": predictor.meaningful,
            "has_masks": bool(getattr(predictor, "has_masks", False)),
            "weights": predictor.weights.describe(),
            "int8_share": proof.share,
            "int8_by_stage": dict(proof.by_stage),
            "module": _file_of(variant.rpartition("-")[0].partition(":")[0]),
        }

    def _watch(self, module: Any) -> Any:
        try:
            from detq.measure.stages import watching_stages
        except ImportError:  # a commit from before stages were timed
            return None
        return self._open.enter_context(watching_stages(module))

    def detect(self, image: str, *, masks: bool = False) -> dict[str, Any]:
        """Run the variant on an image in a `.npy` file; loading it, and compiling for its size, take no time here.

        Args:
            image: the file.
            masks: answer with the masks too, as run lengths, or None where there are none.
        """
        pixels = np.load(image)
        prepare = getattr(self._predictor, "prepare", None)
        if callable(prepare):
            prepare(pixels)
        if self._images % COLLECT_EVERY == 0:
            gc.collect()
        self._images += 1
        gc.disable()
        if self._clock is not None:
            self._clock.start()
        start = time.perf_counter_ns()
        found = self._predictor.predict(pixels)
        end = time.perf_counter_ns()
        stages = {} if self._clock is None else self._clock.stop()[1]
        gc.enable()
        return {
            "ms": (end - start) / 1e6,
            "stages_ms": stages,
            "boxes": found.boxes.tolist(),
            "scores": found.scores.tolist(),
            "labels": found.labels.tolist(),
            "held_bytes": _held_bytes(),
            "masks": _run_lengths(found) if masks else None,
        }

    def finish(self) -> dict[str, Any]:
        """Return the sizes, which are settled only when the variant has run."""
        peak, start = _status_bytes("VmHWM"), self._start_bytes
        known = None if peak is None or start is None else max(0, peak - start)
        return {
            "weight_bytes": self._predictor.weight_bytes,
            "file_bytes": _file_bytes(self._predictor.module),
            "peak_bytes": known,
        }


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError as error:  # the package that it should be in, or what that one imports
        return not (error.name and f"{module}.".startswith(f"{error.name}."))
    except Exception:  # noqa: BLE001  # of the package that it is in: building it says so
        return True


def _run_lengths(found: Any) -> list[Any] | None:
    masks = getattr(found, "masks", None)
    if masks is None:
        return None
    try:
        from detq.masks import as_rle
    except ImportError:  # a commit from before masks were kept so
        return None
    return list(as_rle(masks))


def _file_bytes(module: Any) -> int | None:
    try:
        from detq.measure.file_size import file_bytes
    except ImportError:  # a commit from before files were weighed there
        return None
    return file_bytes(module)


def _file_of(module: str) -> str | None:
    file = getattr(sys.modules.get(module), "__file__", None)
    return None if file is None else str(Path(file).resolve())


def _status_bytes(field: str) -> int | None:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    return None


def _settle() -> None:
    """Give back what building left over, and let the peak of memory count from here on: only running is compared."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # another libc
        ctypes.CDLL(None).malloc_trim(0)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


class _Mallinfo(ctypes.Structure):
    """`struct mallinfo2` of glibc 2.33 and later."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    ]


def _held_bytes() -> int | None:
    """Return what is allocated: exactly, where libc says so; resident memory also has what an allocator keeps."""
    try:
        count = ctypes.CDLL(None).mallinfo2
    except (OSError, AttributeError):
        return _status_bytes("VmRSS")
    count.restype = _Mallinfo
    found = count()
    return int(found.uordblks + found.hblkhd)


def _answer(session: Session, question: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"answer": getattr(session, question.pop("do"))(**question)}
    except Exception as error:  # noqa: BLE001  # whatever the measured code raises is an answer
        text = str(error).strip()
        known = any(kind.__name__ == "DetqError" for kind in type(error).__mro__)
        return {"error": text if known and text else f"{type(error).__name__}: {text.splitlines()[0] if text else ''}"}


def _main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    # Who waits for an answer in vain asks where it is taking so long, also while nothing of Python runs.
    faulthandler.register(signal.SIGUSR1, all_threads=False)
    session = Session()
    for line in sys.stdin:
        print(json.dumps(_answer(session, json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    _main()
