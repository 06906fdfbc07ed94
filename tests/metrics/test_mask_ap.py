"""Mask AP: pycocotools is the oracle, for the library's evaluation and for our weighted one."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detq.metrics.coco import AP_METRICS, CocoResult, _average, coco_evaluate, paired_ap_difference
from detq.metrics.curves import average_precision_plan, average_precisions
from detq.metrics.evaluate import DIFFERENCE_METRICS, MASK_METRICS, evaluate
from detq.metrics.overlap import crowd_mask_iou
from detq.records import from_json
from detq.results import Accuracy
from detq.types import Detections, GroundTruth

HEIGHT, WIDTH = 120, 150


def _ellipses(rng: np.random.Generator, count: int) -> np.ndarray:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    centre, radius = rng.uniform(0, 1, (count, 2)) * [HEIGHT, WIDTH], rng.uniform(2, 60, (count, 2))
    rows = [((y - c[0]) / r[0]) ** 2 + ((x - c[1]) / r[1]) ** 2 < 1 for c, r in zip(centre, radius, strict=True)]
    return np.asarray(rows, np.bool_).reshape(count, HEIGHT, WIDTH)


def _boxes(masks: np.ndarray) -> np.ndarray:
    found = []
    for mask in masks:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        found.append([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1] if len(rows) else [0, 0, 0, 0])
    return np.asarray(found, np.float32).reshape(-1, 4)


def scenes(seed: int, images: int, classes: int = 2, *, crowd: float = 0.15):
    """Truths with elliptic masks, and detections whose masks are shifted by a few pixels."""
    rng = np.random.default_rng(seed)
    truths, detections = [], []
    for _ in range(images):
        masks = _ellipses(rng, rng.integers(0, 6))
        labels = rng.integers(0, classes, len(masks))
        areas = masks.sum(axis=(1, 2)) * rng.uniform(0.8, 1.2, len(masks))
        truths.append(GroundTruth(_boxes(masks), labels, rng.random(len(masks)) < crowd, areas, masks))
        seen = rng.random(len(masks)) < 0.8
        moved = [np.roll(mask, rng.integers(-3, 4, 2), axis=(0, 1)) for mask in masks[seen]]
        found = np.concatenate([np.reshape(moved, (-1, HEIGHT, WIDTH)), _ellipses(rng, 2)]).astype(np.bool_)
        named = np.concatenate([labels[seen], rng.integers(0, classes, 2)])
        detections.append(Detections(_boxes(found), rng.random(len(found)), named, found))
    return truths, detections


def _pycocotools(detections, truths, classes: int) -> CocoResult:
    rows: list[list[dict]] = [[], []]
    for image, (truth, found) in enumerate(zip(truths, detections, strict=True), start=1):
        for side, item in enumerate((truth, found)):
            for index, mask in enumerate(item.masks):
                rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
                row = {"id": len(rows[side]) + 1, "image_id": image, "category_id": int(item.labels[index]) + 1}
                row |= {"segmentation": rle, "bbox": coco_mask.toBbox(rle).tolist(), "iscrowd": 0}
                if item is truth:
                    row |= {"area": float(truth.areas_px[index]), "iscrowd": int(truth.crowd[index])}
                else:
                    row |= {"area": float(coco_mask.area(rle)), "score": float(found.scores[index])}
                rows[side].append(row)
    sets = []
    with contextlib.redirect_stdout(io.StringIO()):
        for listed in rows:
            made = COCO()
            made.dataset = {
                "images": [{"id": i, "height": HEIGHT, "width": WIDTH} for i in range(1, len(truths) + 1)],
                "categories": [{"id": label + 1, "name": str(label)} for label in range(classes)],
                "annotations": listed,
            }
            made.createIndex()
            sets.append(made)
        run = COCOeval(*sets, "segm")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return CocoResult(*(None if value == -1 else float(value) for value in run.stats))


@settings(max_examples=15)
@given(st.integers(0, 2**32), st.integers(1, 5), st.sampled_from([1, 2]), st.sampled_from([0.0, 0.4]))
def test_mask_ap_is_pycocotools_to_the_last_digits(seed, images, classes, crowd):
    """All twelve numbers, crowds included, from run lengths as from arrays."""
    truths, detections = scenes(seed, images, classes, crowd=crowd)
    names = ["a", "b"][:classes]
    expected = _pycocotools(detections, truths, classes)
    found = coco_evaluate(detections, truths, names, masks=True)
    assert astuple(found) == pytest.approx(astuple(expected), abs=1e-9)
    compact = [item.compact() for item in detections], [item.compact() for item in truths]
    assert coco_evaluate(*compact, names, masks=True) == found
    plan = average_precision_plan(*compact, classes, masks=True)
    weighted = _average(average_precisions(plan, np.ones(images, np.int64)))
    for name, value in zip(AP_METRICS, weighted, strict=True):
        reference = getattr(expected, name)
        assert value == pytest.approx(np.nan if reference is None else reference, abs=1e-9, nan_ok=True)


def test_the_difference_of_mask_ap_comes_from_masks_and_not_from_boxes():
    """A variant with the same boxes and empty masks loses all of it."""
    truths, detections = scenes(3, 6)
    emptied = [Detections(d.boxes, d.scores, d.labels, np.zeros_like(d.masks)) for d in detections]
    boxes = paired_ap_difference(detections, emptied, truths, ["a", "b"], replicates=20)["AP"]
    masks = paired_ap_difference(detections, emptied, truths, ["a", "b"], masks=True, replicates=20)["AP"]
    assert boxes.estimate == 0
    assert masks.estimate == pytest.approx(-coco_evaluate(detections, truths, ["a", "b"], masks=True).AP)
    assert masks.high < 0


def test_evaluate_tells_mask_ap_where_both_sides_have_masks():
    """Values and differences, ready for JSON and for a record."""
    truths, detections = scenes(4, 5)
    nothing = [Detections.empty() for _ in detections]
    boxes = [Detections(d.boxes, d.scores, d.labels) for d in detections]
    variants = {"fp32": detections, "int8": detections, "blind": nothing, "boxes": boxes}
    found = json.loads(json.dumps(evaluate(variants, truths, ["a", "b"], replicates=5), allow_nan=False))
    expected = coco_evaluate(detections, truths, ["a", "b"], masks=True).AP
    assert found["fp32"]["masks"]["AP"] == found["int8"]["masks"]["AP"] == pytest.approx(expected)
    assert tuple(found["int8"]["difference"]) == (*DIFFERENCE_METRICS, *MASK_METRICS)
    assert found["blind"]["masks"]["AP"] == 0
    assert found["blind"]["difference"]["mask_AP"]["estimate"] == pytest.approx(-expected)
    assert found["boxes"]["masks"] is None
    assert tuple(found["boxes"]["difference"]) == DIFFERENCE_METRICS
    assert from_json(Accuracy, found["int8"], "int8").masks["AP50"] is not None


def test_without_masks_in_the_truth_there_is_no_mask_ap():
    """Boxes are judged all the same."""
    truths, detections = scenes(4, 3)
    plain = [GroundTruth(t.boxes, t.labels) for t in truths]
    assert evaluate({"fp32": detections}, plain, ["a", "b"])["fp32"]["masks"] is None


def test_masks_of_different_sizes_are_refused():
    """Run lengths of another size would give a plausible number."""
    _, detections = scenes(4, 1)
    other = GroundTruth(np.zeros((1, 4)), np.zeros(1), masks=np.ones((1, 9, 9), np.bool_))
    with pytest.raises(ValueError, match=r"one size, got \[\(9, 9\), \(120, 150\)\]"):
        crowd_mask_iou(detections[0], other)
