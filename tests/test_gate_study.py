"""The study of the gate changes code by its text: it must find that text, and count right."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def study(monkeypatch):
    """The modules of benchmarks/gate_study.py, which is started by its path."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield importlib.import_module
    for name in ("gate_study_kinds", "gate_study_table"):
        sys.modules.pop(name, None)


def test_every_fault_finds_the_text_that_it_replaces(study):
    """A study of the night must not end at a line that somebody moved."""
    for name, kind in study("gate_study_kinds").KINDS.items():
        folder = ROOT / "examples" / "own_model" if kind.benchmark else ROOT
        assert not kind.file or (folder / kind.file).read_text().count(kind.old) == 1, name


def test_the_interval_is_clopper_and_pearsons(study):
    """By the rule of three, and as `scipy.stats.binomtest(38, 40).proportion_ci()` gives it."""
    interval = study("gate_study_table").binomial_interval
    assert interval(0, 40) == (0.0, pytest.approx(1 - 0.025 ** (1 / 40)))
    assert interval(38, 40) == (pytest.approx(0.8308, abs=1e-4), pytest.approx(0.9939, abs=1e-4))


def row(kind, run, verdict="pass", *failed, **more):
    items = [
        {"variant": "m-dynamic_int8", "detail": "", **dict(zip(("kind", "name"), one, strict=True))} for one in failed
    ]
    known = {"setting": "small", "stage": None, "seconds": 52.0, "measured_s": 40.0, "commit": "0" * 40}
    return {**known, "kind": kind, "run": run, "verdict": verdict, "failed": items, **more}


def test_a_run_counts_as_caught_only_where_the_right_evidence_failed(study):
    """Another figure is a false alarm, a run that could not be made is no run, and a stage must be the one."""
    text = study("gate_study_table").table(
        [
            row("layer", 0, "regression", ("int8", "int8_share of box_head"), ("weights", "weight_bytes")),
            row("layer", 1, "regression", ("latency", "median"), ("accuracy", "AP")),
            row("slow10", 0, "regression", ("latency", "median")) | {"stage": "backbone"},
            row("faster10", 0, improved=[{"name": "median"}]),
            row("faster10", 1, improved=[]),
            row("same", 0),
            row("same", 1, "error", error="no"),
        ]
    )
    lines = {
        line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")]
        for line in text.splitlines()
        if "|" in line
    }
    assert lines["layer"][3:5] == ["2", "1 of 2"]
    assert lines["layer"][6:8] == ["NO", "1"]
    assert lines["slow10"][9] == "0"
    assert lines["faster10"][4] == "1 of 2"
    assert lines["same"][3:5] == ["1 (+1 that could not be made)", "0 of 1"]
    assert lines["same"][-2] == "12"
