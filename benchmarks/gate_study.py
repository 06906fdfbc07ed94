"""How often `detq gate` cries wolf, and what it catches: real runs, on a clone of this repository with faults put in.

    python benchmarks/gate_study.py --out study.jsonl                       # all of it; goes on where it stopped
    python benchmarks/gate_study.py --out study.jsonl --only same,slow10 --settings small --runs 3
    python benchmarks/gate_study.py --out study.jsonl --table               # what is known so far, measuring nothing

Two settings: "small" is the 320 px model with a budget of 40 s a run, "full" the packaged model with 3 minutes, three
runs of each kind. Each run changes the working tree of a clone, lets `detq gate --base HEAD` compare it with the
commit, and adds a line to --out. The commit is that of the first line, whatever is committed meanwhile. Every second
run of `same` has a neighbour: a process that keeps one core busy. A slowdown is a wait in the forward hook of one
stage, another stage from run to run, so that nothing needs to be compiled anew. A run that could not be made is said,
kept, and tried again by the next start; three of them one after the other end the study.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

# Started by its path, this folder is where its own modules are found.
from gate_study_kinds import KINDS, SETTINGS, STAGES, Kind
from gate_study_table import table

ROOT = Path(__file__).resolve().parents[1]
IDENTITY = ("-c", "user.name=study", "-c", "user.email=study@example.invalid", "-c", "commit.gpgsign=false")
MOST_ERRORS = 3
PATIENCE_S = 1800
"""Seconds beyond its budget after which a run is ended: one that compiles takes minutes, none half an hour."""


def main() -> None:
    arguments = parse()
    signal.signal(signal.SIGTERM, stop)
    rows = [json.loads(line) for line in arguments.out.read_text().splitlines()] if arguments.out.exists() else []
    if not arguments.table:
        with tempfile.TemporaryDirectory(prefix="detq-study-") as folder:
            study(arguments, rows, Path(folder))
    print(table(rows))


def stop(number: int, _frame: object) -> None:
    """End as after Ctrl-C: the gate that runs removes what it started."""
    raise SystemExit(128 + number)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a line of JSON for each run")
    parser.add_argument("--only", type=names, default=list(KINDS), metavar="KINDS", help=", ".join(KINDS))
    parser.add_argument("--settings", type=names, default=list(SETTINGS), metavar="NAMES", help=", ".join(SETTINGS))
    parser.add_argument("--runs", type=int, help="of each kind, instead of what the issue promises")
    parser.add_argument("--table", action="store_true", help="only print what is known")
    found = parser.parse_args()
    for option, given, known in (("--only", found.only, KINDS), ("--settings", found.settings, SETTINGS)):
        if unknown := [name for name in given if name not in known]:
            parser.error(f"{option}: expected some of {', '.join(known)}, got {', '.join(unknown)}")
    return found


def names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def study(arguments: argparse.Namespace, rows: list[dict[str, Any]], folder: Path) -> None:
    commit = rows[0]["commit"] if rows else git(ROOT, "rev-parse", "HEAD")
    clone = folder / "clone"
    git(folder, "clone", "--quiet", "--no-checkout", str(ROOT), str(clone))
    known = {(row["setting"], row["kind"], row["run"]) for row in rows if row["verdict"] != "error"}
    todo = [place for place in places(arguments) if place not in known]
    errors, begun = 0, time.monotonic()
    for number, (setting, name, run) in enumerate(todo, start=1):
        row = {
            "setting": setting,
            "kind": name,
            "run": run,
            "commit": commit,
            **measure(clone, setting, name, run, commit),
        }
        with arguments.out.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
        rows.append(row)
        left_min = (time.monotonic() - begun) / number * (len(todo) - number) / 60
        failed = ", ".join(sorted({item["name"] for item in row["failed"]})) or "-"
        said = row["error"] if row["verdict"] == "error" else failed
        print(f"{number}/{len(todo)} {setting} {name} {run}: {row['verdict']}, {said}; {row['seconds']:.0f} s, about "
              f"{left_min:.0f} min left", file=sys.stderr, flush=True)  # fmt: skip
        errors = errors + 1 if row["verdict"] == "error" else 0
        if errors == MOST_ERRORS:
            raise SystemExit(f"{MOST_ERRORS} runs one after the other could not be made; mend that, then start again")


def places(arguments: argparse.Namespace) -> Iterator[tuple[str, str, int]]:
    """Yield (setting, kind, run), all kinds in turns: what there is after half of the time tells of all of them."""
    for setting in arguments.settings:
        runs = {name: arguments.runs or SETTINGS[setting].runs or KINDS[name].runs for name in arguments.only}
        for run in range(max(runs.values())):
            for name in arguments.only:
                if run < runs[name] and (setting == "small" or not KINDS[name].benchmark):
                    yield setting, name, run


def measure(clone: Path, setting: str, name: str, run: int, commit: str) -> dict[str, Any]:
    """Return what one run found: its verdict, the figures that failed, and its sentences."""
    kind, begun = KINDS[name], time.monotonic()
    stage = list(STAGES)[run % len(STAGES)] if kind.slows else None
    git(clone, "checkout", "--quiet", "--force", "--detach", commit)
    git(clone, "clean", "--quiet", "--force", "-d")
    if kind.in_base:
        change(clone, kind, stage)
        git(clone, "add", ".")
        git(clone, *IDENTITY, "commit", "--quiet", "--message", "slower")
        git(clone, "checkout", "--quiet", commit, "--", ".")
        (clone / "detq" / "injected.py").unlink()
    elif kind.file and not kind.benchmark:
        change(clone, kind, stage)
    default_tolerances(clone)
    loaded, busy = kind.loaded and run % 2 == 1, os.getloadavg()[0]
    with neighbour(loaded):
        found = skipped(clone, kind) if kind.benchmark else gate(clone, setting, kind, run)
    return {"stage": stage, "loaded": loaded, "busy": busy, "seconds": time.monotonic() - begun, **found}


def default_tolerances(clone: Path) -> None:
    """Take this repository's own tolerances away: what the defaults catch is the question."""
    path = clone / "pyproject.toml"
    before, mark, after = path.read_text().partition("[tool.detq.gate]\n")
    path.write_text(before + after[after.index("\n[") + 1 :] if mark else before)


