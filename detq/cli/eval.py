"""`detq eval`: the accuracy of saved predictions, without a model and without torch."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from detq.cli.options import (
    AllowUnlabelledOption,
    DataOption,
    FormatOption,
    IouOption,
    JsonOption,
    MapOption,
    ReportClassOption,
    ScoreOption,
    SplitOption,
    names_of,
)

if TYPE_CHECKING:
    from detq.datasets import Dataset
    from detq.types import Detections, GroundTruth

__all__ = ["evaluate_command"]

FORMAT = "detq-eval/1"
_REFERENCE = "fp32"


def evaluate_command(
    *,
    data: DataOption,
    predictions: Annotated[
        list[Path],
        typer.Option(
            "--predictions",
            metavar="FILE",
            help="`predictions.jsonl` of a run, or COCO results JSON (one variant, named after the file); repeatable.",
        ),
    ],
    data_format: FormatOption = None,
    classes: Annotated[
        str | None,
        typer.Option(metavar="A,B,C", help="Names of the data's class numbers from 0, or a file with one a line."),
    ] = None,
    class_map: MapOption = None,
    split: SplitOption = None,
    allow_unlabelled: AllowUnlabelledOption = False,
    score: ScoreOption = 0.7,
    iou: IouOption = 0.65,
    report_class: ReportClassOption = None,
    reference: Annotated[
        str | None,
        typer.Option(metavar="VARIANT", help="The variant that the others are compared with. Default: `fp32`, if any."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure saved predictions against labels: no model is loaded.

    Prints, for each variant, the 2024 report's four metrics, COCO's AP, AP50, AP75 and AP by object size (for masks
    too, where predictions and data have them), and one-to-one precision, recall and F1; and each difference to the
    reference with its 95 % interval over images.

    Example: `detq eval --data photos/test --predictions first-run/predictions.jsonl --map car=1,2`

    Predictions of any other detector can be measured too, as COCO results JSON. Where the data set has no image
    numbers, `image_id` holds the image's file name, and `category_name` the class.
    """
    from detq.datasets import open_dataset
    from detq.metrics.evaluate import choose_report_class, evaluate

    dataset = open_dataset(
        data,
        format=data_format,
        classes=names_of(classes),
        class_map=class_map,
        split=split,
        allow_unlabelled=allow_unlabelled,
    )
    chosen = choose_report_class(dataset.classes, report_class)
    found, dropped = _read(predictions, dataset)
    compared = _choose_reference(reference, found)
    masks = dataset.has_masks and any(item.masks is not None for images in found.values() for item in images)
    truths = _truths(dataset, masks=masks)
    result = {
        "format": FORMAT,
        "data": {"name": dataset.name, "identity": dataset.identity(), "images": len(dataset)},
        "classes": list(dataset.classes),
        "report_class": chosen,
        "score": score,
        "iou": iou,
        "reference": compared,
        "left_out": _left_out(dataset, dropped),
        "variants": evaluate(
            found,
            truths,
            dataset.classes,
            reference=compared,
            score=score,
            iou=iou,
            report_class=chosen,
        ),
    }
    if as_json:
        print(json.dumps(result, indent=2, allow_nan=False))
    else:
        _print(result)


def _read(paths: Iterable[Path], dataset: Dataset) -> tuple[dict[str, Sequence[Detections]], Counter[str]]:
    """Return the variants of all files together, and what was dropped from them by class."""
    from detq.errors import DataError
    from detq.predictions import read_predictions

    variants: dict[str, Sequence[Detections]] = {}
    homes: dict[str, Path] = {}
    dropped: Counter[str] = Counter()
    for path in paths:
        predictions = read_predictions(path, dataset)
        for variant, found in predictions.items():
            if variant in variants:
                raise DataError(
                    f"--predictions: expected each variant once, found {variant!r} in {homes[variant]} and in {path}; "
                    "leave one out or rename it"
                )
            variants[variant], homes[variant] = found, path
        dropped += predictions.dropped
    return variants, dropped


def _choose_reference(wanted: str | None, variants: Mapping[str, object]) -> str | None:
    from detq.errors import unknown_name

    if wanted is not None and wanted not in variants:
        raise unknown_name("--reference", wanted, variants)
    return wanted or (_REFERENCE if _REFERENCE in variants else None)


def _truths(dataset: Dataset, *, masks: bool) -> list[GroundTruth]:
    from detq.errors import DataError

    dataset.check()
    dataset.masks = masks
    truths = []
    for index in range(len(dataset)):
        target = dataset.target(index)
        if target is None:
            raise DataError(
                f"{dataset.name}: expected labels, found none for image {dataset.image_id(index)!r}; accuracy "
                "cannot be measured without them, so give a labelled --data"
            )
        truths.append(target.compact())
    return truths


def _left_out(dataset: Dataset, dropped: Mapping[str, int]) -> list[str]:
    """Return a sentence for each class that was left out of the labels or of the predictions."""
    labels = [f"{count} labels of class {name} (not in --map)" for name, count in dataset.ignored.items()]
    return labels + [f"{count} predictions of class {name} (not in the data set)" for name, count in dropped.items()]


def _print(result: Mapping[str, Any]) -> None:
    from rich.console import Console

    from detq.records import from_json
    from detq.report.accuracy_table import MOST_SIDE_BY_SIDE, accuracy_overview, accuracy_table
    from detq.results import Accuracy

    found = {variant: from_json(Accuracy, entry, variant) for variant, entry in result["variants"].items()}
    given: dict[str, Any] = {name: result[name] for name in ("score", "iou", "report_class")}
    given["images"] = result["data"]["images"]
    if len(found) > MOST_SIDE_BY_SIDE:
        table = accuracy_overview(found, **given, more="--json")
    else:
        table = accuracy_table(found, **given, reference=result["reference"] or _REFERENCE)
    console = Console(soft_wrap=False)
    console.print(table.to_rich())
    for note in table.notes:
        console.print(note, markup=False, highlight=False)
    if result["left_out"]:
        console.print(f"Left out: {'; '.join(result['left_out'])}.", markup=False, highlight=False)
