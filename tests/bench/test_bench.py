"""The parts of a benchmark session that need no session."""

from __future__ import annotations

import re

import numpy as np
import pytest

from detq.bench.results import image_digest, unsteady
from detq.bench.settings import Project, choose_models, project_or_default, read_project
from detq.bench.tables import render_comparison
from detq.errors import DetqError, UnknownNameError
from detq.gate import Tolerances
from detq.models.zoo import MODELS
from detq.types import GroundTruth


def test_an_images_digest_changes_with_its_name_and_its_annotations():
    """Moved boxes make another image, whatever it is called."""
    truth = GroundTruth([[1, 2, 3, 4]], [0])
    digests = {
        image_digest("a", truth),
        image_digest("b", truth),
        image_digest("a", GroundTruth([[1, 2, 3, 5]], [0])),
        image_digest("a", GroundTruth([[1, 2, 3, 4]], [1])),
        image_digest("a", GroundTruth.empty()),
    }
    assert len(digests) == 5
    assert image_digest("a", truth) == image_digest("a", GroundTruth([[1, 2, 3, 4]], [0]))


def test_a_machine_that_throttles_halfway_is_seen_by_the_control_over_all_rounds():
    """A steady one is not, nor one image during which the machine stood still."""
    rng = np.random.default_rng(0)
    steady = np.exp(rng.normal(2, 0.03, (3, 16)))
    assert unsteady(steady.tolist()) == unsteady([]) == ""
    assert unsteady([*steady.tolist(), [900.0]]) == ""
    throttled = [row.tolist() for row in (steady[0], steady[1], 1.4 * steady[2])]
    assert re.match("took 4[0-9]% more time in the last third of the measurement than in the rest", unsteady(throttled))


def test_a_project_without_settings_is_none(tmp_path):
    """An installed plugin keeps out of everybody else's sessions."""
    assert read_project(tmp_path) is None
    (tmp_path / "pyproject.toml").write_text("[tool.other]\nx = 1\n")
    assert read_project(tmp_path) is None


def test_a_projects_settings_are_read(tmp_path):
    """Folders are relative to pyproject.toml."""
    (tmp_path / "pyproject.toml").write_text(
        '[tool.detq]\nbenchmarks = "b"\nmodels = ["m:f"]\n[tool.detq.gate]\nlatency = 0.2\n'
    )
    expected = Project(tmp_path / "b", models=("m:f",), gate=Tolerances(latency=0.2))
    assert read_project(tmp_path) == expected
    assert expected.baselines == tmp_path / "b" / "baselines"


def test_a_project_with_one_model_may_say_so(tmp_path):
    """`model` and `models` are one setting: two answers are none."""
    path = tmp_path / "pyproject.toml"
    path.write_text('[tool.detq]\nbenchmarks = "b"\nmodel = "m.n:f"\n')
    assert read_project(tmp_path) == Project(tmp_path / "b", models=("m.n:f",))
    path.write_text(f'{path.read_text()}models = ["m:g"]\n')
    with pytest.raises(DetqError, match=r"\[tool\.detq\]: expected model or models, got both; put 'm\.n:f' into"):
        read_project(tmp_path)


def test_a_tolerance_for_a_detector_that_the_project_does_not_name_is_refused(tmp_path):
    """Misspelt, it would not be in force; any module may hold a detector, so only the project's list can tell."""
    path = tmp_path / "pyproject.toml"
    text = (
        '[tool.detq]\nbenchmarks = "b"\nmodel = "bright:build"\n[tool.detq.gate.variants."{}:build-fp32"]\nap = 0.1\n'
    )
    path.write_text(text.format("bright"))
    assert read_project(tmp_path).gate.of("bright:build-fp32").ap == 0.1
    path.write_text(text.format("brigt"))
    with pytest.raises(DetqError, match=r"variants\] model 'brigt:build'; did you mean bright:build"):
        read_project(tmp_path)


