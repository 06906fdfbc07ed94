"""The suite's benchmarks, short, under several versions of torch, and one table of what came out.

`python -m detq.bench.matrix NAME[=FOLDER] …` runs them in the virtual environments that are there, one after another,
and names those that are not. `tox run -e matrix-report` starts it with the environments of the tox matrix.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from detq.bench.matrix_table import Measured, as_json, as_markdown, as_text
from detq.errors import DetqError
from detq.files import write_text

__all__ = ["Environment", "main", "parse_environment"]

IMAGES = 8
FEATURES = Path(__file__).with_name("features.py")
_PARAMETER = re.compile(r"\[(.+)\]$")
_WRAPPED = re.compile(r'^failed on \w+ with "(.*)"$', re.DOTALL)


@dataclass(frozen=True)
class Environment:
    """A virtual environment that may be there.

    Attributes:
        name: of the tox environment that makes it.
        folder: where it would be.
    """

    name: str
    folder: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    @property
    def missing(self) -> str:
        """A sentence for where it is not there."""
        return f"{self.name} is not installed; `tox run -e {self.name} --notest` makes it"


def parse_environment(text: str, under: Path) -> Environment:
    """Return the environment that `NAME` or `NAME=FOLDER` means; a folder is looked for under `under`."""
    name, _, folder = text.partition("=")
    return Environment(name, under / (folder or name))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it and return the exit code: 0, 1 where an environment measured nothing, 2 where none is there."""
    options, pytest_options = _parser().parse_known_args(arguments)
    try:
        return _report(options, pytest_options)
    except DetqError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("error: interrupted, nothing was written", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m detq.bench.matrix",
        description="Run the benchmarks under several versions of torch; options it does not know go to pytest.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("environments", nargs="+", metavar="NAME[=FOLDER]", help="Virtual environments, the oldest version first.")
    add("--under", type=Path, default=Path(".tox"), metavar="DIR", help="Folder of the environments. Default: .tox.")
    add("--benchmarks", type=Path, default=Path("benchmarks"), metavar="DIR", help="What to run. Default: benchmarks.")
    add("--images", type=int, default=IMAGES, metavar="N", help=f"Images of each run. Default: {IMAGES}.")
    add("--report", type=Path, default=Path("bench-report/matrix.md"), metavar="FILE", help="Markdown to write.")
    add("--json", action="store_true", dest="as_json", help="Print JSON instead of the table.")
    return parser


def _report(options: argparse.Namespace, pytest_options: list[str]) -> int:
    environments = [parse_environment(text, options.under) for text in options.environments]
    if not options.benchmarks.is_dir():
        raise DetqError(f"--benchmarks {options.benchmarks}: expected a folder of benchmarks, there is none")
    there = [item for item in environments if item.python.is_file()]
    notes = [item.missing for item in environments if item not in there]
    if not there:
        raise DetqError(f"no environment is installed under {options.under}: {'; '.join(notes)}")
    measured: dict[tuple[str | None, ...], Measured] = {}
    broken = False
    for environment in there:
        probe = _probe(environment)
        torch = _torch(probe["versions"])
        twin = measured.get(torch)
        if "torch" not in probe["versions"]:
            notes.append(f"{environment.name} has no torch that can be imported: it is left out")
        elif twin is not None and twin.variants:
            notes.append(f"{environment.name} has the versions of {twin.name}, which stands for both")
        else:
            if twin is not None:
                notes.append(f"{twin.name}: {twin.broken}; {environment.name} of the same versions was tried instead")
            measured[torch] = _measure(environment, probe, options, pytest_options)
            broken |= not measured[torch].variants
    what = list(measured.values()), notes
    write_text(options.report, as_markdown(*what))
    print(json.dumps(as_json(*what), indent=2, allow_nan=False) if options.as_json else as_text(*what))
    print(f"report: {options.report}", file=sys.stderr)
    return 0 if measured and not broken else 1


def _torch(versions: Mapping[str, str]) -> tuple[str | None, ...]:
    return tuple(versions.get(name) for name in ("torch", "torchvision", "torchao"))


def _probe(environment: Environment) -> dict[str, Any]:
    # Without its folder on the path (-P): modules of detq must not stand in for others of the same name.
    command: list[str | Path] = [environment.python, "-P", FEATURES]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # the user named it
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (OSError, json.JSONDecodeError, IndexError):
        return {"versions": {}, "features": {}}
    return found


def _measure(
    environment: Environment, probe: dict[str, Any], options: argparse.Namespace, pytest_options: list[str]
) -> Measured:
    """Run the benchmarks in an environment, whose own words go to standard error."""
    with tempfile.TemporaryDirectory(prefix="detq-") as name:
        folder = Path(name)
        print(f"{environment.name}: torch {probe['versions']['torch']}", file=sys.stderr, flush=True)
        command = [
            *(environment.python, "-m", "pytest", options.benchmarks, "--benchmark-enable", "-q"),
            *(f"--detq-images={options.images}", f"--detq-report={folder}", f"--junitxml={folder / 'junit.xml'}"),
            *pytest_options,
        ]
        done = subprocess.run(command, stdout=sys.stderr, check=False)  # noqa: S603  # the user named it
        variants, junit = _variants(folder / "bench.json"), folder / "junit.xml"
        lacking = {id_: why for id_, why in _failures(junit) if id_ not in variants}
        failing = {id_: why for id_, why in _failures(junit, ("failure", "error")) if id_ in variants}
    broken = "" if variants else f"pytest measured nothing and exited with {done.returncode}"
    return Measured(environment.name, probe["versions"], probe["features"], variants, lacking, broken, failing)


def _variants(path: Path) -> dict[str, dict[str, Any]]:
    if not path.is_file():
        return {}
    found: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["variants"]
    return found


def _failures(path: Path, kinds: Sequence[str] = ("skipped", "failure", "error")) -> Iterable[tuple[str, str]]:
    """Yield the variant and the sentence of every test that did not pass, errors after skips."""
    if not path.is_file():
        return
    cases = list(ET.parse(path).iter("testcase"))  # noqa: S314  # pytest wrote it just now
    for kind in kinds:
        for case in cases:
            parameter, problem = _PARAMETER.search(case.get("name", "")), case.find(kind)
            if parameter and problem is not None:
                yield parameter[1], _sentence(problem.get("message", ""))


def _sentence(message: str) -> str:
    """Return what was said, without what pytest puts around it."""
    wrapped = _WRAPPED.match(message)
    return (wrapped[1] if wrapped else message).removeprefix("Failed: ").partition("\n")[0]


if __name__ == "__main__":
    sys.exit(main())
