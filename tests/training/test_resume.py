"""A training that is killed and resumed, in processes of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import torch
from safetensors.torch import load_file

STEPS = 6
MODEL = "fasterrcnn_mobilenet_v3_large_320_fpn"
SMALL = "ssdlite320_mobilenet_v3_large"


def _command(squares, out, *more, model=MODEL):
    return [
        *(sys.executable, "-m", "detq", "train", "--model", model),
        *("--weights", "random", "--data", f"{squares}?classes=square&repeat=2"),
        *("--val", f"{squares}?classes=square", "--val-limit", "2"),
        *("--out", str(out), "--steps", str(STEPS), "--batch-size", "2", "--warmup-steps", "2"),
        *("--min-sizes", "64,96", "--threads", "1", "--seed", "3", *more),
    ]


def _train(squares, out, *more):
    done = subprocess.run(_command(squares, out, *more), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


def _stop_after(squares, out, number, signal_number, *more, model=MODEL, who=lambda process: [process.pid]):
    """Start a training that writes a checkpoint after every step, and send a signal once it has done `number` steps.

    The signal goes to the processes that `who` returns.
    """
    command = _command(squares, out, "--checkpoint-minutes", "0.000001", *more, model=model)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    losses = out / "losses.csv"
    until = time.monotonic() + 60
    while not losses.is_file() or losses.read_text(encoding="utf-8").count("\n") < number + 1:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < until, "the training did not get that far in a minute"
        time.sleep(0.005)
    for pid in who(process):
        os.kill(pid, signal_number)
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
    code, _ = _stop_after(squares, out, 2, signal.SIGKILL, "--workers", "0")
    assert code == -signal.SIGKILL
    assert not (out / "model.json").exists()
    with (out / "losses.csv").open("a", encoding="utf-8") as stream:
        stream.write("7,0.0")  # a row that the process was writing when it was killed
    done = _train(squares, out, "--workers", "1", "--resume")
    assert "going on after step" in done.stderr
    _assert_same(uninterrupted, out)


def test_ctrl_c_writes_a_checkpoint_and_says_how_to_go_on(squares, tmp_path):
    """The step in progress is finished and saved; the exit code is the one for interrupted programs."""
    out = tmp_path / "interrupted"
    code, errors = _stop_after(squares, out, 2, signal.SIGINT, "--workers", "1", "--steps", "1000", model=SMALL)
    assert code == 130
    assert "--resume" in errors
    assert "Traceback" not in errors
    done = torch.load(out / "checkpoint.pth", weights_only=True)["step"]
    assert len((out / "losses.csv").read_text(encoding="utf-8").splitlines()) == done + 1


def _workers(process):
    return [child.pid for child in psutil.Process(process.pid).children() if "tracker" not in " ".join(child.cmdline())]


def test_a_termination_of_all_processes_is_an_interruption(squares, tmp_path):
    """A cluster, or `timeout`, sends SIGTERM to the loading processes too: the step is still finished and saved."""
    out = tmp_path / "terminated"
    more = ("--workers", "2", "--steps", "1000")
    code, errors = _stop_after(
        squares, out, 2, signal.SIGTERM, *more, model=SMALL, who=lambda process: [*_workers(process), process.pid]
    )
    assert code == 130
    assert "--resume" in errors
    assert "Traceback" not in errors
    assert torch.load(out / "checkpoint.pth", weights_only=True)["step"] >= 2


def test_the_death_of_a_loading_process_is_a_sentence(squares, tmp_path):
    """Killed, by the kernel for want of memory perhaps: no traceback, and the last checkpoint stays whole."""
    out = tmp_path / "killed-worker"
    more = ("--workers", "2", "--steps", "1000")
    code, errors = _stop_after(squares, out, 2, signal.SIGKILL, *more, model=SMALL, who=_workers)
    assert code == 2
    assert "Traceback" not in errors
    assert "detq: --workers: expected the processes that load images to live" in errors
    assert "is killed by signal: Killed; free some memory or ask for fewer workers" in errors
    assert torch.load(out / "checkpoint.pth", weights_only=True)["step"] >= 1
