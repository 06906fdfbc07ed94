"""How often `detq gate` cries wolf, and what it catches: real runs, on clones of this repository with faults put in.

    python benchmarks/gate_study.py --out study.jsonl           # 40 runs of each kind; goes on where it stopped
    python benchmarks/gate_study.py --out study.jsonl --kinds same,slow10 --runs 3 --budget 3m
    python benchmarks/gate_study.py --out study.jsonl --table   # what is known so far

Each run clones HEAD, changes the clone's working tree, and lets `detq gate --base HEAD` compare the two. Every second
run of `same` has a neighbour: a process that keeps one core busy.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

INJECTED = '''
"""Spends a fraction of an image's own time once more in the backbone."""

import statistics
import time


def slow_down(predictor, fraction):
    own, added, predict = [], [0.0], predictor.predict

    def timed(image, **options):
        start, added[0] = time.perf_counter(), 0.0
        found = predict(image, **options)
        own.append(time.perf_counter() - start - added[0])
        return found

    def spend(*_):
        if len(own) > 1:
            added[0] = fraction * statistics.median(own[-9:])
            end = time.perf_counter() + added[0]
            while time.perf_counter() < end:
                pass

    predictor.module.backbone.register_forward_hook(spend)
    predictor.predict = timed
'''
BUILT = "        self.proof = proof\n"
PREDICTOR, DYNAMIC, RECIPES = "detq/predictor.py", "detq/quantization/dynamic_int8.py", "detq/quantization/recipes.py"
LEAK = "        self.leak = getattr(self, 'leak', [])\n        self.leak.append(np.ones(131072))\n"
CONVERTED = "    gc.collect()\n    return converted\n"


@dataclass(frozen=True)
class Kind:
    """A change to the working tree, and what the gate should make of it.

    Attributes:
        file: what is changed.
        old: text in it that occurs once.
        new: what stands there instead.
        caught: the share of runs that should fail; None where it is not what was promised.
        by: a figure of which one must fail for a run to count as caught; any where empty.
        loaded: every second run has a neighbour.
    """

    file: str = ""
    old: str = ""
    new: str = ""
    caught: float = 1.0
    by: tuple[str, ...] = ()
    loaded: bool = False


def slower(percent: int, caught: float) -> Kind:
    call = f"        from detq.injected import slow_down\n\n        slow_down(self, {percent / 100})\n"
    return Kind(PREDICTOR, BUILT, BUILT + call, caught, ("median",))


KINDS: Mapping[str, Kind] = {
    "same": Kind(caught=0.025, loaded=True),
    "slow5": slower(5, 0.60),
    "slow10": slower(10, 0.95),
    "slow20": slower(20, 1.0),
    "leak": Kind(
        PREDICTOR,
        "        import torch\n\n        from detq.tensors",
        f"{LEAK}        import torch\n\n        from detq.tensors",
        by=("growth",),
    ),
    "scale": Kind(
        PREDICTOR, 'boxes, scores = found["boxes"].numpy()', 'boxes, scores = 1.02 * found["boxes"].numpy()', by=("AP",)
    ),
    "class": Kind(PREDICTOR, ".astype(np.int64) - 1", ".astype(np.int64) - 2", by=("AP",)),
    "layer": Kind(
        DYNAMIC,
        CONVERTED,
        f"    converted.roi_heads.box_head.fc7 = module.roi_heads.box_head.fc7\n{CONVERTED}",
        by=("int8_share of box_head",),
    ),
    "nothing": Kind(DYNAMIC, "    return _convert(module, types)\n", "    return module\n", by=("measured",)),
    "renamed": Kind(RECIPES, '        "dynamic_int8",\n', '        "dynamic_int_8",\n', by=("measured",)),
    "bytes": Kind(
        PREDICTOR,
        BUILT,
        f"{BUILT}        import torch\n\n        self.module.register_buffer('copy', torch.zeros(10**6))\n",
        by=("weight_bytes",),
    ),
}


def main() -> None:
    arguments = parse()
    done = [json.loads(line) for line in arguments.out.read_text().splitlines()] if arguments.out.exists() else []
    known = {(row["kind"], row["run"]) for row in done}
    todo = [(kind, run) for run in range(arguments.runs) for kind in arguments.kinds if (kind, run) not in known]
    for number, (kind, run) in enumerate([] if arguments.table else todo, start=1):
        row = {"kind": kind, "run": run, **measure(KINDS[kind], run, arguments)}
        with arguments.out.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
        done.append(row)
        print(
            f"{number}/{len(todo)} {kind} {run}: {row['verdict']}, {', '.join(row['failed']) or '-'}", file=sys.stderr
        )
    print_table(done)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a line of JSON for each run")
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--kinds", type=lambda text: text.split(","), default=list(KINDS), help=", ".join(KINDS))
    parser.add_argument("--table", action="store_true", help="only print what is known")
    parser.add_argument("--model", default="fasterrcnn_mobilenet_v3_large_320_fpn")
    parser.add_argument("--variants", default="fp32,dynamic_int8")
    parser.add_argument("--images", default="48")
    parser.add_argument("--budget", default="40s")
    parser.add_argument("--threads", default="1")
    found = parser.parse_args()
    if unknown := set(found.kinds) - set(KINDS):
        parser.error(f"--kinds: expected some of {', '.join(KINDS)}, got {', '.join(sorted(unknown))}")
    return found


def measure(kind: Kind, run: int, arguments: argparse.Namespace) -> dict[str, object]:
    """Return what one run of the gate found: its verdict, the figures that failed, and its sentences."""
    with tempfile.TemporaryDirectory(prefix="detq-study-") as folder, neighbour(kind.loaded and run % 2 == 1):
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", "--shared", str(ROOT), str(clone)], check=True)
        if kind.file:
            change(clone, kind)
        report = Path(folder) / "gate.json"
        command = [sys.executable, "-m", "detq", "gate", "--base", "HEAD", "--report", str(report), "--seed", str(run)]
        for name in ("model", "variants", "images", "budget", "threads"):
            command += [f"--{name}", str(getattr(arguments, name))]
        environment = os.environ | {"PYTHONPATH": str(clone)}
        gate = subprocess.Popen(
            command, cwd=clone, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        try:
            _, said = gate.communicate()
        except KeyboardInterrupt:
            gate.communicate()  # Ctrl-C reached it too; `subprocess.run` would kill it before it has cleaned up
            raise
        if not report.exists():
            raise SystemExit(f"the gate could not run: {said.strip()}")
        return summary(json.loads(report.read_text()))


def change(clone: Path, kind: Kind) -> None:
    path = clone / kind.file
    text = path.read_text()
    if text.count(kind.old) != 1:
        raise SystemExit(f"{kind.file} changed: expected {kind.old!r} in it once; mend KINDS")
    path.write_text(text.replace(kind.old, kind.new))
    (clone / "detq" / "injected.py").write_text(INJECTED)


@contextlib.contextmanager
def neighbour(wanted: bool) -> Iterator[None]:
    """Keep one core busy with another process."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if wanted else None
    try:
        yield
    finally:
        if process is not None:
            process.kill()
            process.wait()


def summary(document: Mapping[str, dict]) -> dict[str, object]:
    evidence = [item for variant in document["variants"].values() for item in variant["evidence"]]
    bad = [item for item in evidence if item["verdict"] in {"regression", "missing"}]
    return {
        "verdict": document["verdict"],
        "failed": sorted({item["name"] for item in bad}),
        "said": [item["detail"] for item in bad],
        "pairs": [variant.get("pairs") for variant in document["variants"].values()],
        "noise_floor": [variant.get("noise_floor") for variant in document["variants"].values()],
    }


def print_table(rows: list[dict]) -> None:
    print("| kind | runs | failed | inconclusive | expected to fail | named the stage | figures that failed |")
    print("|---|---|---|---|---|---|---|")
    for name, kind in KINDS.items():
        mine = [row for row in rows if row["kind"] == name]
        if not mine:
            continue
        bad = [row for row in mine if row["failed"] and (not kind.by or set(kind.by) & set(row["failed"]))]
        named = sum(any("most of it in backbone" in said for said in row["said"]) for row in bad)
        undecided = sum(row["verdict"] == "inconclusive" for row in mine)
        expected = f"at most {kind.caught:.1%}" if name == "same" else f"at least {kind.caught:.0%}"
        figures = ", ".join(sorted({figure for row in mine for figure in row["failed"]})) or "none"
        stage = named if name.startswith("slow") else ""
        print(f"| {name} | {len(mine)} | {len(bad)} | {undecided} | {expected} | {stage} | {figures} |")


if __name__ == "__main__":
    main()
