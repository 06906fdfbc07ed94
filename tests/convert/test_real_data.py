"""Real data sets, converted: they open, and as predictions of themselves pycocotools finds nothing wrong with them."""

from __future__ import annotations

import contextlib
import io
import json

import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detq.convert import convert
from detq.datasets import open_dataset

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def _ap_of_the_truth(path, kind):
    """The AP of a file's own annotations as predictions, by pycocotools."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(path))
        field = {"bbox": "bbox", "segm": "segmentation"}[kind]
        keys = ("image_id", "category_id", field)
        found = [{**{key: a[key] for key in keys}, "score": 1.0} for a in truth.dataset["annotations"]]
        if kind == "segm":
            for entry, annotation in zip(found, truth.dataset["annotations"], strict=True):
                entry["segmentation"] = truth.annToRLE(annotation)
        evaluation = COCOeval(truth, truth.loadRes(found), kind)
        evaluation.params.maxDets = [1, 10, 1000]
        evaluation.evaluate()
        evaluation.accumulate()
        precision = evaluation.eval["precision"][:, :, :, 0, -1]
    return precision[precision > -1].mean()


@pytest.mark.parametrize(("part", "images", "objects"), [("train", 61, 255), ("val", 13, 50)])
def test_the_balloons_become_coco(shared, tmp_path, part, images, objects):
    """VIA 1.x polygons without attributes."""
    data = open_dataset(shared / "data/balloon" / part, category="balloon")
    summary = convert(data, "coco", tmp_path / "out", images="link")
    assert (summary.images.read, summary.images.written) == (images, images)
    assert (summary.annotations.read, summary.annotations.written) == (objects, objects)
    assert not summary.dropped
    path = tmp_path / "out/annotations.json"
    assert _ap_of_the_truth(path, "bbox") == pytest.approx(1)
    assert _ap_of_the_truth(path, "segm") == pytest.approx(1)
    opened = open_dataset(path)
    opened.check()
    assert sum(len(opened.target(index)) for index in range(len(opened))) == objects


def test_coad_is_normalised_and_split(shared, tmp_path):
    """Its annotation id 0 counts as no match, and its areas are those of boxes."""
    data = open_dataset(shared / "data/coad/valid")
    summary = convert(data, "coco", tmp_path / "out", images="none", split=0.8, seed=1)
    assert [part.images for part in summary.parts] == [28, 7]
    assert sum(part.annotations for part in summary.parts) == 229
    for part in summary.parts:
        assert _ap_of_the_truth(part.opens, "bbox") == pytest.approx(1)
        assert _ap_of_the_truth(part.opens, "segm") == pytest.approx(1)
        open_dataset(part.opens).check()
    content = json.loads((tmp_path / "out/train.json").read_text())
    assert [category["id"] for category in content["categories"]] == [0, 1, 2, 3, 4, 5]
    assert content["info"]["description"] == "Exported from roboflow.ai"


@pytest.mark.parametrize("to", ["via", "labelme", "yolo"])
def test_coad_comes_back_from_every_format(shared, tmp_path, to):
    """The same images, classes, boxes and masks."""
    first = open_dataset(shared / "data/coad/valid")
    summary = convert(first, to, tmp_path / "there", images="copy")
    assert summary.annotations.written == 229
    convert(open_dataset(tmp_path / "there"), "coco", tmp_path / "back", images="none")
    path = tmp_path / "back/annotations.json"
    assert _ap_of_the_truth(path, "segm") == pytest.approx(1)
    second = open_dataset(path)
    for index in range(len(first)):
        before, after = first.target(index), second.target(index)
        names = [
            [data.classes[label] for label in target.labels] for data, target in ((first, before), (second, after))
        ]
        assert names[0] == names[1]
        assert abs(before.boxes - after.boxes).max(initial=0) <= 1  # the file's own boxes are rounded


def test_dawn_becomes_coco_with_boxes(shared, tmp_path):
    """YOLO without polygons: the boxes of YOLO's own reader, no mask claimed."""
    data = open_dataset(f"{shared}/data/dawn/valid?map=car=1,2")
    summary = convert(data, "coco", tmp_path / "out", images="link")
    assert (summary.annotations.written, summary.shapes) == (1621, {"boxes alone": 1621})
    assert summary.annotations.read == 1621 + len(summary.dropped)
    assert {entry.reason.partition(" is ")[2] for entry in summary.dropped} == {"not in --map"}
    assert _ap_of_the_truth(tmp_path / "out/annotations.json", "bbox") == pytest.approx(1)
    opened = open_dataset(tmp_path / "out")
    for index in range(0, len(data), 20):
        assert data.target(index).boxes == pytest.approx(opened.target(index).boxes, abs=1e-3)
