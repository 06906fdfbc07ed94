"""The file of losses, and the running mean that is shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detq.training.losses import LossFile, Smoothed, final_losses


def _write(path, steps, done=0):
    with LossFile.opened(path, done) as file:
        for step in steps:
            file.write(step, 0.1, 64, {"loss_a": step / 3, "loss_b": 1.0})


def test_rows_beyond_the_checkpoint_and_half_rows_are_dropped_on_resuming(tmp_path):
    """The file of a killed and resumed training is the uninterrupted one's, byte for byte."""
    whole, resumed = tmp_path / "whole.csv", tmp_path / "resumed.csv"
    _write(whole, range(1, 8))
    _write(resumed, range(1, 6))
    resumed.write_bytes(resumed.read_bytes() + b"6,0.1,6")
    _write(resumed, range(4, 8), done=3)
    assert resumed.read_bytes() == whole.read_bytes()


def test_a_training_killed_before_its_first_checkpoint_starts_the_file_anew(tmp_path):
    """Nothing of the lost steps stays."""
    path = tmp_path / "losses.csv"
    _write(path, range(1, 4))
    _write(path, range(1, 3), done=0)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[0] for line in lines] == ["step", "1", "2"]


def test_final_losses_are_means_of_the_last_twentieth_and_of_ten_steps_at_least(tmp_path):
    """A single batch says little."""
    path = tmp_path / "losses.csv"
    _write(path, range(1, 401))
    last = [step / 3 for step in range(381, 401)]
    assert final_losses(path)["loss_a"] == pytest.approx(sum(last) / len(last))
    assert set(final_losses(path)) == {"total", "loss_a", "loss_b"}


@given(st.floats(-1e3, 1e3), st.integers(1, 50))
def test_the_running_mean_of_a_constant_is_that_constant(value, count):
    """From the first step on, without a bias towards zero."""
    smoothed = Smoothed()
    means = [smoothed.update({"loss": value})["loss"] for _ in range(count)]
    assert means == pytest.approx([value] * count, abs=1e-6)
