"""Options that several commands share, so that one name means one thing everywhere."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from detq.models.zoo import DEFAULT_MODEL

if TYPE_CHECKING:
    from detq.engine.calibration import CalibrationChoice
    from detq.predictor import Predictor

__all__ = [
    "DEFAULT_MODEL",
    "AllowUnlabelledOption",
    "ArtifactOption",
    "CalibrationImagesOption",
    "CalibrationOption",
    "CalibrationSeedOption",
    "ClassesOption",
    "DataOption",
    "FormatOption",
    "ImageSizeOption",
    "IouOption",
    "JsonOption",
    "LimitOption",
    "MapOption",
    "ModelOption",
    "ObserverOption",
    "OutOption",
    "ReportClassOption",
    "ResumeOption",
    "ScoreOption",
    "SeedOption",
    "SplitOption",
    "SystemAllocatorOption",
    "ThreadsOption",
    "WeightsOption",
    "calibration_of",
    "names_of",
    "open_artifact",
    "sizes_of",
]

DataOption = Annotated[
    str,
    typer.Option(
        "--data",
        metavar="PATH",
        help="A folder of images with labels, a COCO JSON, or `synthetic:traffic?n=200&seed=7`. Options may follow: "
        "`DIR?classes=car,bus&split=val`.",
    ),
]
FormatOption = Annotated[
    str | None, typer.Option("--format", metavar="NAME", help="The data's format, where it is not recognised.")
]
MapOption = Annotated[
    str | None,
    typer.Option("--map", metavar="NAME=A,B", help="Keep and merge classes of the data: `car=1,2;truck=lorry`."),
]
AllowUnlabelledOption = Annotated[
    bool, typer.Option("--allow-unlabelled", help="An image without a label file is background, not a mistake.")
]
OutOption = Annotated[Path, typer.Option("--out", metavar="DIR", help="A new folder for the results.")]
ModelOption = Annotated[
    str, typer.Option("--model", metavar="NAME", help="A model of `detq list`, or your own `package.module:build`.")
]
LimitOption = Annotated[int | None, typer.Option("--limit", metavar="N", help="Use the first N images.")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on in --out where the command stopped.")]
WeightsOption = Annotated[
    str | None,
    typer.Option(
        "--weights",
        metavar="SOURCE",
        help="A .safetensors or .pth file, `packaged`, `coco`, or `random` (for timing only; `random:20` finds "
        "20 objects in every image). By default the packaged "
        "checkpoint where there is one, else coco.",
    ),
]
ClassesOption = Annotated[
    str | None,
    typer.Option(
        "--classes",
        metavar="A,B,C",
        help="With `--weights FILE`: the names of its labels from 1, if it brings none. Otherwise: the names of the "
        "data's class numbers from 0, or a file with one name a line.",
    ),
]
ArtifactOption = Annotated[
    Path | None,
    typer.Option(
        "--artifact", metavar="FILE", help="A whole model, such as `detq export` writes, instead of a variant."
    ),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option("--threads", metavar="N", help="Threads of torch; by default the cores that this process may use."),
]
SystemAllocatorOption = Annotated[
    bool,
    typer.Option(
        "--system-allocator",
        help="Let the C library give freed memory back to the system, as it does by default; eager models are slower "
        "then, and differ from process to process. Without this it is kept, as MALLOC_MMAP_MAX_=0 "
        "MALLOC_TRIM_THRESHOLD_=1099511627776 would.",
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Decides every random choice.")]
ScoreOption = Annotated[
    float,
    typer.Option(
        "--score",
        min=0.0,
        max=1.0,
        metavar="S",
        help="Least score of a detection in the report's metrics and pictures.",
    ),
]
IouOption = Annotated[
    float, typer.Option("--iou", min=0.0, max=1.0, metavar="T", help="Least IoU of a match in the report's metrics.")
]
SplitOption = Annotated[
    str | None,
    typer.Option("--split", metavar="NAME", help="Which part of a YOLO `data.yaml` to read: train, val or test."),
]
ReportClassOption = Annotated[
    str | None,
    typer.Option(
        "--report-class",
        metavar="NAME",
        help="The class of the 2024 report's four metrics. Default: `car`, or the only class.",
    ),
]
CalibrationOption = Annotated[
    str | None,
    typer.Option(
        "--calibration",
        metavar="PATH",
        help="Images for static int8's ranges, like those that the weights were trained on; labels are not read. "
        "By default rendered frames, for the packaged weights only.",
    ),
]
CalibrationImagesOption = Annotated[
    int, typer.Option("--calibration-images", metavar="N", help="How many of them are drawn.")
]
CalibrationSeedOption = Annotated[
    int | None, typer.Option("--calibration-seed", min=0, metavar="N", help="Which are drawn. Default: as --seed.")
]
ObserverOption = Annotated[
    str,
    typer.Option(
        "--observer",
        metavar="NAME",
        help="How a range is chosen: `mse` (least squared error), `minmax`, or `percentile` (99.99 %).",
    ),
]
ImageSizeOption = Annotated[
    str | None,
    typer.Option(
        "--image-size",
        metavar="WxH",
        help="Get compiled stages ready for images of this width and height in pixels, or of several: "
        "`1280x720,640x480`.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, and nothing else there.")]


def calibration_of(
    path: str | None, images: int, seed: int | None, observer: str, *, default: int
) -> CalibrationChoice:
    """Return what the options say about calibration.

    Args:
        path: of `--calibration`.
        images: of `--calibration-images`.
        seed: of `--calibration-seed`, or None.
        observer: of `--observer`.
        default: the seed where none was given: that of `--seed`.

    Raises:
        DetqError: no images, or an unknown observer.
    """
    from detq.engine.calibration import CalibrationChoice

    return CalibrationChoice(path, images, default if seed is None else seed, observer)


def names_of(text: str | None) -> tuple[str, ...] | None:
    """Return the names in `a,b,c` or in a file with one name a line, or None where nothing was given."""
    from detq.datasets.options import parse_classes

    return None if text is None else parse_classes(text)


def open_artifact(path: Path, classes: Sequence[str] | None) -> Predictor:
    """Return the predictor of the whole model in a file; `classes` name its labels if the file does not."""
    from detq.model_files import load

    return load(path, classes=classes)


def sizes_of(text: str | None) -> tuple[tuple[int, int], ...] | None:
    """Return the (height, width) of each size in `1280x720,640x480`, or None where nothing was given.

    Raises:
        DetqError: it is something else.
    """
    from detq.errors import DetqError

    if text is None:
        return None
    found = [re.fullmatch(r"\s*([1-9]\d{0,4})[x×]([1-9]\d{0,4})\s*", part) for part in text.split(",")]
    sizes = tuple((int(match[2]), int(match[1])) for match in found if match)
    if len(sizes) < len(found):
        raise DetqError(
            f"--image-size {text}: expected width and height in pixels such as 1280x720, or several with commas"
        )
    return sizes
