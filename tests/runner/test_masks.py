"""A run of a detector with masks: from run lengths in the data to mask AP, files and pictures."""

from __future__ import annotations

import csv
import json
import sys

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from detq.datasets import open_dataset
from detq.predictions import read_predictions
from detq.report.document import to_markdown
from detq.results import RunResult
from detq.runner import RunConfig, run_experiment

MASKED = """
import torch
from tiny import Tiny


class Masked(Tiny):
    has_masks = True

    def find(self, image):
        found = super().find(image)
        shape = (len(found["boxes"]), 1, *image.shape[1:])
        return found | {"masks": (image.mean(0) > 0.5).float().expand(shape).clone()}


def build():
    return Masked()
"""


@pytest.fixture
def masked_model(workplace):
    """`--model masked:build`, which finds squares with their masks."""
    (workplace / "masked.py").write_text(MASKED, encoding="utf-8")
    yield
    sys.modules.pop("masked", None)


@pytest.fixture
def masked_squares(squares):
    """The squares as COCO JSON, half of each square's mask missing."""
    images, annotations = [], []
    for number, label in enumerate(sorted(squares.glob("*.txt")), start=1):
        images.append({"id": number, "file_name": f"{label.stem}.png", "width": 64, "height": 48})
        for line in label.read_text(encoding="utf-8").splitlines():
            x1, y1, x2, y2 = (int(value) for value in line.split()[1:])
            mask = np.zeros((48, 64), np.uint8, order="F")
            mask[y1:y2, x1 : x1 + (x2 - x1 + 1) // 2] = 1
            rle = coco_mask.encode(mask)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 7,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": int(mask.sum()),
                    "iscrowd": 0,
                    "segmentation": {"size": [48, 64], "counts": rle["counts"].decode()},
                }
            )
        label.unlink()
    content = {"images": images, "annotations": annotations, "categories": [{"id": 7, "name": "car"}]}
    (squares / "squares.json").write_text(json.dumps(content), encoding="utf-8")
    return squares / "squares.json"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Where the first test that needs a run keeps it for the others."""
    return tmp_path_factory.mktemp("finished") / "out"


@pytest.fixture
def run(masked_squares, masked_model, finished):  # noqa: ARG001
    """A finished run over twelve of them."""
    config = RunConfig(data=str(masked_squares), out=finished, model="masked:build", memory=False, limit=12, draw=2)
    if not finished.is_dir():
        run_experiment(config)
    return config, RunResult.read(finished / "metrics.json")


def test_mask_ap_stands_beside_box_ap_in_result_and_report(run):
    """The boxes are right and half of each mask is too much: that shows in mask AP alone, of IoU 0.5 and above."""
    _, result = run
    accuracy = result.variants["dynamic_int8"].accuracy
    assert accuracy.coco["AP"] == pytest.approx(1.0)
    assert 0 < accuracy.masks["AP"] < 0.3
    assert accuracy.masks["AP75"] == 0
    assert accuracy.difference["mask_AP"].estimate == 0
    assert "| mask AP |" in to_markdown(result)


def test_predictions_carry_run_lengths_and_both_files_are_read_back(run, masked_squares):
    """`predictions.jsonl` and the COCO results hold the same pixels, and category and image ids are the data's."""
    config, _ = run
    data = open_dataset(masked_squares)
    (whole,) = [read_predictions(config.out / "predictions.jsonl", data, allow_missing=True)["fp32"]]
    coco = read_predictions(config.out / "coco" / "fp32.json", data)["fp32"]
    assert sum(map(len, whole)) >= 9
    for first, second in zip(whole, coco, strict=True):
        np.testing.assert_array_equal(first.boxes, second.boxes)
        if len(first):
            np.testing.assert_array_equal(first.masks.full(), second.masks.full())
    rows = json.loads((config.out / "coco" / "fp32.json").read_text(encoding="utf-8"))
    assert {row["category_id"] for row in rows} == {7}
    assert coco_mask.area(rows[0]["segmentation"]) > 0


def test_detq_eval_gives_the_same_mask_ap_without_a_model(run, masked_squares):
    """From either file; the data set has more images than the run, so that they are cut to the first twelve."""
    from typer.testing import CliRunner

    from detq.cli import app

    config, result = run
    content = json.loads(masked_squares.read_text(encoding="utf-8"))
    content["images"] = content["images"][:12]
    content["annotations"] = [row for row in content["annotations"] if row["image_id"] <= 12]
    part = masked_squares.with_name("part.json")
    part.write_text(json.dumps(content), encoding="utf-8")
    for name in ("predictions.jsonl", "coco/fp32.json"):
        arguments = ["eval", "--data", str(part), "--predictions", str(config.out / name), "--json"]
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.output
        evaluated = json.loads(done.stdout)["variants"]["fp32"]
        assert evaluated["masks"] == result.variants["fp32"].accuracy.masks


def test_a_detector_without_torchvisions_parts_is_not_divided_into_stages(run):
    """Its columns stay empty, and no table claims to know."""
    config, result = run
    rows = list(csv.DictReader((config.out / "timings.csv").read_text(encoding="utf-8").splitlines()))
    assert {row["model_ms"] for row in rows} == {""}
    assert result.variants["fp32"].split is None


@pytest.mark.usefixtures("masked_model")
def test_data_without_masks_are_measured_by_boxes_and_said_to_be(squares):
    """Mask AP is n/a, which is no zero."""
    said = []

    from detq.runner import Progress

    class Listener(Progress):
        def say(self, text):
            said.append(text)

    config = RunConfig(data=str(squares), out=squares.parent / "out", model="masked:build", memory=False, limit=4)
    result = run_experiment(config, Listener())
    assert result.variants["fp32"].accuracy.masks is None
    assert result.variants["fp32"].accuracy.coco["AP"] == pytest.approx(1.0)
    assert any(line.startswith("Mask AP is n/a") for line in said)
