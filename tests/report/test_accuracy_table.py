"""The table of accuracies: a row a metric, and no number where there is none."""

from __future__ import annotations

from detq.metrics.bootstrap import Interval
from detq.report.accuracy_table import accuracy_table
from detq.results import Accuracy

REPORT = {"prediction_iou": 0.8, "ground_truth_iou": 0.7, "precision": 0.9, "recall": 1.25}
COCO = {"AP": 0.5, "AP50": 0.75, "AP75": 0.25, "APs": None, "APm": 0.5, "APl": 0.5}
MATCHING = {"precision": 0.9, "recall": 0.8, "f1": 0.85}
FP32 = Accuracy("car", REPORT, COCO, MATCHING, None)
INT8 = Accuracy(
    "car", REPORT, COCO, MATCHING, {"AP": Interval(-0.01, -0.02, 0.001), "precision": Interval(0, 0, 0), "APs": None}
)


def table(accuracies, report_class="car"):
    """The table of these variants."""
    return accuracy_table(accuracies, images=7, score=0.7, iou=0.65, report_class=report_class)


def row(made, name):
    """The cells of a metric."""
    return next(cells for cells in made.rows if cells[0] == name)


def test_a_variant_has_its_value_and_its_difference_to_the_reference():
    """The reference has no difference."""
    made = table({"fp32": FP32, "int8": INT8})
    assert made.columns == ("metric", "fp32", "int8", "− fp32 (95 %)")
    assert row(made, "AP") == ("AP", "0.5000", "0.5000", "-0.0100 (-0.0200 to +0.0010)")


def test_what_is_undefined_is_not_a_number():
    """Neither the value nor the difference."""
    assert row(table({"fp32": FP32, "int8": INT8}), "AP small (< 32² px)")[1:] == ("n/a", "n/a", "n/a")


def test_the_one_to_one_rows_do_not_borrow_the_reports_differences():
    """Both have a precision, and they are not the same."""
    made = table({"fp32": FP32, "int8": INT8})
    assert row(made, "precision")[3] == "+0.0000 (+0.0000 to +0.0000)"
    assert row(made, "precision, one to one")[3] == ""


def test_accuracy_without_meaning_is_not_a_number_anywhere():
    """Random weights: every cell says n/a."""
    nothing = Accuracy(None, {}, {}, {}, None)
    assert {cell for cells in table({"fp32": nothing}).rows for cell in cells[1:]} == {"n/a"}


def test_the_notes_say_how_it_was_measured_or_what_is_missing():
    """Thresholds and class, or the option that chooses one."""
    assert "class car, score ≥ 0.7, IoU ≥ 0.65" in table({"fp32": FP32}).notes[0]
    assert "--report-class" in table({"fp32": FP32}, None).notes[0]
