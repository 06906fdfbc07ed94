"""`detq profile`: where the time of variants goes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from detq.cli.options import (
    DEFAULT_MODEL,
    CalibrationImagesOption,
    CalibrationOption,
    CalibrationSeedOption,
    ClassesOption,
    FormatOption,
    JsonOption,
    ObserverOption,
    SeedOption,
    SystemAllocatorOption,
    ThreadsOption,
    WeightsOption,
    calibration_of,
    names_of,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from detq.measure.profile import Profile
    from detq.runner.progress import Progress
    from detq.variants import Variant

__all__ = ["profile_command"]

_PICTURES = (".png", ".svg", ".pdf")


def profile_command(
    variants: Annotated[
        list[str], typer.Argument(metavar="VARIANT...", help="Ids of `detq list`, or recipes of --model.")
    ],
    *,
    model: Annotated[
        str, typer.Option("--model", metavar="NAME", help="The model of arguments that are recipes.")
    ] = DEFAULT_MODEL,
    data: Annotated[
        str,
        typer.Option("--data", metavar="PATH", help="Images to time, as `detq run --data` takes; no labels needed."),
    ] = "synthetic:traffic?n=20&seed=7",
    format: FormatOption = None,  # noqa: A002  # what the command line calls it
    limit: Annotated[int, typer.Option("--limit", min=1, metavar="N", help="Use at most N images, spread.")] = 20,
    weights: WeightsOption = None,
    classes: ClassesOption = None,
    calibration: CalibrationOption = None,
    calibration_images: CalibrationImagesOption = 50,
    calibration_seed: CalibrationSeedOption = None,
    observer: ObserverOption = "mse",
    threads: ThreadsOption = None,
    by_threads: Annotated[
        bool, typer.Option("--by-threads", help="Measure at 1, 2, 4 … threads too, up to --threads.")
    ] = False,
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="FILE", help="Draw the stages as bars: .png, .svg or .pdf.")
    ] = None,
    system_allocator: SystemAllocatorOption = False,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Show where the time goes, stage by stage, and how far each is from what this machine could do.

    A detector is a row of stages: transform, backbone, rpn_head, proposals, box_pool, box_head, postprocess, for masks
    mask_pool and mask_head, and paste. Each variant's stages are timed inside the same call that `detq run` times, on
    the same images in turns. Where a stage is layers, its multiply-accumulates are counted, and what it reaches a
    second stands beside what one large plain matrix product of that precision reaches here, in the same run: a stage
    at 70 % of that limit has little left to win, one at 10 % waits for memory or runs in one thread. Stages without
    layers are glue: only their milliseconds count. The first variant is what speed-ups refer to.

    What eager fp32 does and what the advised variant does, and how either gains from threads:

        detq profile fp32 mixed_int8 --by-threads --picture stages.png

    Your own camera's images, other weights:

        detq profile fp32 bf16 --data camera/ --weights my.pth --classes car

    Random weights time a model that you have no weights for (`--weights random`); the number of proposals and
    detections, on which time depends, is in the table: look whether it is realistic.
    """
    from detq.cli.progress import progress_for
    from detq.errors import OutputError
    from detq.measure.threads import choose_threads, pinned_threads

    chosen = _variants(variants, model)
    if picture is not None:
        from detq.report.profile import require_matplotlib

        require_matplotlib("--picture")
        if picture.suffix.lower() not in _PICTURES:
            raise OutputError(f"--picture {picture}: expected a name that ends in {', '.join(_PICTURES)}")
    most = choose_threads(threads)
    counts = sorted({most, *(2**power for power in range(10) if 2**power < most)}) if by_threads else [most]
    drawn = calibration_of(calibration, calibration_images, calibration_seed, observer, default=seed)
    how = {"weights": weights, "classes": names_of(classes), "seed": seed, "calibration": drawn}
    pinned = pinned_threads(most, keep_memory=not system_allocator)
    with pinned, progress_for(quiet=as_json) as progress:
        profile = _measure(chosen, _images(data, format, limit), counts, how, progress)
    if picture is not None:
        from detq.report.profile import draw_profile

        draw_profile(profile, picture)
    if as_json:
        print(json.dumps(_document(profile, data, max(counts)), indent=2))
    else:
        _show(profile, picture)


def _variants(names: list[str], model: str) -> list[Variant]:
    """Return the variants named: an id has a "-", a recipe has none."""
    from detq.variants import find_variant

    return [find_variant(name if "-" in name else f"{model}-{name}") for name in dict.fromkeys(names)]


def _images(data: str, format: str | None, limit: int) -> list[NDArray[np.uint8]]:  # noqa: A002
    from detq.datasets import open_dataset
    from detq.runner.pictures import spread

    dataset = open_dataset(data, format=format, unlabelled=True)
    return [dataset.load(index).image for index in spread(limit, len(dataset))]


def _measure(
    variants: list[Variant],
    images: list[NDArray[np.uint8]],
    threads: list[int],
    how: dict[str, Any],
    progress: Progress,
) -> Profile:
    from detq.measure.profile import profile_variants
    from detq.predictor import build_predictor

    predictors = {one.id: build_predictor(one, **how, say=progress.say) for one in variants}
    progress.begin("timing images", len(images) * len(threads))
    return profile_variants(predictors, images, threads=threads, seed=how["seed"], step=progress.step)


def _document(profile: Profile, data: str, threads: int) -> dict[str, object]:
    from detq.measure.environment import environment, machine_class

    found = environment(threads)
    about = {"format": "detq-profile/1", "data": data, "machine_class": machine_class(found).id, "environment": found}
    return {**about, **profile.to_json()}


def _show(profile: Profile, picture: Path | None) -> None:
    from rich.text import Text

    from detq.cli.printing import print_table, wide_console
    from detq.report.profile import profile_tables

    console = wide_console()
    for table in profile_tables(profile):
        print_table(console, table)
    if picture is not None:
        console.print(Text(f"Picture: {picture}"), soft_wrap=True)
