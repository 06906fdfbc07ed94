"""The report's second table: how good each variant is, and what it loses to the reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from detq.metrics.coco import AP_METRICS
from detq.metrics.evaluate import choose_report_class
from detq.metrics.report2024 import METRICS
from detq.report.table import Table, interval_text
from detq.results import REFERENCE, Accuracy, RunResult

__all__ = ["MOST_SIDE_BY_SIDE", "accuracy_overview", "accuracy_table", "accuracy_tables"]

MOST_SIDE_BY_SIDE = 3
"""So many variants with their differences and intervals fit side by side into a terminal."""

_NAMES = {
    "prediction_iou": "prediction IoU",
    "ground_truth_iou": "ground truth IoU",
    "APs": "AP small (< 32² px)",
    "APm": "AP medium",
    "APl": "AP large (> 96² px)",
}
_MATCHING = {"precision": "precision, one to one", "recall": "recall, one to one", "f1": "F1, one to one"}
_DIGITS = 4
_OVERVIEW = ("AP", "AP50", "AP75")


_NOTHING = Accuracy(report_class=None, report={}, coco={}, matching={}, difference=None)


def accuracy_tables(result: RunResult) -> Iterator[Table]:
    """Yield the accuracy table of a run; none on unlabelled data, and nothing but "n/a" for random weights."""
    if result.labelled or not result.meaningful_accuracy:
        yield accuracy_table(
            {recipe: variant.accuracy or _NOTHING for recipe, variant in result.variants.items()},
            images=result.data.images,
            score=result.score,
            iou=result.iou,
            report_class=choose_report_class(result.data.classes),
        )


def accuracy_table(
    accuracies: Mapping[str, Accuracy],
    *,
    images: int,
    score: float,
    iou: float,
    report_class: str | None,
    reference: str = REFERENCE,
) -> Table:
    """Return a row for each metric: the variants' values, and each difference to the reference with its interval.

    Args:
        accuracies: by variant, the reference among them or not.
        images: how many were evaluated.
        score: least score of a detection that counted.
        iou: least IoU of a right one.
        report_class: what the report's metrics were computed for; None for nothing.
        reference: the variant that the differences refer to.
    """
    columns = ["metric"]
    for variant, accuracy in accuracies.items():
        columns.append(variant)
        if accuracy.difference:
            columns.append(f"− {reference} (95 %)")
    rows = [_row(_NAMES.get(name, name), "report", name, accuracies) for name in METRICS]
    rows += [_row(_NAMES.get(name, name), "coco", name, accuracies) for name in AP_METRICS]
    if any(accuracy.masks for accuracy in accuracies.values()):
        rows += [_mask_row(name, accuracies) for name in AP_METRICS]
    rows += [_row(label, "matching", name, accuracies) for name, label in _MATCHING.items()]
    return Table(f"Accuracy on {images} images", tuple(columns), tuple(rows), _notes(score, iou, report_class))


def accuracy_overview(
    accuracies: Mapping[str, Accuracy], *, images: int, score: float, iou: float, report_class: str | None, more: str
) -> Table:
    """Return a row for each variant, for a terminal: the most important metrics without differences.

    Args:
        accuracies: by variant.
        images: how many were evaluated.
        score: least score of a detection that counted.
        iou: least IoU of a right one.
        report_class: what the report's metrics were computed for; None for nothing.
        more: where the rest is.
    """
    rows = [_row(_NAMES.get(name, name), "report", name, accuracies, differences=False) for name in METRICS]
    rows += [_row(name, "coco", name, accuracies, differences=False) for name in _OVERVIEW]
    if any(accuracy.masks for accuracy in accuracies.values()):
        rows += [_mask_row(name, accuracies, differences=False) for name in _OVERVIEW]
    rows.append(_row(_MATCHING["f1"], "matching", "f1", accuracies, differences=False))
    columns, *cells = zip(*rows, strict=True)
    turned = tuple((variant, *row) for variant, row in zip(accuracies, cells, strict=True))
    notes = [note.replace("four rows", "four columns") for note in _notes(score, iou, report_class)[:2]]
    notes.append(f"Differences with their intervals, and objects by size: {more}.")
    return Table(f"Accuracy on {images} images", ("variant", *columns), turned, tuple(notes))


def _row(
    label: str, group: str, name: str, accuracies: Mapping[str, Accuracy], *, differences: bool = True
) -> tuple[str, ...]:
    cells = [label]
    for accuracy in accuracies.values():
        value = getattr(accuracy, group).get(name)
        cells.append("n/a" if value is None else f"{value:.{_DIGITS}f}")
        if accuracy.difference and differences:
            # The matching's precision and recall have the report's names; the differences are the report's.
            known = group != "matching"
            cells.append(interval_text(accuracy.difference.get(name), _DIGITS, signed=True) if known else "")
    return tuple(cells)


def _mask_row(name: str, accuracies: Mapping[str, Accuracy], *, differences: bool = True) -> tuple[str, ...]:
    cells = [f"mask {_NAMES.get(name, name)}"]
    for accuracy in accuracies.values():
        value = (accuracy.masks or {}).get(name)
        cells.append("n/a" if value is None else f"{value:.{_DIGITS}f}")
        if accuracy.difference and differences:
            cells.append(interval_text(accuracy.difference.get(f"mask_{name}"), _DIGITS, signed=True))
    return tuple(cells)


def _notes(score: float, iou: float, report_class: str | None) -> tuple[str, ...]:
    if report_class is None:
        first = "The first four rows need one class: name it with --report-class."
    else:
        first = (
            f"First four rows: the 2024 report's metrics, class {report_class}, score ≥ {score:g}, IoU ≥ {iou:g}, "
            "averaged over images; duplicates count, so recall can exceed 1."
        )
    return (
        first,
        "AP: COCO's, over IoU 0.50 to 0.95. One to one: each object is found once, all classes pooled.",
        "Intervals: paired bootstrap over images.",
    )