def test_a_setting_of_the_wrong_kind_is_refused(tmp_path):
    """The message names the file, the key and what it should be."""
    (tmp_path / "pyproject.toml").write_text('[tool.detq]\nbenchmarks = ["b"]\n')
    with pytest.raises(DetqError, match=r"pyproject\.toml \[tool\.detq\] benchmarks: expected a string, got \['b'\]"):
        read_project(tmp_path)


def test_settings_of_a_folder_above_are_not_ignored_in_silence(tmp_path):
    """Tolerances would not be in force; another repository's settings are nobody's business."""
    below = tmp_path / "src" / "deep"
    below.mkdir(parents=True)
    assert project_or_default(below) == Project(below / "benchmarks")
    (tmp_path / "pyproject.toml").write_text("[tool.detq.gate]\nlatency = 0.2\n")
    with pytest.raises(DetqError, match=rf"expected to be started in {tmp_path}, whose pyproject.toml has \[tool"):
        project_or_default(below)
    (tmp_path / "src" / ".git").mkdir()
    assert project_or_default(below) == Project(below / "benchmarks")


def test_models_are_the_packaged_ones_unless_chosen(tmp_path):
    """`all` is every model that comes with weights, and a project's own come first."""
    project = Project(tmp_path)
    assert choose_models(None, project) == (
        "fasterrcnn_mobilenet_v3_large_fpn",
        "fasterrcnn_mobilenet_v3_large_320_fpn",
        "maskrcnn_mobilenet_v3_large_fpn",
    )
    with_weights = [model.name for model in MODELS if model.packaged or model.coco_weights]
    assert list(choose_models("all", project)) == with_weights
    assert not any(name.startswith("detectron2") for name in with_weights)
    assert choose_models("m:f, m:f,m:g", project) == ("m:f", "m:g")
    assert choose_models(None, Project(tmp_path, models=("m:f",))) == ("m:f",)
    for text in ("", " , ", "fasterrcn"):
        with pytest.raises(UnknownNameError):
            choose_models(text, project)


def test_the_comparison_shows_time_size_and_accuracy_of_each_variant():
    """With the interval of the speed-up and the difference to fp32; n/a where weights mean nothing."""
    info = {
        "model": "m",
        "recipe": "fp32",
        "machine_class": "class",
        "threads": 2,
        "data": {"name": "frames", "images": 2},
        "weight_bytes": 2_000_000,
        "int8_share": 0.0,
        "proposals": None,
        "speedup": None,
        "accuracy": None,
        "difference_to_fp32": None,
    }
    names = ("AP", "AP50", "prediction_iou", "ground_truth_iou", "precision", "recall")
    quantized = {
        **info,
        "recipe": "int8",
        "int8_share": 0.66,
        "proposals": 462.0,
        "speedup": {"estimate": 1.2, "low": 1.1, "high": 1.3},
        "accuracy": dict.fromkeys(names, 0.5),
        "difference_to_fp32": {name: {"estimate": -0.01, "low": 0, "high": 0} for name in names},
    }
    text = render_comparison({"m-fp32": info, "m-int8": quantized}, {"m-fp32": [0.1, 0.2], "m-int8": [0.1, 0.1]})
    lines = text.splitlines()
    assert lines[0] == "2 images of frames, 2 threads, class"
    assert any("150.0 ms" in line and "2.0 MB" in line for line in lines)
    assert any("1.200× [1.100, 1.300]" in line and "66.0%" in line and "462" in line for line in lines)
    assert any("0.5000 (-0.0100)" in line for line in lines)
    assert any(line.startswith("fp32") and "n/a" in line for line in lines)
    assert "mask AP" not in text
    masked = quantized | {"accuracy": dict.fromkeys([*names, "mask_AP"], 0.25), "difference_to_fp32": None}
    text = render_comparison({"m-int8": masked}, {"m-int8": [0.1, 0.1]})
    assert "mask AP" in text
    assert text.count("0.2500") == 6
    assert render_comparison({}, {}) == ""
