"""`detq gate`: the working tree against a commit, side by side."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from detq.cli.options import (
    CalibrationOption,
    ClassesOption,
    JsonOption,
    MapOption,
    SeedOption,
    ThreadsOption,
    WeightsOption,
    names_of,
)

if TYPE_CHECKING:
    from detq.paired.config import GateConfig
    from detq.paired.run import PairedResult

__all__ = ["gate_command"]

REGRESSION = 1
INCONCLUSIVE = 3


def gate_command(
    *,
    base: Annotated[str, typer.Option("--base", metavar="REF", help="The commit, branch or tag to compare with.")],
    base_python: Annotated[
        str, typer.Option("--base-python", metavar="FILE", help="Python of the base's processes: another torch.")
    ] = sys.executable,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="NAME",
            help="A model of `detq list`, your own `package.module:build`, or `packaged` for all that come with "
            "weights; may be given several times.",
        ),
    ] = None,
    variants: Annotated[
        str | None,
        typer.Option(
            "--variants", metavar="A,B", help="Recipes to judge beside fp32; by default all of either commit."
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data", metavar="PATH", help="Images, as `detq run --data` takes them; rendered ones by default."
        ),
    ] = None,
    images: Annotated[int, typer.Option("--images", min=1, metavar="N", help="Use the first N images.")] = 32,
    weights: WeightsOption = None,
    classes: ClassesOption = None,
    class_map: MapOption = None,
    unlabelled: Annotated[
        bool, typer.Option("--unlabelled", help="There are no labels: compare with the base's fp32 instead.")
    ] = False,
    calibration: CalibrationOption = None,
    budget: Annotated[
        str, typer.Option("--budget", metavar="TIME", help="Time to measure in, all variants together: 40s, 3m.")
    ] = "3m",
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="TIME", help="How long a process may take to build a variant.")
    ] = "15m",
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 3 where a figure is inconclusive.")] = False,
    report: Annotated[
        list[Path] | None,
        typer.Option("--report", metavar="FILE", help="Write .md, .json or .xml (JUnit); may be given several times."),
    ] = None,
    seed: SeedOption = 0,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the working tree with a commit: slower, less accurate, larger, or less quantized fails.

    The base is checked out into a temporary folder. Each variant runs in three processes, the working tree's and two of
    the base, which get the same images in turns, in random order, one at a time. A regression is what exceeds the
    tolerance of `[tool.detq.gate]` and cannot be chance; the base's second process shows how far the same code differs
    from itself. `docs/gate.md` explains the statistics. `[tool.detq]` of pyproject.toml can name models, data and
    weights.

    Exit codes: 0 passed, 1 a regression, 2 a mistake in the arguments or a base that does not run, 3 inconclusive with
    --strict.

        detq gate --base origin/main --model fasterrcnn_mobilenet_v3_large_320_fpn --budget 3m --report gate.md
    """
    from detq.gate.report import check_reports

    check_reports("--report", report or [])
    config = _config(
        base=base,
        base_python=base_python,
        models=model,
        variants=variants,
        data=data,
        images=images,
        weights=weights,
        classes=names_of(classes),
        class_map=class_map,
        unlabelled=unlabelled,
        calibration=calibration,
        budget=budget,
        timeout=timeout,
        seed=seed,
        threads=threads,
    )
    result = _run(config, quiet=as_json)
    _publish(result, report or [], as_json=as_json)
    code = _exit_code(result, strict=strict)
    if code:
        raise typer.Exit(code)


def _config(
    *,
    budget: str,
    timeout: str,
    threads: int | None,
    variants: str | None,
    models: list[str] | None,
    **given: Any,
) -> GateConfig:
    """Return what the options say; what they leave out `[tool.detq]` may say."""
    from detq.bench.settings import project_or_default
    from detq.cli.run import recipes_of
    from detq.measure.threads import choose_threads
    from detq.paired.config import GateConfig, absolute_data, models_of, seconds_of

    project = project_or_default(Path.cwd())
    for name in ("data", "weights", "classes", "calibration"):
        given[name] = getattr(project, name) if given[name] is None else given[name]
    for name in ("weights", "calibration"):  # what the workers open, each in a folder of its own
        given[name] = absolute_data(given[name])
    if models or project.models:
        given["models"] = models_of(models or project.models or ())
    return GateConfig(
        folder=Path.cwd(),
        recipes=recipes_of(variants),
        budget_s=seconds_of(budget),
        timeout_s=seconds_of(timeout, "--timeout"),
        threads=choose_threads(threads),
        tolerances=project.gate,
        **given,
    )


def _run(config: GateConfig, *, quiet: bool) -> PairedResult:
    from detq.cli.progress import progress_for
    from detq.paired.run import run_gate

    before = signal.signal(signal.SIGTERM, _stop)
    try:
        with progress_for(quiet=quiet) as progress:
            return run_gate(config, progress)
    except SystemExit:
        print("detq: ended by SIGTERM", file=sys.stderr)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(number: int, _frame: object) -> None:
    """End as after Ctrl-C, so that processes and the checked-out commit are cleaned up: CI cancels jobs like that."""
    raise SystemExit(128 + number)


def _publish(result: PairedResult, reports: list[Path], *, as_json: bool) -> None:
    from detq.gate import report

    what = result.outcome, result.context, result.variants
    # First what cannot fail: a full disk must not take minutes of measuring with it.
    if as_json:
        print(json.dumps(report.as_json(*what), indent=2, allow_nan=False))
    else:
        _show(result)
        if os.environ.get("GITHUB_ACTIONS"):
            for line in report.github_lines(result.outcome):
                print(line)
    report.write_reports(reports, *what)


def _show(result: PairedResult) -> None:
    from rich.console import Console

    from detq.gate.paired_table import render_paired

    console, context = Console(), result.context
    print(
        f"{context['model']}: the working tree against {context['base']} ({context['base_commit']}), "
        f"{context['images']} images of {context['data']}, {context['threads']} threads"
    )
    print(render_paired(result.outcome, result.variants, width=console.width, colour=console.is_terminal))


def _exit_code(result: PairedResult, *, strict: bool) -> int:
    if result.outcome.failed:
        return REGRESSION
    return INCONCLUSIVE if strict and result.outcome.undecided else 0
