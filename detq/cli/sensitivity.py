"""`detq sensitivity`: what int8 costs, stage by stage and inside the backbone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from detq.sensitivity.choice import Choice
    from detq.sensitivity.experiment import SensitivityConfig
    from detq.sensitivity.result import Sensitivity

__all__ = ["sensitivity_command"]


def sensitivity_command(
    *,
    data: DataOption,
    out: OutOption,
    model: ModelOption = DEFAULT_MODEL,
    weights: WeightsOption = None,
    classes: ClassesOption = None,
    class_map: MapOption = None,
    calibration: CalibrationOption = None,
    calibration_images: CalibrationImagesOption = 50,
    calibration_seed: CalibrationSeedOption = None,
    observer: ObserverOption = "mse",
    limit: LimitOption = None,
    each_layer: Annotated[
        bool, typer.Option("--each-layer", help="Try every layer of the backbone, not only every block: hours.")
    ] = False,
    stages_only: Annotated[bool, typer.Option("--stages-only", help="Leave the backbone's parts out.")] = False,
    no_times: Annotated[
        bool, typer.Option("--no-times", help="Do not compile the stages in bf16 and in int8 to time them.")
    ] = False,
    choose: Annotated[
        bool, typer.Option("--choose", help="Write what follows for mixed_int8 beside the file of --weights.")
    ] = False,
    resume: ResumeOption = False,
    seed: SeedOption = 0,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what int8 costs: AP with one stage or block alone in int8, and with all but it.

    For AP int8 is simulated in fp32 on the graphs that would be compiled, with biases corrected for each trial; for
    time the stages are compiled in bf16 and in int8. Use images that are neither those of --calibration nor those that
    you report on. A few thousandths are chance with a hundred images; the error of the feature maps is not.

    What mixed_int8 should run follows: int8 in each stage that loses at most 0.002 of AP by it and takes no longer in
    it. A backbone that loses more, or moves its maps by more than 10 %, is tried without its worst block in int8,
    without its two worst, and so on.

        detq sensitivity --data "synthetic:traffic?n=60&seed=100" --out sensitivity

    Your own weights, and the choice that mixed_int8 then makes for them:

        detq sensitivity --data photos/valid --weights my.pth --calibration photos/train --out study --choose
    """
    from detq.engine.choice import write_choice
    from detq.measure.threads import choose_threads
    from detq.sensitivity.choice import as_document
    from detq.sensitivity.experiment import SensitivityConfig

    target = _beside(weights) if choose else None
    config = SensitivityConfig(
        data=data,
        out=out,
        model=model,
        weights=weights,
        classes=names_of(classes),
        class_map=class_map,
        calibration=calibration_of(calibration, calibration_images, calibration_seed, observer, default=seed),
        limit=limit,
        each_layer=each_layer,
        stages_only=stages_only,
        times=not no_times,
        resume=resume,
        seed=seed,
        threads=choose_threads(threads),
    )
    result, found = _run(config, quiet=as_json)
    if target is not None:
        write_choice(target, found.to_json(), result.settings)
    if as_json:
        print(json.dumps(as_document(result, found), indent=2))
    else:
        _show(result, found, out, target)


def _run(config: SensitivityConfig, *, quiet: bool) -> tuple[Sensitivity, Choice]:
    from detq.cli.progress import progress_for
    from detq.report.profile import require_matplotlib
    from detq.sensitivity.experiment import study_sensitivity

    require_matplotlib("detq sensitivity")
    with progress_for(quiet=quiet) as progress:
        return study_sensitivity(config, progress)


def _beside(weights: str | None) -> Path:
    """Return the file that the choice goes to.

    Raises:
        DetqError: there is no file of weights.
    """
    from detq.engine.choice import choice_path
    from detq.errors import DetqError

    if weights is None or not Path(weights).is_file():
        raise DetqError(f"--choose: expected --weights FILE to write beside, got {weights or 'no --weights'}")
    return choice_path(Path(weights))


def _show(result: Sensitivity, choice: Choice, out: Path, target: Path | None) -> None:
    from detq.cli.printing import print_table, wide_console

    console = wide_console()
    for table in result.tables():
        print_table(console, table)
    console.print(f"mixed_int8: {choice}.", markup=False)
    if target is not None:
        console.print(f"mixed_int8 of these weights now runs as {target} says.", markup=False)
    console.print(f"Results: {out} (sensitivity.json, .md, .png, trials.jsonl)", markup=False)
