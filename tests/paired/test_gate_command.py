"""`detq gate` on a real repository: processes of their own, and nothing left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from detq.cli import app
from detq.errors import DetqError

PACKAGE = Path(__file__).resolve().parents[2]
OPTIONS = ("--variants", "fp32", "--threads", "1")


def run_action(folder, temporary, **inputs):
    """Run the step of action.yml as GitHub does, in bash that stops at the first error, with its inputs filled in."""
    action = yaml.safe_load((PACKAGE / "action.yml").read_text(encoding="utf-8"))
    given = {name: str(item["default"]) for name, item in action["inputs"].items()} | inputs
    (step,) = action["runs"]["steps"]
    environment = os.environ | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(PACKAGE), os.environ.get("PYTHONPATH")])),
        "GITHUB_ACTIONS": "true",
        "RUNNER_TEMP": str(temporary),
        "GITHUB_STEP_SUMMARY": str(temporary / "summary.md"),
        "GITHUB_OUTPUT": str(temporary / "output"),
        **{name: given[value.split("inputs.")[1].split(" ")[0]] for name, value in step["env"].items()},
    }
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


SLOW = """class Slow(nn.AvgPool2d):
    def forward(self, image):
        time.sleep(0.05)
        return super().forward(image)


class Bright"""


@pytest.fixture
def slowed(repository):
    """The working tree, not yet committed, with a slower stage and a box that is too wide."""
    path = repository / "bright.py"
    before = path.read_text()
    slow = (
        before.replace("class Bright", SLOW)
        .replace("= nn.AvgPool2d", "= Slow")
        .replace("import torch", "import time\n\nimport torch", 1)
    )
    path.write_text(slow.replace("columns.max() + 1", "columns.max() + 9"))
    yield repository
    path.write_text(before)


@pytest.mark.slow
def test_a_slower_and_less_accurate_working_tree_fails_and_says_where(slowed, tmp_path):
    """By the action: exit code 1, the stage that slowed, the figures that fell, reports, and no trace of the base."""
    done = run_action(slowed, tmp_path, base="main", budget="8s", variants="fp32")
    assert done.returncode == 1, done.stderr
    said = " ".join(done.stdout.split())  # where lines break depends on how long the figures are
    assert "most of it in backbone" in said, said
    assert "gate: FAILED: bright:build-fp32" in said
    assert "::error title=detq gate" in done.stdout
    assert (tmp_path / "summary.md").read_text().startswith("## detq gate: failed")
    report = Path((tmp_path / "output").read_text().strip().removeprefix("report="))
    document = json.loads(report.read_text())
    found = {item["name"]: item for item in document["variants"]["bright:build-fp32"]["evidence"]}
    failed = {name for name, item in found.items() if item["verdict"] == "regression"}
    assert {"median", "AP", "prediction_iou"} <= failed
    assert not failed & {"weight_bytes", "int8_share"}
    assert found["median"]["change"] > 0.4
    assert document["context"]["base"] == "main"
    command = ["git", "worktree", "list"]
    listed = subprocess.run(command, cwd=slowed, capture_output=True, text=True, check=True)
    assert len(listed.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("base", "--base: expected a commit, branch or tag, got an empty name"), ("model", "unknown model")],
)
def test_what_the_action_is_given_is_never_run_nor_expanded(repository, tmp_path, name, sentence):
    """A branch of a fork can be called anything; outside of a pull request there is no base."""
    nasty = "$(touch${IFS}taken);`touch${IFS}taken`"
    inputs = {"base": f"main{nasty}", "model": "bright:build", "weights": nasty, name: nasty if name == "model" else ""}
    done = run_action(repository, tmp_path, **inputs)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert not list(repository.glob("taken"))
    assert not (tmp_path / "summary.md").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--base", "no-such-branch"], "--base no-such-branch: expected a commit, branch or tag"),
        (["--base", "main", "--budget", "0"], "--budget 0: expected a time above 0"),
        (["--base", "main", "--timeout", "soon"], "--timeout soon: expected a time above 0"),
        (["--base", "main", "--report", "gate.txt"], "--report gate.txt: expected a name that ends in"),
        (["--base", "main", "--base-python", "no-python"], "--base-python no-python: expected a Python interpreter"),
    ],
)
def test_a_mistake_is_a_sentence(repository, monkeypatch, arguments, sentence):
    """Exit code 2."""
    monkeypatch.chdir(repository)
    with pytest.raises(DetqError) as caught:
        app(["gate", *OPTIONS, *arguments], standalone_mode=False)
    assert str(caught.value).startswith(sentence)
    assert caught.value.exit_code == 2


def test_a_negative_seed_is_refused_before_anything_is_measured():
    """No generator of random numbers takes one."""
    said = CliRunner().invoke(app, ["gate", "--base", "main", "--seed", "-1"])
    assert said.exit_code == 2
    assert "--seed" in said.output
