"""What keeping freed memory buys, and how far processes of the same code differ with it and without.

    python benchmarks/allocator_study.py --variants fp32,mixed_int8
    python benchmarks/allocator_study.py --model fasterrcnn_mobilenet_v3_large_320_fpn --threads 1 --processes 6

For each variant half of the processes keep what they free (`detq.measure.allocator`), the others leave it to the C
library; all run the same rendered frames, image by image in random order, one at a time.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np

from detq.measure.allocator import keep_freed_memory
from detq.measure.threads import choose_threads, pinned_threads
from detq.metrics.bootstrap import paired_speedup

FRAMES = "synthetic:traffic?n={images}&seed=0"
WARM_UP = 2
HEADINGS = (
    "variant", "kept, ms", "system's, ms", "× as fast, kept (95 %)", "spread of processes, kept", "system's",
    "page faults an image, kept", "system's",
)  # fmt: skip


def main() -> None:
    arguments = parse()
    if arguments.child:
        child(arguments)
        return
    for row in (HEADINGS, ["---"] * len(HEADINGS)):
        print(f"| {' | '.join(row)} |")
    for recipe in arguments.variants.split(","):
        print(f"| {' | '.join(study(arguments, recipe))} |", flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="fasterrcnn_mobilenet_v3_large_fpn", help="of `detq list`")
    parser.add_argument("--variants", default="fp32", help="recipes, separated by commas")
    parser.add_argument("--threads", type=int, help="of each process; default: the cores that this one may use")
    parser.add_argument("--processes", type=int, default=4, help="of each kind")
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--child", choices=("kept", "system"), help=argparse.SUPPRESS)
    found = parser.parse_args()
    found.threads = choose_threads(found.threads)
    return found


def child(arguments: argparse.Namespace) -> None:
    """Answer each line, an image's number, with the milliseconds and the page faults that it took."""
    if arguments.child == "kept":
        keep_freed_memory()
    from detq.datasets import open_dataset
    from detq.predictor import build_predictor

    dataset = open_dataset(FRAMES.format(images=arguments.images))
    images = [dataset.load(index).image for index in range(len(dataset))]
    with pinned_threads(arguments.threads):
        predictor = build_predictor(f"{arguments.model}-{arguments.variants}")
        for line in sys.stdin:
            faults, start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
            predictor.predict(images[int(line)])
            took_ms = (time.perf_counter() - start) * 1e3
            print(json.dumps([took_ms, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults]), flush=True)


def study(arguments: argparse.Namespace, recipe: str) -> list[str]:
    """Return a row of the table."""
    kinds = ["kept", "system"] * arguments.processes
    workers = [start(arguments, recipe, kind) for kind in kinds]
    rng = np.random.default_rng(0)
    for index in range(WARM_UP):
        for worker in workers:
            ask(worker, index)
    order = np.concatenate([rng.permutation(arguments.images) for _ in range(arguments.rounds)])
    found = np.zeros((len(workers), len(order), 2))
    for place, index in enumerate(order):
        for number in rng.permutation(len(workers)):
            found[number, place] = ask(workers[number], index)
    for worker in workers:
        worker.communicate()
    kept, system = (found[[kind == wanted for kind in kinds]] for wanted in ("kept", "system"))
    gain = paired_speedup(system[..., 0].mean(axis=0), kept[..., 0].mean(axis=0))
    return [
        recipe,
        *(f"{np.median(side[..., 0]):.1f}" for side in (kept, system)),
        f"{gain.estimate:.3f} ({gain.low:.3f} to {gain.high:.3f})",
        *(f"{spread(side[..., 0]):.1%}" for side in (kept, system)),
        *(f"{np.median(side[..., 1]):,.0f}" for side in (kept, system)),
    ]


def spread(times_ms: np.ndarray) -> float:
    """Return the standard deviation of the processes' medians, after what an image costs is taken out."""
    logs = np.log(times_ms)
    return float(np.median(logs - logs.mean(axis=0), axis=1).std(ddof=1))


def start(arguments: argparse.Namespace, recipe: str, kind: str) -> subprocess.Popen[str]:
    options = {"model": arguments.model, "variants": recipe, "threads": arguments.threads, "images": arguments.images}
    command = [sys.executable, __file__, "--child", kind]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ask(worker: subprocess.Popen[str], index: int) -> tuple[float, float]:
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(f"{index}\n")
    worker.stdin.flush()
    line = worker.stdout.readline()
    if not line:
        raise SystemExit("a process ended; see what it said above")
    took_ms, faults = json.loads(line)
    return took_ms, faults


if __name__ == "__main__":
    main()
