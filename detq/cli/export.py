"""`detq export`: a variant as one file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from detq.cli.options import (
    CalibrationImagesOption,
    CalibrationOption,
    CalibrationSeedOption,
    ClassesOption,
    ImageSizeOption,
    JsonOption,
    ObserverOption,
    SeedOption,
    ThreadsOption,
    WeightsOption,
    calibration_of,
    names_of,
    sizes_of,
)
from detq.model_files import MODEL_FORMATS, ModelFormat, find_model_format

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["export_command", "image_to_check_with", "refuse_existing"]

_FORMATS = "; ".join(f"`{one.name}`: {one.summary}" for one in MODEL_FORMATS)


def export_command(
    variant: Annotated[str, typer.Argument(metavar="VARIANT", help="A variant of `detq list`.")],
    *,
    format: Annotated[str, typer.Option("--format", metavar="NAME", help=f"{_FORMATS}.")],  # noqa: A002
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The file to write.")],
    weights: WeightsOption = None,
    classes: ClassesOption = None,
    image: Annotated[
        Path | None,
        typer.Option("--image", metavar="FILE", help="The image to check it with; a rendered road by default."),
    ] = None,
    calibration: CalibrationOption = None,
    calibration_images: CalibrationImagesOption = 50,
    calibration_seed: CalibrationSeedOption = None,
    observer: ObserverOption = "mse",
    image_size: ImageSizeOption = None,
    measured: Annotated[
        Path | None,
        typer.Option("--measured", metavar="DIR", help="A folder of `detq run`, whose figures travel in the file."),
    ] = None,
    programs: Annotated[
        bool | None,
        typer.Option(
            "--any-size/--fixed-sizes",
            help="With the graphs that other image sizes are compiled from, which doubles the file; the default.",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
    seed: SeedOption = 0,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a variant to one file that brings its weights and class names, read it back, and check what it finds.

    `detq export fasterrcnn_mobilenet_v3_large_fpn-torchscript_dynamic_int8 --format torchscript --out car.ts`

    `detq export fasterrcnn_mobilenet_v3_large_fpn-mixed_int8 --format detq --image-size 1280x720 --out car.detq`
    """
    from detq.artifact.measured import read_measured
    from detq.measure.threads import choose_threads, pinned_threads
    from detq.variants import find_variant

    chosen, writer = find_variant(variant), find_model_format(format)
    refuse_existing(out, overwrite=overwrite)
    options: dict[str, Any] = {
        "image_sizes": sizes_of(image_size),
        "measured": None if measured is None else read_measured(measured, chosen),
        "programs": programs,
    }
    given = {name: value for name, value in options.items() if value is not None}
    if calibration is not None or "calibration" in writer.options:
        given["calibration"] = calibration_of(calibration, calibration_images, calibration_seed, observer, default=seed)
    _refuse_needless(writer, given)
    if "say" in writer.options:
        given["say"] = lambda sentence: typer.echo(sentence, err=True)
    with pinned_threads(choose_threads(threads), keep_memory=True):
        made = writer.resolve_writer()(
            chosen,
            out,
            weights=weights,
            classes=names_of(classes),
            seed=seed,
            image=image_to_check_with(image),
            **given,
        )
    result: dict[str, Any] = {
        "file": str(made.path),
        "bytes": made.size_bytes,
        "variant": chosen.id,
        "format": writer.name,
        "int8_share": made.int8_share,
        "int8_layers": made.int8_layers,
        "detections_compared": made.compared,
    }
    if as_json:
        print(json.dumps(result, indent=2))
        return
    typer.echo(
        f"{out}: {chosen.id}, {made.size_bytes / 1e6:.1f} MB, {made.int8_share:.1%} of the arithmetic in int8; read "
        f"back, it finds the same {made.compared} objects as before."
    )
    if made.note:
        typer.echo(made.note)


_OPTIONS = {"image_sizes": "--image-size", "programs": "--any-size"}


def _refuse_needless(writer: ModelFormat, given: Mapping[str, Any]) -> None:
    """Raise where an option was given that a format has no use for."""
    from detq.errors import DetqError

    for name in given:
        if name not in writer.options:
            option = _OPTIONS.get(name, f"--{name}")
            raise DetqError(
                f"{option}: --format {writer.name} has no use for it; leave it out or choose another format"
            )


def refuse_existing(out: Path, *, overwrite: bool) -> None:
    """Raise before anything is computed where `out` exists and may not be replaced.

    Raises:
        OutputError: it exists.
    """
    from detq.errors import OutputError

    if out.exists() and not overwrite:
        raise OutputError(f"{out} exists; add --overwrite to replace it, or choose another --out")


def image_to_check_with(path: Path | None) -> NDArray[np.uint8]:
    """Return the image at `path`, or the first rendered road of the benchmark, which shows cars."""
    if path is not None:
        from detq.datasets.images import read_image

        return read_image(path)
    from detq.datasets.synthetic import SEEDS, traffic_camera

    return traffic_camera(1, SEEDS["benchmark"][0], (640, 360)).load(0).image
