"""`detq run`, `predict`, `list` and `env` as a user meets them."""

from __future__ import annotations

import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from detq.cli import app
from detq.cli.predict import name_outputs
from detq.variants import UNSUPPORTED, VARIANTS

MODEL = "fasterrcnn_mobilenet_v3_large_320_fpn"
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "100", "NO_COLOR": "1"}


def _start(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "detq", *arguments]
    return subprocess.Popen(
        command, cwd=cwd, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _wait_for_rows(path: Path, rows: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 240
    while not path.exists() or path.read_bytes().count(b"\n") <= rows:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def noises(tmp_path):
    """Twelve images of noise with a label each: on noise, random weights find something."""
    folder = tmp_path / "noises"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(12):
        Image.fromarray(rng.integers(0, 256, (120, 160, 3), np.uint8)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text("car 10 10 60 50\n", encoding="utf-8")
    return folder


@pytest.mark.slow
def test_a_killed_run_resumes_and_an_interrupted_one_says_how(noises, monkeypatch, command_line):
    """SIGKILL in the middle, Ctrl-C in the middle of what is left, then the rest: every image once, in order."""
    arguments = ("run", "--data", "noises", "--model", MODEL, "--variants", "dynamic_int8", "--weights", "random")
    arguments += ("--out", "out", "--threads", "1")
    timings = noises.parent / "out" / "timings.csv"
    killed = _start(*arguments, cwd=noises.parent)
    _wait_for_rows(timings, 4, killed)
    killed.kill()
    killed.communicate()
    kept = timings.read_text(encoding="utf-8").splitlines()[:5]

    interrupted = _start(*arguments, "--resume", cwd=noises.parent)
    _wait_for_rows(timings, 8, interrupted)
    interrupted.send_signal(signal.SIGINT)
    _, stderr = interrupted.communicate(timeout=120)
    assert interrupted.returncode == 130
    assert stderr.splitlines()[-1] == f"detq: interrupted; go on with `detq {' '.join(arguments)} --resume`"

    monkeypatch.chdir(noises.parent)
    code, said = command_line(*arguments, "--resume", "--json")
    assert code == 0, said.err
    rows = timings.read_text(encoding="utf-8").splitlines()
    assert rows[:5] == kept
    images = [row.split(",")[0] for row in rows[1::2]]
    assert len(images) == len(set(images)) == 12
    result = json.loads(said.out)
    assert result == json.loads((noises.parent / "out" / "metrics.json").read_text(encoding="utf-8"))
    assert not result["meaningful_accuracy"]
    assert all(variant["accuracy"] is None for variant in result["variants"].values())
    assert all(variant["peak_memory_bytes"] > 200e6 for variant in result["variants"].values())
    assert result["variants"]["dynamic_int8"]["proof"]["share"] > 0
    assert "random" in (noises.parent / "out" / "report.md").read_text(encoding="utf-8")


def test_a_mistake_is_one_sentence_and_exit_code_2(noises, monkeypatch, command_line):
    """On standard error, without a traceback, and nothing is written."""
    monkeypatch.chdir(noises.parent)
    code, said = command_line("run", "--data", "noises", "--model", "fasterrcnn_mobilenet", "--out", "out")
    assert (code, said.out) == (2, "")
    assert re.fullmatch(r"detq: unknown model 'fasterrcnn_mobilenet'; did you mean .*\n", said.err)
    assert not (noises.parent / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--limit", "0"], "--limit: expected at least 1 image, got 0"),
        (["--draw", "-1"], "--draw: expected 0 images or more, got -1"),
        (["--threads", "0"], "--threads 0: expected 1 to"),
        (["--variants", "fp32,int4"], "unknown recipe 'int4'"),
        (["--variants", ","], "--variants: expected names such as fp32,dynamic_int8, got ','"),
        (["--model", "json:build"], "no 'build' there; correct what follows the colon"),
        (["--weights", "nowhere.pth"], "found nothing; give the path of a file, or one of packaged, coco and random"),
        (["--model", "retinanet_resnet50_fpn", "--variants", "dynamic_int8"], "without nn.Linear layers"),
        (["--data", "nowhere"], "data set nowhere does not exist"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_loaded(noises, monkeypatch, arguments, message):
    """Each is a DetqError with option, expected and actual; no output folder is made."""
    monkeypatch.chdir(noises.parent)
    done = CliRunner().invoke(app, ["run", "--data", "noises", "--out", "out", *arguments])
    assert message in str(done.exception)
    assert type(done.exception).__module__ == "detq.errors"
    assert not (noises.parent / "out").exists()


@pytest.mark.parametrize(
    ("options", "allocator"), [([], "freed memory kept"), (["--system-allocator"], "system allocator")]
)
def test_a_run_says_whether_freed_memory_was_kept(noises, options, allocator):
    """It is, unless somebody asks for the C library's own way; both decide how fast fp32 is."""
    arguments = ("--data", "noises", "--model", MODEL, "--variants", "fp32", "--weights", "random", "--limit", "1")
    run = _start("run", *arguments, "--no-memory", "--threads", "1", "--out", "out", *options, cwd=noises.parent)
    stdout, stderr = run.communicate(timeout=240)
    assert run.returncode == 0, stderr
    result = json.loads((noises.parent / "out" / "metrics.json").read_text(encoding="utf-8"))
    assert result["environment"]["allocator"] == (
        allocator if platform.libc_ver()[0] == "glibc" else "system allocator"
    )
    assert f", {result['environment']['allocator']}, torch " in stdout


def test_a_folder_with_other_files_is_refused(noises, monkeypatch):
    """Nothing of the user's is overwritten."""
    monkeypatch.chdir(noises.parent)
    done = CliRunner().invoke(app, ["run", "--data", "noises", "--out", "noises"])
    assert "found other files, so choose another --out" in str(done.exception)


@pytest.mark.parametrize("command", ["run", "predict", "list", "env"])
def test_help_teaches_with_an_example(command):
    """Every command's help shows a line to try."""
    done = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert done.exit_code == 0
    assert f"detq {command}" in done.stdout
    assert "--json" in done.stdout


def test_list_names_every_variant_and_every_reason():
    """The listing and the list of variants cannot drift apart."""
    shown = CliRunner().invoke(app, ["list"]).stdout
    listed = json.loads(CliRunner().invoke(app, ["list", "--json"]).stdout)
    assert listed["variants"] == [variant.id for variant in VARIANTS]
    assert listed["unsupported"] == dict(UNSUPPORTED)
    for name, reason in UNSUPPORTED.items():
        assert f"{name}: {reason}" in shown


def test_list_does_not_load_torch():
    """It answers at once."""
    code = "import sys, detq.cli.list as l; l.list_command(); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_env_says_what_a_bug_report_needs_and_no_host_name():
    """Versions, cores, instruction sets; nothing that names the machine."""
    done = CliRunner().invoke(app, ["env", "--json", "--threads", "1"])
    found = json.loads(done.stdout)
    assert found["threads"] == 1
    assert set(found["versions"]) >= {"python", "torch", "torchvision", "numpy", "detq"}
    assert found["cpu"]["cores"] >= 1
    assert found["quantized_engines"]
    assert found["allocator"] == ("freed memory kept" if platform.libc_ver()[0] == "glibc" else "system allocator")
    assert platform.node() not in done.stdout
    text = CliRunner().invoke(app, ["env", "--threads", "1"]).stdout
    shown = dict(re.split(r" {2,}", line, maxsplit=1) for line in text.splitlines())
    in_use = found["isa_in_use"]
    assert shown["machine class"] == found["machine_class"]
    assert shown["allocator"] == found["allocator"]
    assert shown["torch uses"] == f"{in_use['torch']}, {in_use['int8']}, {in_use['bf16']}"
    assert shown["threads"] == "1"
    assert found["versions"].items() <= shown.items()


def test_predict_writes_a_picture_and_a_json_for_each_image(noises, monkeypatch):
    """And refuses to replace them unless told to."""
    monkeypatch.chdir(noises.parent)
    arguments = ["predict", "noises/0.png", "noises/1.png", "--variant", f"{MODEL}-fp32", "--weights", "random"]
    arguments += ["--score", "0", "--threads", "1", "--out", "found"]
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == 0, done.exception
    first = json.loads(done.stdout)[0]
    assert first == json.loads(Path("found/0.detq.json").read_text(encoding="utf-8"))
    assert (first["width"], first["height"], first["meaningful"]) == (160, 120, False)
    assert first["detections"]
    with Image.open("found/1.detq.jpg") as picture:
        assert picture.width == 960
    refused = CliRunner().invoke(app, arguments)
    assert "0.detq.jpg exists; add --overwrite" in str(refused.exception)


def test_predict_refuses_what_is_no_image_before_it_loads_a_model(tmp_path):
    """A sentence that names the file."""
    (tmp_path / "text.jpg").write_text("no image", encoding="utf-8")
    done = CliRunner().invoke(app, ["predict", str(tmp_path / "text.jpg"), "--weights", "random"])
    assert "text.jpg" in str(done.exception)
    assert type(done.exception).__module__ == "detq.errors"


def test_predict_refuses_a_damaged_image_before_it_writes_anything(noises, monkeypatch):
    """A header says nothing about what follows it, and outputs of the images before would be in the way."""
    monkeypatch.chdir(noises.parent)
    Path("cut.png").write_bytes(Path("noises/1.png").read_bytes()[:-40])
    done = CliRunner().invoke(app, ["predict", "noises/0.png", "cut.png", "--weights", "random", "--out", "found"])
    assert str(done.exception).startswith("image cut.png is damaged or truncated: expected a complete image")
    assert not Path("found").exists()


def test_predict_refuses_a_file_as_its_folder_before_it_loads_a_model(noises, monkeypatch):
    """As the other commands do."""
    monkeypatch.chdir(noises.parent)
    Path("found").write_text("mine", encoding="utf-8")
    done = CliRunner().invoke(app, ["predict", "noises/0.png", "--weights", "random", "--out", "found"])
    assert str(done.exception) == "--out found: expected a folder, found a file; choose another --out"


def test_predict_refuses_a_folder(tmp_path):
    """It is not damaged: it is no image."""
    done = CliRunner().invoke(app, ["predict", str(tmp_path), "--weights", "random"])
    assert str(done.exception) == f"image {tmp_path}: expected a file, found a folder; name the images in it"


def test_images_of_one_name_get_outputs_of_their_own():
    """Folders tell them apart, and where those do not, the suffix does; an image named twice counts once."""
    images = [Path("a/x.jpg"), Path("b/x.jpg"), Path("c/d/x.jpg"), Path("y.jpg"), Path("y.png"), Path("a/x.jpg")]
    outputs = name_outputs(images, Path("out"))
    assert len(outputs) == 5
    assert len(set(outputs.values())) == 5
    assert outputs[Path("a/x.jpg")] == Path("out/a_x.detq")
    assert outputs[Path("c/d/x.jpg")] == Path("out/d_x.detq")


def test_an_artifact_is_calibrated_already(tmp_path):
    """Images to calibrate with would be of no use, so naming both is a mistake."""
    result = CliRunner().invoke(app, ["predict", "a.jpg", "--artifact", "car.ts", "--calibration", str(tmp_path)])
    assert "--calibration" in str(result.exception)
