"""`detq import-detectron2`: a Detectron2 checkpoint becomes a detq model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from detq.cli.options import JsonOption, names_of

__all__ = ["import_detectron2_command"]


def import_detectron2_command(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="`model_final.pth`, or a `.pkl` of Detectron2's model zoo.")
    ],
    *,
    config: Annotated[
        str,
        typer.Option(
            "--config",
            metavar="NAME|FILE",
            help="A name of Detectron2's model zoo such as `mask_rcnn_R_50_FPN_3x`, or your own config: the "
            "`config.yaml` in Detectron2's OUTPUT_DIR.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The `.safetensors` file to write.")],
    classes: Annotated[
        str | None,
        typer.Option(
            "--classes",
            metavar="A,B,C",
            help="The names of its classes in the order of their numbers, or a file with one name a line. 80 classes "
            "are COCO's by default.",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a detq model of a Detectron2 Faster or Mask R-CNN (R50 or R101, FPN); Detectron2 is not needed.

    It writes the weights, with the config and the class names in their metadata, and a model card beside them. No code
    in the checkpoint is run.

    Example: `detq import-detectron2 model_final.pth --config mask_rcnn_R_50_FPN_3x --classes balloon --out
    balloon.safetensors`
    """
    names = names_of(classes)
    from detq.models.detectron2.importing import import_checkpoint

    made = import_checkpoint(checkpoint, config, out, classes=names, overwrite=overwrite)
    if as_json:
        result = {"model": made.model, "classes": made.classes, "weights": str(made.weights), "card": str(made.card)}
        print(json.dumps(result, indent=2))
        return
    shown = ", ".join(made.classes[:5]) + ", …" * (len(made.classes) > 5)
    typer.echo(f"{made.weights}, {made.card}: {len(made.classes)} class{'es' * (len(made.classes) > 1)} ({shown})")
    typer.echo(f"Next: detq run --model {made.model} --weights {made.weights} --data FOLDER --out FOLDER")
