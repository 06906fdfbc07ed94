"""COCO's AP and AR: pycocotools is the oracle, for the library's evaluation and for our weighted one."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import time
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detq.metrics.bootstrap import Interval
from detq.metrics.coco import AP_METRICS, CocoResult, _average, coco_evaluate, paired_ap_difference
from detq.metrics.curves import average_precision_plan, average_precisions
from detq.types import Detections, GroundTruth
from tests.metrics.scenes import evaluation

NOTHING = Interval(0.0, 0.0, 0.0)


def pycocotools_result(detections, truths, classes) -> CocoResult:
    """The reference implementation on the same boxes."""
    coco = pytest.importorskip("pycocotools.coco")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")

    def rows(items, extra):
        found = []
        for image, item in enumerate(items, start=1):
            corners = item.boxes.astype(np.float64)
            boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1).tolist()
            for index, box in enumerate(boxes):
                row = {"id": len(found) + 1, "image_id": image, "category_id": int(item.labels[index]) + 1, "bbox": box}
                found.append(row | extra(item, index, box))
        return found

    data = {
        "images": [{"id": image} for image in range(1, len(truths) + 1)],
        "categories": [{"id": label + 1, "name": str(label)} for label in range(classes)],
    }
    sets = []
    for listed in (
        rows(truths, lambda t, i, _: {"area": float(t.areas_px[i]), "iscrowd": int(t.crowd[i])}),
        rows(detections, lambda d, i, box: {"area": box[2] * box[3], "iscrowd": 0, "score": float(d.scores[i])}),
    ):
        made = coco.COCO()
        made.dataset = data | {"annotations": listed}
        with contextlib.redirect_stdout(io.StringIO()):
            made.createIndex()
        sets.append(made)
    with contextlib.redirect_stdout(io.StringIO()):
        run = cocoeval.COCOeval(*sets, "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return CocoResult(*(None if value == -1 else float(value) for value in run.stats))


def weighted(detections, truths, classes, weights=None):
    """Our six AP figures with image i counted `weights[i]` times."""
    plan = average_precision_plan(detections, truths, classes)
    counts = np.ones(len(truths), np.int64) if weights is None else np.asarray(weights)
    return _average(average_precisions(plan, counts))


def as_array(values) -> np.ndarray:
    """None as NaN, which assert_allclose takes for equal."""
    return np.asarray([np.nan if value is None else value for value in values], np.float64)


def assert_all_agree(detections, truths, classes):
    """The library, our weighted accumulation and pycocotools."""
    expected = pycocotools_result(detections, truths, classes)
    found = coco_evaluate(detections, truths, [str(label) for label in range(classes)])
    np.testing.assert_allclose(as_array(astuple(found)), as_array(astuple(expected)), rtol=0, atol=1e-9)
    np.testing.assert_allclose(
        weighted(detections, truths, classes), as_array(astuple(expected)[:6]), rtol=0, atol=1e-9
    )


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    images=st.integers(1, 6),
    classes=st.integers(1, 3),
    crowd=st.sampled_from([0.0, 0.3]),
    whole=st.booleans(),
)
def test_everyone_computes_the_same_ap_and_ar(seed, images, classes, crowd, whole):
    """Random scenes with crowds, all sizes, several classes, and (whole) ties in score and overlap."""
    truths, detections = evaluation(seed, images, classes, crowd=crowd, whole=whole)
    assert_all_agree(detections, truths, classes)


def test_everyone_agrees_on_a_larger_set():
    """Two hundred images: long curves, where rounding at a recall threshold would show."""
    truths, detections = evaluation(1, 200, 2)
    assert_all_agree(detections, truths, 2)


def test_only_the_best_hundred_detections_of_a_class_and_image_count():
    """COCO's maxDets: the hundred-and-first finds nothing."""
    truth = GroundTruth([[0, 0, 50, 50]], [0])
    far = np.tile([[500, 500, 600, 600]], (100, 1))
    boxes = np.concatenate([far, [[0, 0, 50, 50]]])
    detections = [Detections(boxes, np.linspace(0.9, 0.1, 101), np.zeros(101))]
    ap = coco_evaluate(detections, [truth], ["car"]).AP
    assert ap == 0
    assert_all_agree(detections, [truth], 1)


