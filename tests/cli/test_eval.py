"""`detq eval` as a user meets it: tables, JSON, no torch, and a sentence for each mistake."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from detq.cli import main
from detq.datasets import open_dataset
from detq.metrics.evaluate import DIFFERENCE_METRICS
from detq.predictions import write_prediction
from detq.types import Detections

PHOTOS = 6


@pytest.fixture
def photos(tmp_path):
    """Six photos of 100 × 100 px with one or two cars each, the labels one text file an image."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(PHOTOS):
        Image.new("RGB", (100, 100)).save(folder / f"{number}.png")
        second = "bus 50 50 90 90\n" if number % 2 else ""
        (folder / f"{number}.txt").write_text(f"car 10 10 {40 + number} 40\n{second}", encoding="utf-8")
    return folder


@pytest.fixture
def predictions(tmp_path, photos):
    """fp32 finds every object; int8 is off by four pixels and misses the first photo's car."""
    data = open_dataset(photos)
    path = tmp_path / "predictions.jsonl"
    with path.open("w", encoding="utf-8") as stream:
        for index in range(len(data)):
            truth = data.target(index)
            scores = np.full(len(truth), 0.9)
            exact = Detections(truth.boxes, scores, truth.labels)
            moved = Detections(truth.boxes + 4, scores, truth.labels) if index else Detections.empty()
            write_prediction(stream, data.image_id(index), "fp32", exact, data.classes)
            write_prediction(stream, data.image_id(index), "int8", moved, data.classes)
    return path


@pytest.fixture
def detq_eval(monkeypatch, capsys):
    """Runs the command; returns its exit code, standard output and standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["detq", "eval", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "120")
        with pytest.raises(SystemExit) as left:
            main()
        return left.value.code, *capsys.readouterr()

    return run


def test_the_table_has_each_metric_of_each_variant_with_its_difference(detq_eval, photos, predictions):
    """A reader sees what was lost, and whether it could be chance."""
    code, out, err = detq_eval("--data", photos, "--predictions", predictions)
    assert (code, err) == (0, "")
    for text in (
        "prediction IoU",
        "recall",
        "AP50",
        "AP small",
        "F1, one to one",
        "int8",
        "− fp32 (95 %)",
        "class car",
    ):
        assert text in out
    assert "nan" not in out


def test_json_holds_what_the_table_shows_and_nothing_else_is_printed(detq_eval, photos, predictions):
    """For a program; every number is there with all its digits."""
    code, out, err = detq_eval("--data", photos, "--predictions", predictions, "--json")
    found = json.loads(out)
    assert (code, err, found["format"], found["data"]["images"]) == (0, "", "detq-eval/1", PHOTOS)
    assert found["variants"]["fp32"]["coco"]["AP"] == pytest.approx(1.0)
    assert found["variants"]["fp32"]["report"] == dict.fromkeys(found["variants"]["fp32"]["report"], 1.0)
    assert found["variants"]["int8"]["coco"]["AP"] < 0.6
    assert set(found["variants"]["int8"]["difference"]) == set(DIFFERENCE_METRICS)


def test_no_torch_is_loaded(photos, predictions):
    """The command works where no model can be built."""
    code = (
        "import sys, contextlib, detq.cli\n"
        f"sys.argv = ['detq', 'eval', '--data', {str(photos)!r}, '--predictions', {str(predictions)!r}]\n"
        "with contextlib.suppress(SystemExit): detq.cli.main()\n"
        "print(sorted({'torch', 'torchvision', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "int8" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_same_figures_come_from_coco_results(detq_eval, tmp_path, photos, predictions):
    """Any detector's output can be measured; the file's name is the variant's."""
    rows = []
    for line in map(json.loads, predictions.read_text(encoding="utf-8").splitlines()):
        if line["variant"] == "int8":
            for (x1, y1, x2, y2), score, name in zip(line["boxes"], line["scores"], line["labels"], strict=True):
                box = [x1, y1, x2 - x1, y2 - y1]
                rows.append({"image_id": line["image"], "category_name": name, "bbox": box, "score": score})
    theirs = tmp_path / "theirs.json"
    theirs.write_text(json.dumps(rows), encoding="utf-8")
    _, out, _ = detq_eval("--data", photos, "--predictions", predictions, "--predictions", theirs, "--json")
    found = json.loads(out)["variants"]
    assert list(found) == ["fp32", "int8", "theirs"]
    assert found["theirs"] == found["int8"]