def gate(clone: Path, setting: str, kind: Kind, run: int) -> dict[str, Any]:
    """Run `detq gate --base HEAD` in the clone."""
    chosen = SETTINGS[setting]
    report = clone.parent / "gate.json"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "detq", "gate", "--base", "HEAD", "--report", str(report), "--seed", str(run)]
    options = {"model": chosen.model, "variants": kind.variants, "images": "50", "budget": f"{chosen.budget_s}s"}
    for name, value in options.items():
        command += [f"--{name}", value]
    said = execute([*command, "--threads", "1"], clone, clone, chosen.budget_s + PATIENCE_S)
    if not report.exists():
        return error(said)
    return summary(json.loads(report.read_text()))


def skipped(clone: Path, kind: Kind) -> dict[str, Any]:
    """Record a baseline of the example's detector, change its benchmarks, and run `pytest --detq-gate`."""
    example, report = clone.parent / "example", clone.parent / "gate.json"
    shutil.rmtree(example, ignore_errors=True)
    shutil.copytree(clone / "examples" / "own_model", example)
    report.unlink(missing_ok=True)
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "benchmarks"]
    said = execute([*pytest, "--detq-gate-update"], example, clone, PATIENCE_S)
    change(example, kind, None)
    said += execute([*pytest, "--detq-gate", "--detq-gate-report", str(report)], example, clone, PATIENCE_S)
    return summary(json.loads(report.read_text())) if report.exists() else error(said)


def execute(command: list[str], folder: Path, code: Path, seconds: float) -> str:
    """Run a command with the clone's detq, and return what it said."""
    environment = os.environ | {"PYTHONPATH": str(code)}
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        return process.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        process.terminate()  # it ends its workers
        return process.communicate()[0] + f"\nended after {seconds:.0f} s"
    except KeyboardInterrupt:
        process.communicate()  # Ctrl-C reached it too; `subprocess.run` would kill it before it has cleaned up
        raise
    except SystemExit:
        process.terminate()
        process.communicate()
        raise


def change(folder: Path, kind: Kind, stage: str | None) -> None:
    path = folder / kind.file
    text = path.read_text()
    if text.count(kind.old) != 1:
        raise SystemExit(f"{kind.file} changed: expected {kind.old!r} in it once; mend KINDS")
    path.write_text(text.replace(kind.old, kind.new.replace("STAGE", STAGES.get(stage or "", ""))))
    if kind.slows:
        shutil.copy(Path(__file__).with_name("gate_study_slow.py"), folder / "detq" / "injected.py")


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


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"git {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


def error(said: str) -> dict[str, Any]:
    return {"verdict": "error", "error": said.strip()[-1000:], "failed": []}


def summary(document: Mapping[str, Any]) -> dict[str, Any]:
    evidence = [(name, item) for name, variant in document["variants"].items() for item in variant["evidence"]]
    chosen = ("kind", "name", "detail", "change", "low", "high")
    rows = {
        verdict: [
            {"variant": name, **{key: item[key] for key in chosen}}
            for name, item in evidence
            if item["verdict"] in verdicts
        ]
        for verdict, verdicts in (
            ("failed", {"regression", "missing"}),
            ("undecided", {"inconclusive"}),
            ("improved", {"improvement"}),
        )
    }
    known = ("pairs", "looks", "noise_floor", "machine_drift")
    noisy = ("median", "p90", "p99", "peak", "growth")
    changes = {f"{name} {item['name']}": item["change"] for name, item in evidence if item["name"] in noisy}
    return {
        "verdict": document["verdict"],
        **rows,
        "changes": changes,
        "measured_s": document["context"].get("measured_s"),
        "variants": {name: {key: variant.get(key) for key in known} for name, variant in document["variants"].items()},
        "notes": document["notes"],
    }


if __name__ == "__main__":
    main()
