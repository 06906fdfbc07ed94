"""`detq calibrate-variance`: how much the choice of calibration images matters."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from detq.cli.options import (
    DEFAULT_MODEL,
    CalibrationImagesOption,
    CalibrationOption,
    CalibrationSeedOption,
    ClassesOption,
    DataOption,
    JsonOption,
    LimitOption,
    MapOption,
    ModelOption,
    ObserverOption,
    OutOption,
    ResumeOption,
    SeedOption,
    ThreadsOption,
    WeightsOption,
    calibration_of,
    names_of,
)

__all__ = ["calibrate_variance_command"]


def calibrate_variance_command(
    *,
    data: DataOption,
    out: OutOption,
    model: ModelOption = DEFAULT_MODEL,
    seeds: Annotated[int, typer.Option("--seeds", min=1, metavar="N", help="How many sets are drawn.")] = 10,
    weights: WeightsOption = None,
    classes: ClassesOption = None,
    class_map: MapOption = None,
    calibration: CalibrationOption = None,
    calibration_images: CalibrationImagesOption = 50,
    calibration_seed: CalibrationSeedOption = None,
    observer: ObserverOption = "mse",
    limit: LimitOption = None,
    resume: ResumeOption = False,
    seed: SeedOption = 0,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Calibrate static int8 on several random sets of images: mean, spread and worst of AP and the report's metrics.

    Nothing is compiled: int8 is simulated in fp32 on the graphs that would be compiled.

        detq calibrate-variance --data "synthetic:traffic?n=50&seed=100" --seeds 10 --out variance
    """
    from detq.cli.printing import print_table, wide_console
    from detq.cli.progress import progress_for
    from detq.measure.threads import choose_threads
    from detq.sensitivity.variance import VarianceConfig, calibrate_variance

    config = VarianceConfig(
        data=data,
        out=out,
        model=model,
        calibration=calibration_of(calibration, calibration_images, calibration_seed, observer, default=seed),
        seeds=seeds,
        weights=weights,
        classes=names_of(classes),
        class_map=class_map,
        limit=limit,
        resume=resume,
        seed=seed,
        threads=choose_threads(threads),
    )
    with progress_for(quiet=as_json) as progress:
        result = calibrate_variance(config, progress)
    if as_json:
        print(json.dumps(result.to_json(), indent=2))
        return
    console = wide_console()
    print_table(console, result.table())
    console.print(f"Results: {out} (variance.json, .md, seeds.jsonl)", markup=False)
