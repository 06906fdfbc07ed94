"""`detq export` and `detq predict --artifact`: a variant as a file, and the file in its place."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from detq.cli import app
from detq.errors import DetqError, ModelFileError, OutputError, UnknownNameError
from detq.model_files import MODEL_FORMATS, format_of
from detq.torchscript import TorchScriptPredictor, export, read_script

SMALL = "fasterrcnn_mobilenet_v3_large_320_fpn"


def _detq(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def exported(noise, tmp_path_factory):
    """The smallest detector in int8 as a file, what the command said, and the image."""
    folder = tmp_path_factory.mktemp("exported")
    Image.fromarray(noise).save(folder / "noise.png")
    done = _detq(
        *("export", f"{SMALL}-dynamic_int8", "--format", "torchscript", "--out", folder / "car.ts"),
        *("--weights", "random", "--classes", "car", "--image", folder / "noise.png", "--threads", "1", "--json"),
    )
    assert done.exception is None
    return folder / "car.ts", json.loads(done.stdout), folder / "noise.png"


def test_the_file_brings_all_that_a_program_needs_to_know(exported):
    """Model, recipe, class names, weights' identity, and what goes in and comes out."""
    path, result, _ = exported
    metadata = read_script(path).metadata
    assert (metadata["model"], metadata["recipe"]) == (SMALL, "torchscript_dynamic_int8")
    assert metadata["classes"] == ["car"]
    assert metadata["weights"].startswith("random (seed 0)")
    assert not metadata["meaningful"]
    assert "RGB, in [0, 1]" in metadata["input"]["layout"]
    assert result["bytes"] == path.stat().st_size
    assert result["int8_layers"] == 4
    assert result["detections_compared"] > 0
    assert str(path.parent) not in json.dumps(dict(metadata))


def test_the_file_finds_what_the_variant_finds(exported, int8_predictor, noise):
    """Through plain torch.jit.load, and through detq with class names."""
    path, _, _ = exported
    expected = int8_predictor.predict(noise)
    predictor = TorchScriptPredictor(path, input_format="RGB")
    assert (predictor.classes, predictor.convention) == (("car",), "torchvision")
    np.testing.assert_allclose(predictor(noise).scores, expected.scores, atol=1e-3)
    with torch.inference_mode():
        (found,) = read_script(path).module([torch.from_numpy(noise).permute(2, 0, 1) / 255])
    np.testing.assert_array_equal(found["scores"].numpy(), expected.scores)


def test_predict_takes_the_file_in_place_of_a_variant(exported, tmp_path):
    """The same picture and JSON; the weights it brings are what it uses."""
    path, _, photo = exported
    arguments = ("predict", photo, "--artifact", path, "--out", tmp_path, "--score", "0.1", "--threads", "1")
    done = _detq(*arguments, "--json")
    assert done.exception is None
    (result,) = json.loads(done.stdout)
    assert result["variant"] == f"{SMALL}-torchscript_dynamic_int8"
    assert result["weights"] == "file: car.ts"
    assert not result["meaningful"]
    assert {found["class"] for found in result["detections"]} == {"car"}
    with pytest.raises(DetqError, match="--weights random: the file of --artifact brings its own"):
        raise _detq(*arguments, "--weights", "random").exception


def test_mistakes_are_refused_before_anything_is_built(tmp_path):
    """A format, a file that exists, a suffix that nobody reads."""
    (tmp_path / "car.ts").touch()
    arguments = ("export", f"{SMALL}-fp32", "--out", tmp_path / "car.ts", "--format")
    assert isinstance(_detq(*arguments, "onnx").exception, UnknownNameError)
    assert isinstance(_detq(*arguments, "torchscript").exception, OutputError)
    with pytest.raises(ModelFileError, match=r"expected a file whose name ends in \.ts"):
        format_of(tmp_path / "model.onnx")


def test_a_module_that_answers_otherwise_is_not_written(tmp_path, fp32_predictor):
    """The check is what stands between a broken script and somebody's product."""
    answer = {"boxes": torch.zeros(2, 4), "scores": torch.tensor([0.9, 0.8])}
    other = [answer | {"scores": torch.tensor([0.9, 0.7])}, answer | {"boxes": torch.zeros(1, 4)}]

    for found in other:
        with pytest.raises(ModelFileError, match=r"finds other .* than the eager detector"):
            export.write_script(
                tmp_path / "bad.ts",
                export.script_detector(fp32_predictor.module),
                {},
                check=lambda _written, path, found=found: export._compare(found, answer, path),
            )
    assert list(tmp_path.iterdir()) == []
    export._compare(dict(answer), answer, tmp_path)


@pytest.mark.parametrize("one", MODEL_FORMATS, ids=lambda one: one.name)
def test_every_format_can_be_written_and_read(one):
    """The list imports nothing, so a slip in a target would show only when somebody uses it."""
    assert callable(one.resolve_writer())
    assert callable(one.resolve_reader())


@pytest.mark.parametrize("command", ["predict", "export", "quantize"])
def test_freed_memory_is_kept_while_a_model_runs(exported, tmp_path, monkeypatch, command):
    """As it is where speed is measured: a user gets the time that a table told."""
    script, _, image = exported
    random = ("--weights", "random", "--classes", "car")
    arguments = {
        "predict": (image, "--artifact", script, "--out", tmp_path),
        "export": (f"{SMALL}-fp32", "--format", "torchscript", "--out", tmp_path / "a.ts", *random, "--image", image),
        "quantize": (script, "--out", tmp_path / "a.ts"),
    }
    asked = []
    monkeypatch.setattr("detq.measure.threads.keep_freed_memory", lambda: asked.append(True))
    done = _detq(command, *arguments[command], "--threads", "1")
    assert done.exception is None or isinstance(done.exception, DetqError), done.exception
    assert asked == [True]