def test_classes_can_be_mapped_and_what_is_left_out_is_said(detq_eval, photos, predictions):
    """Labels by the map, predictions because the data set then lacks their class."""
    code, out, _ = detq_eval("--data", photos, "--predictions", predictions, "--map", "car=car")
    assert code == 0
    assert "3 labels of class bus (not in --map)" in " ".join(out.split())
    assert "6 predictions of class bus (not in the data set)" in " ".join(out.split())


def test_another_reference_turns_the_comparison_round(detq_eval, photos, predictions):
    """fp32 then is better than int8."""
    _, out, _ = detq_eval("--data", photos, "--predictions", predictions, "--reference", "int8", "--json")
    found = json.loads(out)
    assert found["reference"] == "int8"
    assert found["variants"]["int8"]["difference"] is None
    assert found["variants"]["fp32"]["difference"]["AP"]["low"] > 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--reference", "fp23"], "unknown --reference 'fp23'; did you mean fp32?"),
        (["--report-class", "cat"], "unknown class 'cat'"),
        (["--data", "nowhere"], "data set nowhere does not exist"),
        (["--predictions", "nowhere.jsonl"], "predictions nowhere.jsonl do not exist"),
        (["--format", "coco2"], "coco2"),
    ],
)
def test_a_mistake_is_a_sentence_and_exit_code_2(detq_eval, photos, predictions, arguments, sentence):
    """Nothing is printed on standard output."""
    chosen = {"--data": photos, "--predictions": predictions} | {arguments[0]: arguments[1]}
    code, out, err = detq_eval(*(part for pair in chosen.items() for part in pair))
    assert (code, out) == (2, "")
    assert sentence in err
    assert "Traceback" not in err


def test_one_variant_in_two_files_is_refused(detq_eval, tmp_path, photos, predictions):
    """Otherwise one would hide the other."""
    again = tmp_path / "again.jsonl"
    again.write_bytes(predictions.read_bytes())
    code, _, err = detq_eval("--data", photos, "--predictions", predictions, "--predictions", again)
    assert code == 2
    assert "expected each variant once, found 'fp32' in" in err


def test_a_run_that_was_cut_off_is_not_measured(detq_eval, photos, predictions):
    """Its missing images would look like missed cars."""
    predictions.write_bytes(predictions.read_bytes()[:-30])
    code, _, err = detq_eval("--data", photos, "--predictions", predictions)
    assert code == 2
    assert "line 12" in err


@pytest.mark.parametrize("value", ["7", "-0.1"])
def test_a_score_outside_0_to_1_is_refused(detq_eval, photos, predictions, value):
    """It would leave no prediction, or say nothing."""
    code, out, err = detq_eval("--data", photos, "--predictions", predictions, "--score", value)
    assert (code, out) == (2, "")
    assert "--score" in err


def test_real_photos_are_measured(detq_eval, shared, tmp_path):
    """DAWN's test set in YOLO format: predictions that are its own labels score 1, slightly moved ones less."""
    folder = shared / "data" / "dawn" / "test"
    data = open_dataset(folder, class_map="car=1,2")
    path = tmp_path / "dawn.jsonl"
    rng = np.random.default_rng(0)
    with path.open("w", encoding="utf-8") as stream:
        for index in range(len(data)):
            truth = data.target(index)
            scores = rng.uniform(0.7, 1, len(truth))
            sides = np.tile(truth.boxes[:, 2:] - truth.boxes[:, :2], 2)
            moved = truth.boxes + 0.05 * sides
            for variant, boxes in (("fp32", truth.boxes), ("moved", moved)):
                write_prediction(
                    stream, data.image_id(index), variant, Detections(boxes, scores, truth.labels), data.classes
                )
    code, out, _ = detq_eval("--data", folder, "--map", "car=1,2", "--predictions", path, "--json")
    found = json.loads(out)["variants"]
    assert code == 0
    assert found["fp32"]["coco"]["AP"] == pytest.approx(1.0, abs=1e-6)
    assert found["moved"]["coco"]["AP50"] > 0.95
    assert found["moved"]["difference"]["AP"]["high"] < -0.1
