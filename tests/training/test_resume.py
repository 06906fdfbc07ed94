"""A training that is killed and resumed, in processes of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

STEPS = 8


def _command(squares, out, *more):
    return [
        *(sys.executable, "-m", "detq", "train", "--model", "fasterrcnn_mobilenet_v3_large_320_fpn"),
        *(
            "--weights",
            "random",
            "--data",
            f"{squares}?classes=square&repeat=2",
            "--val",
            f"{squares}?classes=square",
            "--val-limit",
            "2",
        ),
        *("--out", str(out), "--steps", str(STEPS), "--batch-size", "2", "--warmup-steps", "2"),
        *("--min-sizes", "64,96", "--threads", "1", "--seed", "3", *more),
    ]


def _train(squares, out, *more):
    done = subprocess.run(_command(squares, out, *more), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


def _stop_after(squares, out, number, signal_number, *more):
    """Start a training that writes a checkpoint after every step, and send a signal once it has done `number` steps."""
    command = _command(squares, out, "--checkpoint-minutes", "0.000001", *more)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    losses = out / "losses.csv"
    until = time.monotonic() + 60
    while not losses.is_file() or losses.read_text(encoding="utf-8").count("\n") < number + 1:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < until, "the training did not get that far in a minute"
        time.sleep(0.005)
    os.kill(process.pid, signal_number)
    errors = process.communicate(timeout=60)[1]
    return process.returncode, errors


@pytest.fixture(scope="module")
def uninterrupted(squares, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "whole"
    _train(squares, out, "--workers", "0")
    return out


def _assert_same(one, other):
    first, second = (torch.load(out / "checkpoint.pth", weights_only=True) for out in (one, other))
    assert first["step"] == second["step"] == STEPS
    for name, tensor in first["model"].items():
        assert torch.equal(tensor, second["model"][name]), name
    for number, state in first["optimizer"]["state"].items():
        for name, tensor in state.items():
            assert torch.equal(tensor, second["optimizer"]["state"][number][name]), (number, name)
    stored = [load_file(out / "model.safetensors") for out in (one, other)]
    assert all(torch.equal(tensor, stored[1][name]) for name, tensor in stored[0].items())
    assert (one / "losses.csv").read_bytes() == (other / "losses.csv").read_bytes()


@pytest.mark.slow
def test_a_killed_training_resumes_to_the_bits_that_an_uninterrupted_one_has(squares, uninterrupted, tmp_path):
    """SIGKILL mid-epoch, resumed with a worker process: weights, optimizer and losses are equal, not just close."""
    out = tmp_path / "killed"
    code, _ = _stop_after(squares, out, 3, signal.SIGKILL, "--workers", "0")
    assert code == -signal.SIGKILL
    assert not (out / "model.json").exists()
    with (out / "losses.csv").open("a", encoding="utf-8") as stream:
        stream.write("7,0.0")  # a row that the process was writing when it was killed
    done = _train(squares, out, "--workers", "1", "--resume")
    assert "going on after step" in done.stderr
    _assert_same(uninterrupted, out)


@pytest.mark.slow
def test_ctrl_c_writes_a_checkpoint_and_says_how_to_go_on(squares, uninterrupted, tmp_path):
    """The step in progress is finished and saved; the exit code is the one for interrupted programs."""
    out = tmp_path / "interrupted"
    code, errors = _stop_after(squares, out, 2, signal.SIGINT, "--workers", "1")
    assert code == 130
    assert "--resume" in errors
    assert "Traceback" not in errors
    _train(squares, out, "--resume")
    _assert_same(uninterrupted, out)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ((), "holds another training; add --resume"),
        (("--resume", "--seed", "4"), "seed was 3 and is now 4"),
        (
            ("--resume", "--batch-size", "3", "--learning-rate", "0.1"),
            "batch size was 2 and is now 3; learning rate was",
        ),
    ],
    ids=["without --resume", "another seed", "two differences"],
)
def test_a_folder_with_another_training_is_refused_naming_what_differs(squares, uninterrupted, more, expected):
    """Nothing in the folder changes, and the exit code is that of a user's mistake."""
    before = {path.name: path.read_bytes() for path in uninterrupted.iterdir()}
    done = subprocess.run(_command(squares, uninterrupted, *more), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert expected in done.stderr
    assert before == {path.name: path.read_bytes() for path in uninterrupted.iterdir()}


def test_a_finished_training_has_nothing_to_resume(squares, uninterrupted):
    """It shows the card again instead of failing or training anew."""
    done = _train(squares, uninterrupted, "--resume")
    assert "finished" in done.stderr