@pytest.mark.parametrize("side", [32, 96], ids=["32 px", "96 px"])
def test_an_object_on_the_border_of_two_sizes_is_in_both(side):
    """COCO's ranges include both ends."""
    box = [[0, 0, side, side]]
    assert_all_agree([Detections(box, [0.9], [0])], [GroundTruth(box, [0])], 1)


def test_the_size_of_an_object_is_its_annotated_area_not_its_boxs():
    """A thin polygon in a large box is small."""
    truth = GroundTruth([[0, 0, 200, 200]], [0], areas_px=[500.0])
    result = coco_evaluate([Detections([[0, 0, 200, 200]], [0.9], [0])], [truth], ["car"])
    assert (result.APs, result.APm, result.APl) == (1.0, None, None)


def test_detections_in_a_crowd_are_neither_right_nor_wrong():
    """Any number of them, however little of the crowd each covers."""
    truth = GroundTruth([[0, 0, 400, 400], [500, 0, 600, 100]], [0, 0], [True, False])
    detections = [Detections([[10, 10, 60, 60], [20, 20, 80, 80], [500, 0, 600, 100]], [0.9, 0.8, 0.7], [0, 0, 0])]
    ap = coco_evaluate(detections, [truth], ["car"]).AP
    assert ap == pytest.approx(1.0)
    assert_all_agree(detections, [truth], 1)


def test_of_truths_that_overlap_as_much_the_last_is_taken():
    """pycocotools' rule: it decides what is left for the next detection, which only one of the two suits."""
    boxes = [[0, 0, 100, 80], [0, 20, 100, 100]]
    detections = [Detections([[0, 0, 100, 100], [0, 40, 100, 100]], [0.9, 0.8], [0, 0])]
    for truth, expected in ((GroundTruth(boxes, [0, 0]), 0.5), (GroundTruth(boxes[::-1], [0, 0]), 1.0)):
        ap50 = coco_evaluate(detections, [truth], ["car"]).AP50
        assert ap50 == pytest.approx(expected, abs=0.01)
        assert_all_agree(detections, [truth], 1)


def test_the_best_hundred_detections_of_an_image_and_class_count():
    """Of twenty right ones after ninety wrong ones, ten."""
    right = np.asarray([[50 * n, 0, 50 * n + 40, 40] for n in range(20)], np.float32)
    boxes = np.concatenate([np.tile([[0, 500, 40, 540]], (90, 1)), right])
    detections = [Detections(boxes, np.linspace(1, 0.1, 110), np.zeros(110, np.int64))]
    truths = [GroundTruth(right, np.zeros(20, np.int64))]
    recall = coco_evaluate(detections, truths, ["car"]).AR100
    assert recall == pytest.approx(0.5)
    assert_all_agree(detections, truths, 1)


def test_large_coordinates_keep_the_iou_of_small_boxes():
    """Sides are taken in float64, where the difference of two float32 numbers is exact."""
    box = [[16_000_000, 16_000_000, 16_000_020, 16_000_020]]
    near = [[16_000_000, 16_000_000, 16_000_020, 16_000_010]]
    detections, truths = [Detections(near, [0.9], [0])], [GroundTruth(box, [0])]
    ap = coco_evaluate(detections, truths, ["car"]).AP
    assert ap == pytest.approx(0.1)
    assert_all_agree(detections, truths, 1)


@pytest.mark.parametrize(
    ("detections", "truth", "expected"),
    [
        (Detections.empty(), GroundTruth.empty(), None),
        (Detections([[0, 0, 9, 9]], [0.5], [0]), GroundTruth.empty(), None),
        (Detections.empty(), GroundTruth([[0, 0, 9, 9]], [0]), 0.0),
        (Detections([[0, 0, 9, 9]], [0.5], [0]), GroundTruth([[0, 0, 9, 9]], [0], [True]), None),
    ],
    ids=["nothing at all", "no truths", "no detections", "crowd alone"],
)
def test_ap_is_none_without_objects_and_0_without_detections(detections, truth, expected):
    """Never COCO's -1, and never NaN."""
    ap = coco_evaluate([detections], [truth], ["car"]).AP
    assert ap == expected
    difference = paired_ap_difference([detections], [detections], [truth], ["car"], replicates=5)["AP"]
    assert difference == (None if expected is None else NOTHING)


