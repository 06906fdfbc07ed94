"""The dictionary of everything that is known about the accuracy of some variants."""

from __future__ import annotations

import json

import pytest

from detq.errors import UnknownNameError
from detq.metrics.coco import coco_evaluate
from detq.metrics.evaluate import DIFFERENCE_METRICS, choose_report_class, evaluate
from detq.metrics.matching import precision_recall_f1
from detq.metrics.report2024 import METRICS, dataset_metrics
from detq.records import from_json
from detq.results import Accuracy
from detq.types import Detections, GroundTruth
from tests.metrics.scenes import evaluation


def test_it_holds_the_metrics_of_each_variant_and_the_differences_of_all_but_the_reference():
    """The values are those of the functions that compute them."""
    truths, first, second = evaluation(0, 20, 2, variants=2)
    found = evaluate({"fp32": first, "int8": second}, truths, ["bus", "car"], score=0.4, iou=0.8, replicates=50)
    assert list(found) == ["fp32", "int8"]
    assert found["fp32"]["difference"] is None
    assert tuple(found["int8"]["difference"]) == DIFFERENCE_METRICS
    assert found["int8"]["report_class"] == "car"
    means = dataset_metrics(second, truths, 1, score=0.4, iou=0.8).mean(axis=0)
    assert tuple(found["int8"]["report"].values()) == pytest.approx(tuple(means))
    assert found["int8"]["coco"]["AP"] == coco_evaluate(second, truths, ["bus", "car"]).AP
    for name in METRICS:
        change = found["int8"]["report"][name] - found["fp32"]["report"][name]
        assert found["int8"]["difference"][name]["estimate"] == pytest.approx(change)
    change = found["int8"]["coco"]["AP50"] - found["fp32"]["coco"]["AP50"]
    assert found["int8"]["difference"]["AP50"]["estimate"] == pytest.approx(change)
    assert found["fp32"]["matching"]["score"] == 0.4
    matching = precision_recall_f1(first, truths, score=0.4, iou=0.8)
    assert found["fp32"]["matching"]["f1"] == matching.f1
    assert matching.f1 != precision_recall_f1(first, truths, iou=0.8).f1
    assert matching.f1 != precision_recall_f1(first, truths, score=0.4).f1


def test_the_result_is_json_and_reads_back_as_a_record():
    """No NumPy numbers, no NaN; the run's results take it as it is."""
    truths, first, second = evaluation(2, 4, variants=2)
    found = json.loads(
        json.dumps(evaluate({"fp32": first, "int8": second}, truths, ["car"], replicates=5), allow_nan=False)
    )
    assert from_json(Accuracy, found["fp32"], "fp32").difference is None
    assert from_json(Accuracy, found["int8"], "int8").difference.keys() == set(DIFFERENCE_METRICS)


@pytest.mark.parametrize(
    ("detections", "truths"),
    [
        ([], []),
        ([Detections.empty()], [GroundTruth.empty()]),
        ([Detections([[0, 0, 9, 9]], [0.9], [0])], [GroundTruth.empty()]),
    ],
    ids=["no images", "background", "false positives alone"],
)
def test_what_is_undefined_is_none(detections, truths):
    """For JSON: null, never NaN or -1."""
    found = evaluate({"fp32": detections, "int8": detections}, truths, ["car"], replicates=5)
    json.dumps(found, allow_nan=False)
    assert found["int8"]["coco"]["AP"] is None
    assert found["int8"]["difference"]["AP"] is None
    assert (found["int8"]["report"]["recall"] is None) == (not truths)


def test_without_the_reference_there_are_no_differences():
    """A single variant from elsewhere is measured all the same."""
    truths, detections = evaluation(0, 3)
    assert evaluate({"theirs": detections}, truths, ["car"])["theirs"]["difference"] is None


def test_the_report_is_about_cars_or_about_the_only_class_or_about_the_one_that_was_asked_for():
    """Several classes without a car, and no wish: the four metrics are not computed."""
    assert choose_report_class(["bus", "car"]) == "car"
    assert choose_report_class(["boat"]) == "boat"
    assert choose_report_class(["bus", "car"], "bus") == "bus"
    assert choose_report_class(["bus", "boat"]) is None
    truths, detections = evaluation(0, 3, 2)
    found = evaluate({"fp32": detections, "int8": detections}, truths, ["bus", "boat"], replicates=5)["int8"]
    assert (found["report_class"], found["report"]["recall"], found["difference"]["recall"]) == (None, None, None)
    assert found["difference"]["AP"]["estimate"] == 0


def test_an_unknown_report_class_is_refused_with_the_classes():
    """Before anything is computed."""
    with pytest.raises(UnknownNameError, match="did you mean car"):
        choose_report_class(["bus", "car"], "cars")
