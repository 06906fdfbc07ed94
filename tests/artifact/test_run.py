"""`detq run --artifact`: files of `detq export` beside the fp32 that they were made of."""

from __future__ import annotations

import json
import shutil
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from detq.cli import app
from detq.errors import ArtifactError, DetqError
from tests.artifact.conftest import no_compiler
from tests.artifact.test_artifact import rewrite

MODEL = "tests.artifact.tiny:build"


@pytest.fixture
def photos(noise, tmp_path, monkeypatch):
    """Three images of the size that the file was exported for; the current folder is above them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for number in range(3):
        Image.fromarray(np.roll(noise, 20 * number, axis=1)).save(tmp_path / "photos" / f"{number}.png")
    return tmp_path / "photos"


def run(*arguments):
    """Run the command line on the photos, which have no labels."""
    usual = ("--data", "photos", "--unlabelled", "--out", "out", "--threads", "1", "--no-memory", "--json")
    return CliRunner().invoke(app, ["run", *usual, *map(str, arguments)])


@pytest.mark.usefixtures("photos")
def test_a_file_is_one_more_variant_and_starts_without_a_compiler(artifact, monkeypatch, tmp_path):
    """Beside fp32 of its own model, which nobody has to name; named after its recipe; proved, and in every file.

    What its recipe lost where it was made is said too.
    """
    rewrite(artifact, lambda content: content.update(notes=["box_pool in fp32 instead of bf16"]))
    monkeypatch.setenv("DETQ_CACHE", str(tmp_path / "empty"))
    with no_compiler(monkeypatch, tmp_path):
        done = run("--artifact", artifact, "--image-size", "160x120", "--score", "0")
    assert done.exception is None, done.stderr
    result = json.loads(done.stdout)
    assert result["model"] == MODEL
    assert list(result["variants"]) == ["fp32", "mixed_int8"]
    found = result["variants"]["mixed_int8"]
    assert found["proof"]["share"] > 0.9
    assert found["agreement"]["share_matched"] > 0.5
    assert result["artifacts"]["mixed_int8"].startswith(f"the file tiny.detq, {MODEL}-mixed_int8 (SHA-256 ")
    assert found["notes"] == ["box_pool in fp32 instead of bf16"]
    report = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "mixed_int8 is the file tiny.detq" in report
    assert "mixed_int8: box_pool in fp32 instead of bf16." in report
    assert (tmp_path / "out" / "coco" / "mixed_int8.json").is_file()
    assert not (tmp_path / "empty").exists()
    assert json.loads((tmp_path / "out" / "run.json").read_text())["settings"]["image_sizes"] == [[120, 160]]


@pytest.mark.usefixtures("photos")
def test_two_files_of_one_recipe_are_called_after_themselves(artifact, tmp_path):
    """And `--resume` with other files is another run."""
    other = shutil.copy(artifact, tmp_path / "other.detq")
    done = run("--artifact", artifact, "--artifact", other, "--limit", "1")
    assert done.exception is None, done.stderr
    assert list(json.loads(done.stdout)["variants"]) == ["fp32", "tiny", "other"]
    rewrite(artifact, lambda content: content.update(measured={}))
    again = run("--artifact", artifact, "--artifact", other, "--limit", "1", "--resume")
    assert "--resume needs the same run, but artifacts tiny was" in str(again.exception)
    same = run("--artifact", artifact, "--artifact", artifact, "--out", "third")
    assert "another variant of this run is called tiny too" in str(same.exception)


def foreign(content):
    content["requires"]["flags"].append("avx1024")


def other_weights(content):
    content["weights"]["sha256"] = "0" * 64


def other_model(content):
    content["model"] = "maskrcnn_resnet50_fpn"


def other_names(content):
    content["classes"] = ["lorry", "tram"]


def masks(content):
    content["has_masks"] = True


@pytest.mark.usefixtures("photos")
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (foreign, "tiny.detq cannot run here: it needs instructions that this CPU lacks (avx1024); export it again"),
        (other_weights, "tiny.detq: it was made of other weights (own with SHA-256 000000"),
        (other_model, f"expected a file of {MODEL}, found one of maskrcnn_resnet50_fpn; compare each model"),
        (other_names, "expected the classes car, bus, found lorry, tram; name the labels of both"),
        (masks, "it finds masks, and tests.artifact.tiny:build-fp32 none"),
    ],
)
def test_a_file_that_is_no_variant_of_this_fp32_is_refused(artifact, tmp_path, change, sentence):
    """With a sentence and before anything is written: paired figures of two different detectors mean nothing."""
    rewrite(artifact, change)
    done = run("--model", MODEL, "--artifact", artifact)
    assert isinstance(done.exception, DetqError)
    assert sentence in str(done.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("photos")
def test_a_file_of_another_program_needs_the_name_of_its_model(fp32_predictor, tmp_path):
    """torchvision's own script does not say what it was scripted from, so there is no fp32 to compare it with."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(fp32_predictor.module), "theirs.ts")
    done = run("--artifact", "theirs.ts", "--classes", "car")
    assert isinstance(done.exception, ArtifactError)
    assert "theirs.ts: the file does not say which model it was made of; name the one" in str(done.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("photos")
def test_no_file_no_such_format_and_no_size_are_sentences(tmp_path):
    """As `detq predict` has them."""
    assert "--image-size 160: expected width and height" in str(run("--image-size", "160").exception)
    assert isinstance(run("--artifact", tmp_path / "nowhere.detq").exception, ArtifactError)
    assert "expected a file whose name ends in" in str(run("--artifact", tmp_path / "car.onnx").exception)
