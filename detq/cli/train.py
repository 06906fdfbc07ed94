"""`detq train`: train or fine-tune a detector on one's own data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from detq.cli.options import (
    DEFAULT_MODEL,
    ClassesOption,
    JsonOption,
    ModelOption,
    OutOption,
    ResumeOption,
    SeedOption,
    ThreadsOption,
    names_of,
)
from detq.errors import DetqError

if TYPE_CHECKING:
    from detq.report.table import Table

__all__ = ["train_command"]

_SOURCE = "a folder of images with labels, a COCO JSON, or `synthetic:traffic?n=2000&seed=100`"


def train_command(
    *,
    data: Annotated[
        list[str],
        typer.Option(
            "--data",
            metavar="SRC",
            help=f"Train on {_SOURCE}. Options may follow: `DIR?map=car=1,2&repeat=2`. May be given several times.",
        ),
    ],
    out: OutOption,
    val: Annotated[
        list[str] | None,
        typer.Option("--val", metavar="SRC", help="Validate on this at the end. May be given several times."),
    ] = None,
    model: ModelOption = DEFAULT_MODEL,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            metavar="START",
            help="Where to start: a file (also of a backbone alone), `packaged`, `coco` or `random`. By default the "
            "packaged checkpoint where there is one, else coco.",
        ),
    ] = None,
    classes: ClassesOption = None,
    new_predictor: Annotated[
        bool, typer.Option("--new-predictor", help="Train the predictor anew where START has other classes.")
    ] = False,
    epochs: Annotated[
        float | None, typer.Option("--epochs", metavar="N", help="Show each image N times; 10 by default.")
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", metavar="N", help="Instead of epochs: steps in all.")] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", metavar="N", help="Images a step.")] = 4,
    learning_rate: Annotated[
        float, typer.Option("--learning-rate", metavar="LR", help="AdamW's, after the warm-up.")
    ] = 2e-4,
    warmup_steps: Annotated[int, typer.Option("--warmup-steps", metavar="N", help="Steps of linear growth.")] = 100,
    weight_decay: Annotated[float, typer.Option("--weight-decay", metavar="W", help="AdamW's.")] = 1e-4,
    min_sizes: Annotated[
        str | None,
        typer.Option(
            "--min-sizes",
            metavar="A,B",
            help="Short sides in pixels, one drawn a step; by default 0.6, 0.8 and 1 times the model's own.",
        ),
    ] = None,
    rois_per_image: Annotated[
        int | None,
        typer.Option(
            "--rois-per-image",
            metavar="N",
            help="Proposals an image that a two-stage detector's second stage learns from; default: the model's own.",
        ),
    ] = None,
    freeze: Annotated[
        str | None,
        typer.Option(
            "--freeze",
            metavar="PART",
            help="Leave a part as it is: `backbone`, `all-but-heads`, or `all-but-mask` to add masks to a detector.",
        ),
    ] = None,
    augment: Annotated[
        bool, typer.Option("--augment/--no-augment", help="Flip, crop, recolour and blur the images.")
    ] = True,
    val_limit: Annotated[
        int | None, typer.Option("--val-limit", metavar="N", help="Validate on N images of each set, evenly spread.")
    ] = None,
    seed: SeedOption = 0,
    threads: ThreadsOption = None,
    workers: Annotated[
        int, typer.Option("--workers", metavar="N", help="Processes that load images; 0 loads between steps.")
    ] = 1,
    checkpoint_minutes: Annotated[
        float, typer.Option("--checkpoint-minutes", metavar="N", help="Minutes between checkpoints.")
    ] = 5.0,
    resume: ResumeOption = False,
    precision: Annotated[
        str,
        typer.Option("--precision", metavar="P", help="fp32, bf16 (autocast), or auto: bf16 where it is native."),
    ] = "auto",
    licence_note: Annotated[
        list[str] | None,
        typer.Option(
            "--licence-note",
            metavar="TEXT",
            help="A sentence on the data's or START's licence for the model card. May be given several times.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train a detector, from a checkpoint or from scratch, and say how good it is.

    The folder gets `model.safetensors` (fp16, for `--weights`), `model.json` (its card: data, recipe, accuracy before
    and after), `losses.csv` and `checkpoint.pth`. Interrupted, even killed, a training goes on with the same command
    and `--resume`, on a CPU with exactly the result that it would have had.

        detq train --data "photos/train?map=car=1,2" --val "photos/valid?map=car=1,2" --out my-model --epochs 10
    """
    from detq.measure.threads import choose_threads
    from detq.training import TrainConfig, parse_source, train

    config = TrainConfig(
        model=model,
        data=tuple(map(parse_source, data)),
        val=tuple(map(parse_source, val or ())),
        out=out,
        weights=weights,
        classes=names_of(classes),
        new_predictor=new_predictor,
        epochs=10.0 if epochs is None and steps is None else epochs,
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        warmup_steps=warmup_steps,
        weight_decay=weight_decay,
        min_sizes=_sizes(min_sizes),
        rois_per_image=rois_per_image,
        freeze=freeze,
        augment=augment,
        val_limit=val_limit,
        seed=seed,
        threads=choose_threads(threads),
        workers=workers,
        checkpoint_minutes=checkpoint_minutes,
        resume=resume,
        precision=precision,
        licence_notes=tuple(licence_note or ()),
    )
    from detq.cli.train_progress import train_progress_for
    from detq.training.precision import keep_freed_memory

    keep_freed_memory()
    progress = train_progress_for(quiet=as_json)
    try:
        card = train(config, progress)
    finally:
        progress.end_stage()
    if as_json:
        print(json.dumps(card, indent=2))
    else:
        _show(card, out)


def _sizes(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise DetqError(f"--min-sizes: expected whole numbers such as 480,640,800, got {text!r}") from None


def _show(card: dict[str, Any], out: Path) -> None:
    from rich.text import Text

    from detq.cli.printing import wide_console

    console = wide_console()
    for name, accuracy in card["validation"].items():
        console.print(_table(name, accuracy, card["validation_untuned"].get(name)).to_rich())
    losses = ", ".join(f"{name} {value:.3f}" for name, value in card["final_losses"].items())
    console.print(Text(f"Final losses: {losses}"), soft_wrap=True)
    console.print(Text(f"Model: {out / card['weights']['file']}, its card beside it"), soft_wrap=True)


def _table(name: str, accuracy: dict[str, Any], untuned: dict[str, Any] | None) -> Table:
    from detq.report.table import Table

    rows = {"untuned": untuned, "trained": accuracy} if untuned else {"trained": accuracy}
    figures = {label: _figures(entry) for label, entry in rows.items()}
    columns = tuple(dict.fromkeys(column for found in figures.values() for column in found))
    cells = tuple((label, *(_cell(found.get(column)) for column in columns)) for label, found in figures.items())
    return Table(f"{name}, {accuracy['images']} images", ("", *columns), cells)


def _figures(entry: dict[str, Any]) -> dict[str, float | None]:
    coco = {key: entry["coco"][key] for key in ("AP", "AP50", "AP75", "APs", "APm", "APl")}
    masks = {f"mask {key}": entry["masks"][key] for key in ("AP", "AP50")} if entry.get("masks") else {}
    return coco | masks | {key.replace("_", " "): value for key, value in entry["report"].items()}


def _cell(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"
