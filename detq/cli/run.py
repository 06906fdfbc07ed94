"""`detq run`: the experiment on a user's own images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from detq.cli.options import (
    DEFAULT_MODEL,
    AllowUnlabelledOption,
    CalibrationImagesOption,
    CalibrationOption,
    CalibrationSeedOption,
    ClassesOption,
    DataOption,
    FormatOption,
    ImageSizeOption,
    IouOption,
    JsonOption,
    LimitOption,
    MapOption,
    ObserverOption,
    OutOption,
    ReportClassOption,
    ResumeOption,
    ScoreOption,
    SeedOption,
    SplitOption,
    SystemAllocatorOption,
    ThreadsOption,
    WeightsOption,
    calibration_of,
    names_of,
    sizes_of,
)
from detq.errors import DetqError

if TYPE_CHECKING:
    from detq.results import RunResult
    from detq.runner import RunConfig

__all__ = ["recipes_of", "run_command"]


def run_command(
    *,
    data: DataOption,
    out: OutOption,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="NAME",
            help="A model of `detq list`, or your own `package.module:build`. Default: that of --artifact, else "
            f"{DEFAULT_MODEL}.",
        ),
    ] = None,
    variants: Annotated[
        str | None,
        typer.Option(
            "--variants",
            metavar="A,B",
            help="Recipes of `detq list`; all that the model supports by default. fp32 is always measured.",
        ),
    ] = None,
    artifacts: Annotated[
        list[Path] | None,
        typer.Option(
            "--artifact",
            metavar="FILE",
            help="A file of `detq export` as one more variant beside fp32 of the same model and weights. Repeat it for "
            "several; without --variants only these are measured.",
        ),
    ] = None,
    weights: WeightsOption = None,
    classes: ClassesOption = None,
    class_map: MapOption = None,
    format: FormatOption = None,  # noqa: A002  # what the command line calls it
    split: SplitOption = None,
    allow_unlabelled: AllowUnlabelledOption = False,
    unlabelled: Annotated[
        bool, typer.Option("--unlabelled", help="There are no labels: compare with fp32 instead.")
    ] = False,
    limit: LimitOption = None,
    draw: Annotated[
        int,
        typer.Option("--draw", metavar="N", help="Draw N images; with --unlabelled those that differ most."),
    ] = 0,
    memory: Annotated[
        bool, typer.Option(help="Measure each variant's peak memory in a process of its own, some seconds each.")
    ] = True,
    resume: ResumeOption = False,
    seed: SeedOption = 0,
    threads: ThreadsOption = None,
    system_allocator: SystemAllocatorOption = False,
    score: ScoreOption = 0.7,
    iou: IouOption = 0.65,
    calibration: CalibrationOption = None,
    calibration_images: CalibrationImagesOption = 50,
    calibration_seed: CalibrationSeedOption = None,
    observer: ObserverOption = "mse",
    image_size: ImageSizeOption = None,
    report_class: ReportClassOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a detector's variants on your images: how fast, how accurate, and which one to ship.

    Images go one at a time through every variant, in random order for each image, so that times are paired. The folder
    gets `predictions.jsonl`, `coco/` (the same as COCO results), `timings.csv`, `metrics.json`, `report.md` and
    `pictures/`. A run that was interrupted, even killed, goes on with `--resume`.

    The packaged car detector on rendered traffic:

        detq run --data "synthetic:traffic?n=50" --out first-run --draw 4

    Your own labelled photos, two classes of them merged, and your own weights:

        detq run --data photos/ --map car=1,2 --weights my.pth --classes car --out my-run

    Photos that nobody labelled:

        detq run --data camera/ --unlabelled --draw 8 --out camera-run

    Files of `detq export`, which start without compiling:

        detq run --data photos/ --artifact car.detq --artifact car.int8.ts --out files-run
    """
    from detq.measure.threads import choose_threads
    from detq.runner import RunConfig

    for_weights, for_data = _split_classes(classes, weights)
    config = RunConfig(
        data=data,
        out=out,
        model=model or "",
        recipes=recipes_of(variants),
        weights=weights,
        classes=for_weights,
        data_classes=for_data,
        class_map=class_map,
        format=format,
        split=split,
        allow_unlabelled=allow_unlabelled,
        unlabelled=unlabelled,
        limit=limit,
        draw=draw,
        memory=memory,
        resume=resume,
        seed=seed,
        threads=choose_threads(threads),
        score=score,
        iou=iou,
        calibration=calibration_of(calibration, calibration_images, calibration_seed, observer, default=seed),
        report_class=report_class,
        artifacts=tuple(artifacts or ()),
        image_sizes=sizes_of(image_size) or (),
        system_allocator=system_allocator,
    )
    result = _run(config, quiet=as_json)
    if as_json:
        print(json.dumps(result.to_json(), indent=2))
    else:
        _show(result, out)


def recipes_of(text: str | None) -> tuple[str, ...] | None:
    """Return the names in `--variants A,B`, or None where nothing was given.

    Raises:
        DetqError: there are none in it.
    """
    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise DetqError(
            f"--variants: expected names such as fp32,dynamic_int8, got {text!r}; leave it out for all that the model "
            "supports"
        )
    return names


def _split_classes(text: str | None, weights: str | None) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """Return what `--classes` names: the labels of a file of weights if one is given, else the data's class numbers."""
    names = names_of(text)
    own_weights = weights is not None and weights.lower() not in {"packaged", "coco", "coco_v1"}
    return (names, None) if own_weights else (None, names)


def _run(config: RunConfig, *, quiet: bool) -> RunResult:
    from detq.cli.progress import progress_for
    from detq.runner import run_experiment

    with progress_for(quiet=quiet) as progress:
        return run_experiment(config, progress)


def _show(result: RunResult, out: Path) -> None:
    from rich.text import Text

    from detq.cli.printing import print_table, wide_console
    from detq.report.document import tables_of
    from detq.report.tables import context_lines

    console = wide_console()
    for table in tables_of(result, terminal=True):
        print_table(console, table)
    for line in context_lines(result):
        console.print(Text(line), soft_wrap=True)
    console.print(Text(f"Results: {out} (report.md, metrics.json, predictions.jsonl, timings.csv)"), soft_wrap=True)
    console.print()
    console.print(Text(result.advice, style="bold"), soft_wrap=True)