def test_a_class_without_objects_does_not_lower_the_mean():
    """As COCO has it: its AP is undefined, not 0."""
    box = [[0, 0, 50, 50]]
    detections = [Detections([*box, [0, 0, 9, 9]], [0.9, 0.8], [0, 1])]
    ap = coco_evaluate(detections, [GroundTruth(box, [0])], ["car", "bus"]).AP
    assert ap == pytest.approx(1.0)
    assert_all_agree(detections, [GroundTruth(box, [0])], 2)


def test_labels_beyond_the_classes_are_refused():
    """They would vanish silently: the caller forgot select_classes."""
    with pytest.raises(ValueError, match="indices into 1 classes"):
        coco_evaluate([Detections([[0, 0, 9, 9]], [0.5], [1])], [GroundTruth.empty()], ["car"])


def test_the_evaluation_prints_nothing(capfd):
    """The library talks a lot when it is allowed to."""
    truths, detections = evaluation(0, 3)
    coco_evaluate(detections, truths, ["car"])
    assert capfd.readouterr() == ("", "")


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1),
    classes=st.integers(1, 3),
    weights=st.lists(st.integers(0, 3), min_size=1, max_size=6),
)
def test_a_weight_is_as_many_copies_of_the_image(seed, classes, weights):
    """A bootstrap draw equals the evaluation of a data set in which images are repeated and left out."""
    truths, detections = evaluation(seed, len(weights), classes)
    order = np.repeat(np.arange(len(weights)), weights)
    if len(order):
        expected = as_array(
            astuple(pycocotools_result([detections[i] for i in order], [truths[i] for i in order], classes))
        )
    else:
        expected = np.full(12, np.nan)
    np.testing.assert_allclose(weighted(detections, truths, classes, weights), expected[:6], rtol=0, atol=1e-9)


def test_the_difference_is_that_of_two_evaluations_and_lies_in_its_interval():
    """And both directions mirror each other, because they see the same draws."""
    truths, first, second = evaluation(4, 60, 2, variants=2)
    classes = ["car", "bus"]
    forth = paired_ap_difference(first, second, truths, classes, replicates=200)
    back = paired_ap_difference(second, first, truths, classes, replicates=200)
    before, after = coco_evaluate(first, truths, classes), coco_evaluate(second, truths, classes)
    for name in AP_METRICS:
        found = forth[name]
        assert found.estimate == pytest.approx(getattr(after, name) - getattr(before, name), abs=1e-9)
        assert found.low < found.estimate < found.high
        assert (back[name].low, back[name].high) == pytest.approx((-found.high, -found.low))


def test_a_variant_does_not_differ_from_itself():
    """Pairing: the interval has no width, however few the images."""
    truths, detections = evaluation(4, 10)
    found = paired_ap_difference(detections, detections, truths, ["car"], replicates=50)
    assert found["AP"] == NOTHING


def test_a_loss_on_every_image_is_seen():
    """Boxes a tenth of their side off: the whole interval lies below 0."""
    truths, first = evaluation(7, 80, crowd=0)
    moved = [
        Detections(item.boxes + 0.1 * np.tile(item.boxes[:, 2:] - item.boxes[:, :2], 2), item.scores, item.labels)
        for item in first
    ]
    assert paired_ap_difference(first, moved, truths, ["car"], replicates=200)["AP"].high < 0


def test_a_thousand_replicates_on_a_thousand_images_take_seconds():
    """About ten detections an image; CPU time, so that other processes do not count."""
    truths, first, second = evaluation(0, 1000, variants=2, objects=12)
    start = time.process_time()
    paired_ap_difference(first, second, truths, ["car"])
    assert time.process_time() - start < 20


def test_neither_torch_nor_a_plotting_library_is_loaded():
    """`detq eval` runs where no model can."""
    code = (
        "import sys, detq.metrics.coco as c, detq.types as t\n"
        "c.coco_evaluate([t.Detections([[0,0,9,9]],[0.5],[0])], [t.GroundTruth([[0,0,9,9]],[0])], ['car'])\n"
        "print(*{'torch', 'torchvision', 'matplotlib', 'cv2', 'plotly'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"
