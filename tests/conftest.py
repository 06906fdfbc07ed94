"""What every test may ask for: Hypothesis profiles and the data that only development machines and CI have."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from detq.pytest_plugin import _timing

settings.register_profile("ci", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("dev", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A suite that a shell runs in the background ignores Ctrl-C, and commands that tests interrupt would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """Compile quickly rather than well, except where benchmarks are timed; packages of another level are others."""
    worker = getattr(config, "workerinput", None)
    if worker is not None and hasattr(os, "sched_setaffinity"):
        # pytest-xdist. Two processes that both compute with all cores are slower than one after the other.
        cores, number = sorted(os.sched_getaffinity(0)), int(worker["workerid"].removeprefix("gw"))
        os.sched_setaffinity(0, cores[number % len(cores) :: worker["workercount"]])
    if not _timing(config):
        os.environ.setdefault("AOT_INDUCTOR_COMPILE_WRAPPER_OPT_LEVEL", "O0")


ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder beside the checkout with real photos and weights; they are too large, or not ours, to commit."""
    folder = Path(os.environ.get("DETQ_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        if os.environ.get("DETQ_REQUIRE_SHARED"):
            pytest.fail(f"DETQ_REQUIRE_SHARED is set, but there is no folder {folder}")
        pytest.skip(f"needs the development data in {folder} (set DETQ_SHARED to its path)")
    return folder


@pytest.fixture(scope="session")
def noise() -> np.ndarray:
    """A small image on which a detector with random weights finds something: uint8, 120 × 160 pixels."""
    return np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)


@pytest.fixture(scope="session")
def fp32_predictor(noise):
    """The smallest two-stage detector with random weights, proved on `noise`. Do not change it."""
    from detq.predictor import build_predictor

    return build_predictor("fasterrcnn_mobilenet_v3_large_320_fpn-fp32", weights="random", prove_on=noise)


@pytest.fixture(scope="session")
def int8_predictor(noise):
    """The same detector in dynamic int8. Do not change it."""
    from detq.predictor import build_predictor

    return build_predictor("fasterrcnn_mobilenet_v3_large_320_fpn-dynamic_int8", weights="random", prove_on=noise)


@pytest.fixture
def command_line(monkeypatch, capsys):
    """Run `detq ARGUMENTS` here, seconds sooner than in a process of its own; return its exit code and what it said."""
    from detq.cli import main

    def run(*arguments: str):
        monkeypatch.setattr(sys, "argv", ["detq", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code, capsys.readouterr()

    return run
