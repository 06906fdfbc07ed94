"""What the command line says while it trains."""

from __future__ import annotations

import pytest

from detq.cli.train_progress import LineProgress, describe_step
from detq.training import precision
from detq.training.progress import StepReport

REPORT = StepReport(5, 10, {"loss_classifier": 0.25, "loss_box_reg": 0.5}, 2e-4, 3.2, 3675.0)


def test_a_step_is_told_with_losses_rate_and_time_left():
    """In one line."""
    assert describe_step(REPORT) == (
        "loss 0.750 (classifier 0.250, box_reg 0.500), lr 2.0e-04, 3.2 images/s, 1:01:15 left"
    )


def test_a_log_gets_the_first_step_and_not_every_one(capsys):
    """The next line comes half a minute later, or with the last step."""
    progress = LineProgress()
    for step in range(1, 11):
        progress.step(StepReport(step, 10, REPORT.losses, 1e-4, 1.0, 1.0))
    assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines()] == ["step 1/10", "step 10/10"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--data", "nowhere"), "nowhere does not exist"),
        (("--data", "x?repeat=0"), "expected repeat=N"),
        (("--data", "x", "--min-sizes", "big"), "--min-sizes: expected whole numbers such as 480,640,800, got 'big'"),
        (("--data", "x", "--epochs", "1", "--steps", "1"), "expected one of the two, got both"),
        (("--data", "x", "--model", "fasterrcn"), "unknown model 'fasterrcn'"),
        (
            ("--data", "synthetic:traffic?n=1", "--model", "nowhere:build", "--weights", "random"),
            "nowhere:build is your own detector and brings its own weights",
        ),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2_and_nothing_is_written(
    tmp_path, monkeypatch, command_line, arguments, expected
):
    """Before torch has anything to do."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(precision, "keep_freed_memory", lambda: None)  # it would hold for all tests that follow
    code, said = command_line("train", "--out", str(tmp_path / "out"), *arguments)
    assert code == 2
    assert expected in said.err
    assert len(said.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()
