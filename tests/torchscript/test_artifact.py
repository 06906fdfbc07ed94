"""A TorchScript file in the place of a variant."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from detq.cli import app
from detq.errors import ModelFileError
from detq.files import file_sha256
from detq.masks import decode_runs
from detq.predictor import build_predictor
from detq.tensors import as_tensor
from detq.torchscript.artifact import _as_image, _as_torchvision, open_predictor
from detq.torchscript.export import _compare
from detq.types import Detections
from detq.variants import Variant
from tests.artifact import tiny


def _predict(*arguments):
    return CliRunner().invoke(app, ["predict", *map(str, arguments), "--threads", "1", "--json"])


def test_detq_predict_runs_what_detectron2_exported(exported, bgr, tmp_path):
    """Boxes of the original image, class names of the user's, masks as run lengths."""
    Image.fromarray(bgr[:, :, ::-1]).save(tmp_path / "photo.png")
    done = _predict(
        tmp_path / "photo.png", "--artifact", exported["Traced"], "--classes", "cell,spot", "--out", tmp_path
    )
    assert done.exception is None
    (result,) = json.loads(done.stdout)
    assert (result["variant"], result["weights"]) == ("Traced-torchscript_fp32", "file: Traced.ts")
    assert {found["class"] for found in result["detections"]} == {"cell", "spot"}
    for found in result["detections"]:
        assert decode_runs(found["mask"]).shape == (60, 90)
    assert (tmp_path / "photo.detq.jpg").is_file()


def test_a_file_without_class_names_asks_for_them(exported, bgr, tmp_path):
    """Other programs' files have none; a number is no name."""
    Image.fromarray(bgr).save(tmp_path / "photo.png")
    done = _predict(tmp_path / "photo.png", "--artifact", exported["Traced"], "--out", tmp_path)
    assert isinstance(done.exception, ModelFileError)
    assert "name them with --classes" in str(done.exception)


def test_it_takes_rgb_and_leaves_masks_out_when_asked(exported, bgr):
    """As every predictor of detq."""
    predictor = open_predictor(exported["Scripted"], classes=["cell", "spot"])
    found = predictor.predict(bgr[:, :, ::-1])
    assert predictor.has_masks
    assert len(found) == len(found.masks) > 0
    assert predictor.predict(bgr[:, :, ::-1], masks=False).masks is None
    assert not open_predictor(exported["TracedBoxes"], classes=["cell", "spot"]).has_masks


def test_fewer_names_than_classes_are_noticed(exported, bgr):
    """Not an IndexError in the middle of a folder of photos."""
    predictor = open_predictor(exported["Traced"], classes=["cell"])
    with pytest.raises(ModelFileError, match="it found class number 1, and there are 1 names"):
        predictor.predict(bgr[:, :, ::-1])


def test_detq_run_compares_a_file_with_the_fp32_of_a_named_model(exported, bgr, tmp_path, monkeypatch):
    """Other programs' files name neither model nor labels: the model is asked for, the labels are the model's."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    Image.fromarray(bgr).save(tmp_path / "photos" / "a.png")
    arguments = ["run", "--data", "photos", "--unlabelled", "--out", "out", "--artifact", str(exported["Traced"])]
    arguments += ["--threads", "1", "--no-memory", "--json"]
    assert "does not say which model it was made of" in str(CliRunner().invoke(app, arguments).exception)
    done = CliRunner().invoke(app, [*arguments, "--model", "tests.torchscript.test_artifact:build_masked"])
    assert done.exception is None, done.stderr
    result = json.loads(done.stdout)
    assert list(result["variants"]) == ["fp32", "torchscript_fp32"]
    assert result["data"]["classes"] == ["cell", "spot"]
    assert result["artifacts"]["torchscript_fp32"].startswith("the file Traced.ts")


def build_masked():
    """Return a detector of masks that finds nothing."""
    from torch import nn, zeros

    class Nothing(nn.Module):
        classes, has_masks = ("cell", "spot"), True

        def forward(self, images):
            return [
                {
                    "boxes": zeros(0, 4),
                    "scores": zeros(0),
                    "labels": zeros(0).long(),
                    "masks": zeros(0, 1, *image.shape[1:]),
                }
                for image in images
            ]

    return Nothing()


@pytest.mark.parametrize("changed", [torch.tensor([0.9]), torch.tensor([0.5, 0.5])], ids=["other score", "one more"])
def test_a_script_that_answers_otherwise_than_the_eager_detector_is_refused(tmp_path, changed):
    """What was written is read back and compared; the sentence names what differs."""
    expected = {"boxes": torch.ones(1, 4), "scores": torch.tensor([0.5])}
    _compare(expected, {**expected, "scores": torch.tensor([0.5005])}, tmp_path / "model.ts")
    with pytest.raises(ModelFileError, match=r"model\.ts: read back, .* finds other scores .* nothing was written"):
        _compare({**expected, "scores": changed}, expected, tmp_path / "model.ts")


def test_pixels_and_labels_survive_torchvisions_interface():
    """Every grey level comes back from [0, 1], also where it was rounded, and torchvision's labels start at 1."""
    levels = np.arange(256, dtype=np.uint8).reshape(1, 256, 1).repeat(3, axis=2)
    for shift in (0, 1e-6, -1e-6):
        np.testing.assert_array_equal(_as_image((as_tensor(levels) + shift).clamp(0, 1)), levels)
    found = Detections(np.asarray([[0, 0, 2, 2]], np.float32), np.ones(1, np.float32), np.zeros(1, np.int64))
    assert _as_torchvision(found)["labels"].tolist() == [1]


def test_a_file_names_the_bytes_of_its_weights(tmp_path):
    """By which `detq run --artifact` knows that it is compared with its own fp32."""
    from detq.torchscript.export import _describe

    weights, variant = tmp_path / "own.pth", Variant("tests.artifact.tiny:build", "fp32")
    torch.save(tiny.build().state_dict(), weights)
    described = _describe(variant, build_predictor(variant, weights=str(weights)))
    assert described["weights_sha256"] == file_sha256(weights)
    assert described["classes"] == ["car", "bus"]
