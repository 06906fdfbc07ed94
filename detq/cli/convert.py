"""`detq convert`: a data set in another annotation format."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from detq.cli.options import AllowUnlabelledOption, FormatOption, JsonOption, MapOption, SeedOption, names_of

if TYPE_CHECKING:
    from detq.convert import Summary
    from detq.runner.progress import Progress

__all__ = ["convert_command"]

FORMAT = "detq-convert/1"
# So many places are printed for each reason; all of them are in --json.
_SHOWN = 20


def convert_command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="A folder of images with annotations, or an annotation file: see `--format`."
        ),
    ],
    *,
    to: Annotated[str, typer.Option("--to", metavar="NAME", help="coco, via, labelme or yolo.")] = "coco",
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new or empty folder for the result.")],
    data_format: FormatOption = None,
    category_from: Annotated[
        str | None,
        typer.Option(
            "--category-from",
            metavar="PATH",
            help="Where VIA, labelme and VOC files have the class: `region_attributes.Clases`, `label`, `name`.",
        ),
    ] = None,
    category: Annotated[
        str | None,
        typer.Option(
            "--category", metavar="NAME", help="One class for all; with `--category-from`, for what has none there."
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option("--classes", metavar="A,B,C", help="Names of YOLO's class numbers, or a file with one a line."),
    ] = None,
    class_map: MapOption = None,
    split: Annotated[
        float | None,
        typer.Option("--split", metavar="SHARE", help="The share of the images for training, such as 0.8."),
    ] = None,
    seed: SeedOption = 0,
    images: Annotated[
        str, typer.Option("--images", metavar="HOW", help="copy, link, or none: leave them where they are.")
    ] = "copy",
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="Leave invalid annotations and images out, and name each.")
    ] = False,
    allow_unlabelled: AllowUnlabelledOption = False,
    as_json: JsonOption = False,
) -> None:
    """Convert annotations: VIA, labelme, VOC, YOLO, COCO or corner files to COCO, VIA, labelme or YOLO.

    Shapes become polygons or run lengths with boxes and areas, image sizes come from the files. The result is written
    whole or not at all; what is left out, changed or not carried over is named at the end.

    Example: `detq convert balloon/train --category balloon --to coco --split 0.8 --out balloon-coco`

    A class can stand in any attribute, `--category-from region_attributes.Clases`; a path that the file lacks is
    answered with those that it has.
    """
    from detq.cli.progress import progress_for
    from detq.convert import convert, find_target
    from detq.datasets import open_dataset

    find_target(to)  # before a large source is read
    data = open_dataset(
        source,
        format=data_format,
        classes=names_of(classes),
        class_map=class_map,
        allow_unlabelled=allow_unlabelled,
        category_from=category_from,
        category=category,
    )
    with progress_for(quiet=as_json) as progress:
        summary = convert(
            data,
            to,
            out,
            split=split,
            seed=seed,
            images=images,
            skip_invalid=skip_invalid,
            allow_unlabelled=allow_unlabelled,
            progress=_Stages(progress).step,
        )
    if as_json:
        print(json.dumps({"version": FORMAT, "source": data.name, **asdict(summary)}, indent=2, ensure_ascii=False))
    else:
        _print(summary, data.name)


class _Stages:
    """Shows one stage after the other."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._stage = ""

    def step(self, stage: str, done: int, total: int) -> None:
        """Show that `done` of a stage's `total` images are done."""
        if stage != self._stage:
            self._progress.end()
            self._progress.begin(stage, total)
            self._stage = stage
        self._progress.step(done)


def _print(summary: Summary, source: str) -> None:
    from rich.console import Console
    from rich.text import Text

    from detq.report.table import Table

    console = Console(highlight=False)
    rows = [(name, *map(str, _in_out(summary, name))) for name in ("images", "annotations", "categories")]
    rows += [(f"  {name}", str(count.read), str(count.written)) for name, count in summary.by_category.items()]
    console.print(Text(f"{source} to {summary.format}"), soft_wrap=True)
    console.print(Table("", ("", "in", "out"), tuple(rows), words=1).to_rich())
    for line in _lines(summary):
        console.print(Text(line), soft_wrap=True)


def _in_out(summary: Summary, name: str) -> tuple[int, int]:
    found = getattr(summary, name)
    return found.read, found.written


def _lines(summary: Summary) -> Iterator[str]:
    from detq.convert.fit import NAMED_CHANGES

    if summary.shapes:
        yield f"shapes: {', '.join(f'{count} {kind}' for kind, count in summary.shapes.items())}"
    for text, places in summary.changed.items():
        yield f"changed: {len(places)} × {text}"
        if text in NAMED_CHANGES:
            yield from _places(places)
    yield from _dropped(summary)
    if summary.not_carried:
        fields = ", ".join(f"{name} ({count})" for name, count in summary.not_carried.items())
        yield f"not carried, {summary.format} has no place for it: {fields}"
    yield from (f"note: {note}" for note in summary.notes)
    for part in summary.parts:
        name = f"{part.name}: " if part.name else ""
        yield f"{name}{part.images} images, {part.annotations} annotations: {part.opens}"


def _dropped(summary: Summary) -> Iterator[str]:
    by_reason: dict[tuple[str, str], list[str]] = {}
    for entry in summary.dropped:
        by_reason.setdefault((entry.what, entry.reason), []).append(entry.where)
    if not by_reason:
        yield "dropped: nothing"
    for (what, reason), places in by_reason.items():
        yield f"dropped: {len(places)} {what}{'s' if len(places) > 1 else ''}, {reason}"
        yield from _places([place for place in places if place])


def _places(places: Sequence[str]) -> Iterator[str]:
    yield from (f"  {place}" for place in places[:_SHOWN])
    if len(places) > _SHOWN:
        yield f"  and {len(places) - _SHOWN} more, all in --json"
