"""`detq predict`: a variant on single images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from detq.cli.options import (
    ArtifactOption,
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
    open_artifact,
    sizes_of,
)

if TYPE_CHECKING:
    from detq.predictor import Predictor
    from detq.types import Detections

__all__ = ["name_outputs", "predict_command"]


def predict_command(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Image files.")],
    *,
    variant: Annotated[
        str, typer.Option("--variant", metavar="ID", help="A variant of `detq list`.")
    ] = "fasterrcnn_mobilenet_v3_large_fpn-dynamic_int8",
    artifact: ArtifactOption = None,
    weights: WeightsOption = None,
    classes: ClassesOption = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for pictures and JSON.")] = Path(),
    score: Annotated[float, typer.Option("--score", metavar="S", help="Least score of a detection.")] = 0.5,
    image_size: ImageSizeOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist.")] = False,
    seed: SeedOption = 0,
    threads: ThreadsOption = None,
    calibration: CalibrationOption = None,
    calibration_images: CalibrationImagesOption = 50,
    calibration_seed: CalibrationSeedOption = None,
    observer: ObserverOption = "mse",
    as_json: JsonOption = False,
) -> None:
    """Find objects in images with one variant: a picture and a JSON for each.

    For `photo.jpg` it writes `photo.detq.jpg` and `photo.detq.json` into --out, boxes as x1, y1, x2, y2 in pixels of
    the upright image, masks (of models that have them) as COCO's compressed run lengths.

    Example: `detq predict photos/*.jpg --variant fasterrcnn_mobilenet_v3_large_fpn-dynamic_int8 --out found`

    A file of `detq export`, or a TorchScript detector of torchvision's or Detectron2's:
    `detq predict photos/*.jpg --artifact model.ts --classes balloon --out found`, or `--artifact car.detq`.
    """
    from detq.errors import DetqError
    from detq.measure.threads import choose_threads, pinned_threads
    from detq.variants import find_variant

    if not 0 <= score <= 1:
        raise DetqError(f"--score: expected a number from 0 to 1, got {score}")
    chosen = find_variant(variant)
    if artifact is not None and weights is not None:
        raise DetqError(f"--weights {weights}: the file of --artifact brings its own weights; leave one of the two out")
    if artifact is not None and calibration is not None:
        raise DetqError(f"--calibration {calibration}: the file of --artifact is calibrated; leave one of the two out")
    choice = calibration_of(calibration, calibration_images, calibration_seed, observer, default=seed)
    outputs = name_outputs(images, out)
    _check_files(outputs, out, overwrite=overwrite)
    with pinned_threads(choose_threads(threads), keep_memory=True):
        from detq.predictor import build_predictor

        if artifact is not None:
            predictor = open_artifact(artifact, names_of(classes))
            for note in predictor.notes:  # building says it itself
                typer.echo(f"{note}.", err=True)
        else:
            predictor = build_predictor(
                chosen,
                weights=weights,
                classes=names_of(classes),
                seed=seed,
                calibration=choice,
                say=lambda sentence: typer.echo(sentence, err=True),
            )
        for height, width in sizes_of(image_size) or ():
            predictor.expect(height, width)
        if not predictor.meaningful:
            typer.echo("The weights are RANDOM: what is found means nothing.", err=True)
        results = [_predict(predictor, image, outputs[image], score, quiet=as_json) for image in outputs]
    if as_json:
        print(json.dumps(results, indent=2))


def name_outputs(images: Sequence[Path], out: Path) -> Mapping[Path, Path]:
    """Return, for each image once, the path of its outputs without their suffix.

    Images of one name in different folders get as much of their folders' names as tells them apart.
    """
    unique = list(dict.fromkeys(images))
    names = {image: image.stem for image in unique}
    for depth in range(1, max((len(image.parts) for image in unique), default=0) + 1):
        taken = [image for image in unique if list(names.values()).count(names[image]) > 1]
        for image in taken:
            folders = [part for part in image.parent.parts[-depth:] if part not in ("/", "..")]
            names[image] = "_".join([*folders, image.stem])
    for number, image in enumerate(unique):
        if list(names.values()).count(names[image]) > 1:  # a.jpg and a.png in one folder
            names[image] = f"{names[image]}_{image.suffix.lstrip('.')}_{number}"
    return {image: out / f"{name}.detq" for image, name in names.items()}


def _check_files(outputs: Mapping[Path, Path], out: Path, *, overwrite: bool) -> None:
    """Refuse before the model is loaded: an image that is missing or damaged, or an output that exists."""
    from detq.datasets.images import read_image
    from detq.errors import OutputError

    for image in outputs:
        read_image(image)  # whole: a header says nothing about what follows it
    if out.exists() and not out.is_dir():
        raise OutputError(f"--out {out}: expected a folder, found a file; choose another --out")
    for base in outputs.values():
        for path in (_picture(base), _detections(base)):
            if path.exists() and not overwrite:
                raise OutputError(f"{path} exists; add --overwrite to replace it, or choose another --out")


def _picture(base: Path) -> Path:
    return base.with_name(f"{base.name}.jpg")


def _detections(base: Path) -> Path:
    return base.with_name(f"{base.name}.json")


def _predict(predictor: Predictor, path: Path, base: Path, score: float, *, quiet: bool) -> dict[str, Any]:
    from PIL import Image

    from detq.datasets.images import read_image
    from detq.files import atomic_path, write_json
    from detq.report.overlay import draw_overlay

    image = read_image(path)
    found = predictor.predict(image).compact()
    kept = found[found.scores >= score]
    picture = draw_overlay(
        image, kept, None, predictor.classes, score_threshold=score, names=(predictor.variant.id, ""), title=path.name
    )
    with atomic_path(_picture(base)) as temporary:
        Image.fromarray(picture).save(temporary, format="JPEG", quality=90)
    result = _describe(predictor, path, image.shape[1], image.shape[0], kept)
    write_json(_detections(base), result)
    if not quiet:
        typer.echo(f"{path}: {len(kept)} found, {_picture(base)}, {_detections(base)}")
    return result


def _describe(predictor: Predictor, path: Path, width: int, height: int, found: Detections) -> dict[str, Any]:
    from detq.masks import as_rle

    masks = [{}] * len(found) if found.masks is None else [{"mask": rle} for rle in as_rle(found.masks)]
    objects = [
        {
            "class": predictor.classes[int(label)],
            "score": round(float(score), 4),
            "box": [round(float(v), 2) for v in box],
            **mask,
        }
        for box, score, label, mask in zip(found.boxes, found.scores, found.labels, masks, strict=True)
    ]
    return {
        "image": str(path),
        "width": width,
        "height": height,
        "variant": predictor.variant.id,
        "weights": predictor.weights.describe(),
        "meaningful": predictor.meaningful,
        "detections": objects,
    }
