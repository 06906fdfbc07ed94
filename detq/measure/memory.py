"""Peak memory of one variant, measured in a process of its own: `python -m detq.measure.memory` reads a job from stdin.

In one process a variant's peak would hide behind the one before it, and memory that was freed stays with the process.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from detq.engine.calibration import CalibrationChoice
from detq.errors import DetqError, UnsupportedError
from detq.variants import Variant

__all__ = ["MemoryUse", "measure_memory"]


@dataclass(frozen=True)
class MemoryUse:
    """Resident memory of a process that builds one variant and runs it.

    Attributes:
        baseline_bytes: with torch imported, before the model is built.
        loaded_bytes: with the model built, before the first image.
        peak_bytes: the most at any time, building included.
    """

    baseline_bytes: int
    loaded_bytes: int
    peak_bytes: int

    @property
    def inference_bytes(self) -> int:
        """What building and running the variant needs on top of torch itself."""
        return self.peak_bytes - self.baseline_bytes


def measure_memory(
    variant: Variant | str,
    data: Mapping[str, Any],
    *,
    weights: str | None = None,
    classes: Sequence[str] | None = None,
    seed: int = 0,
    calibration: CalibrationChoice | None = None,
    threads: int = 1,
    images: int = 8,
    artifact: Path | None = None,
    image_sizes: Sequence[tuple[int, int]] = (),
    keep_memory: bool = True,
) -> MemoryUse:
    """Build `variant` in a new process, run it on the first `images` images, and return its resident memory.

    Args:
        variant: which; or its id.
        data: keyword arguments of `detq.datasets.open_dataset`, ready for JSON.
        weights: as in `build_predictor`.
        classes: as in `build_predictor`.
        seed: as in `build_predictor`.
        calibration: what static int8 takes its ranges from; a variant without static int8 takes no notice.
        threads: of torch's operators; each has buffers of its own.
        images: how many to run, fewer if the data set has fewer.
        artifact: the file to load instead of building `variant`.
        image_sizes: (height, width) to get ready for first.
        keep_memory: see `pinned_threads`; it costs some 5 % of an eager detector's peak.

    Raises:
        UnsupportedError: this platform does not say how much memory a process uses.
        DetqError: what the process could not do, in its words, or that it was killed.
    """
    resident_bytes("VmHWM")  # before a process is started that cannot answer
    name = variant if isinstance(variant, str) else variant.id
    job = {
        "variant": name,
        "data": dict(data),
        "weights": weights,
        "classes": None if classes is None else list(classes),
        "seed": seed,
        "calibration": None if calibration is None else asdict(calibration),
        "threads": threads,
        "images": images,
        "artifact": None if artifact is None else str(artifact),
        "image_sizes": [list(size) for size in image_sizes],
        "keep_memory": keep_memory,
    }
    done = subprocess.run(  # this interpreter, this module
        [sys.executable, "-m", "detq.measure.memory"],
        input=json.dumps(job, default=str),
        capture_output=True,
        text=True,
        check=False,
    )
    answer = _last_json(done.stdout)
    if answer is None or done.returncode:
        said = (answer or {}).get("error") or _last_line(done.stderr) or f"exit status {done.returncode}"
        killed = f"it was killed by signal {-done.returncode} (out of memory?)" if done.returncode < 0 else said
        raise DetqError(f"measuring the memory of {name} in a process of its own failed: {killed}")
    return MemoryUse(**answer)


def _last_json(text: str) -> dict[str, Any] | None:
    # A user's own detector may print; the answer is the last line.
    try:
        answer = json.loads(_last_line(text))
    except json.JSONDecodeError:
        return None
    return answer if isinstance(answer, dict) else None


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""


def resident_bytes(field: str, status: Path = Path("/proc/self/status")) -> int:
    """Return this process's resident memory in bytes: now (`VmRSS`) or at its highest (`VmHWM`).

    Raises:
        UnsupportedError: this platform does not say.
    """
    try:
        lines = status.read_text(encoding="utf-8").splitlines()
    except OSError:
        raise UnsupportedError("peak memory needs Linux: there is no /proc/self/status here") from None
    found = next((line.split() for line in lines if line.startswith(f"{field}:")), None)
    if found is None:
        raise UnsupportedError(f"peak memory needs {field} in /proc/self/status, which this kernel does not write")
    return int(found[1]) * 1024


def _work(job: Mapping[str, Any]) -> MemoryUse:
    import torch
    import torchvision  # noqa: F401  # part of the baseline

    from detq.datasets import open_dataset
    from detq.measure.threads import pinned_threads
    from detq.model_files import load
    from detq.predictor import build_predictor

    dataset = open_dataset(**job["data"])
    samples = [dataset.load(index).image for index in range(min(job["images"], len(dataset)))]
    with pinned_threads(job["threads"], keep_memory=job["keep_memory"]):
        torch.zeros(1).add_(1)
        baseline = resident_bytes("VmRSS")
        if job["artifact"]:
            predictor = load(job["artifact"], classes=job["classes"])
        else:
            predictor = build_predictor(
                job["variant"],
                weights=job["weights"],
                classes=job["classes"],
                seed=job["seed"],
                calibration=CalibrationChoice(**job["calibration"]) if job["calibration"] else None,
            )
        for height, width in job["image_sizes"]:
            predictor.expect(height, width)
        loaded = resident_bytes("VmRSS")
        for image in samples:
            predictor.predict(image)
        return MemoryUse(baseline, loaded, resident_bytes("VmHWM"))


def _main() -> int:
    try:
        use = _work(json.loads(sys.stdin.read()))
    except DetqError as error:
        print(json.dumps({"error": str(error)}))
        return error.exit_code
    print(json.dumps(asdict(use)))
    return 0


if __name__ == "__main__":
    sys.exit(_main())
