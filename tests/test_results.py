"""`metrics.json`: what is written is what is read, and what is wrong is named."""

from __future__ import annotations

import json

import pytest

from detq.errors import OutputError
from detq.results import DataSummary, Latency, RunResult, VariantResult


@pytest.fixture
def result():
    """The smallest result: fp32 on one image, with random weights."""
    fp32 = VariantResult(Latency(1, 0.1, 100.0, 100.0, 100.0, 100.0), None, None, 10, None, None)
    return RunResult(
        "m", "random", False, DataSummary("d", "00", 1, ("car",)), {"a": [1]}, "c", 1, 0, 0.7, 0.65, {"fp32": fp32}
    )


def test_a_result_survives_the_file(result, tmp_path):
    """Nested records, None and free-form parts included."""
    result.write(tmp_path / "metrics.json")
    assert RunResult.read(tmp_path / "metrics.json") == result


def test_a_result_without_fp32_is_refused(result):
    """Every ratio refers to it."""
    with pytest.raises(ValueError, match="must hold 'fp32', got other"):
        RunResult(**vars(result) | {"variants": {"other": result.variants["fp32"]}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "detq-run/0"}, "expected the format 'detq-run/1', got 'detq-run/0'"),
        ({"threads": "two"}, "threads must be of type int, got 'two'"),
        ({"variants": {}}, "variants must hold 'fp32', got none"),
    ],
)
def test_a_file_of_another_form_is_refused_with_its_place(result, tmp_path, change, message):
    """The sentence names file, key and value, and says what to do."""
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(result.to_json() | change), encoding="utf-8")
    with pytest.raises(OutputError) as caught:
        RunResult.read(path)
    assert message in str(caught.value)
    assert "run `detq run` again" in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    """A sentence, no traceback."""
    with pytest.raises(OutputError, match=r"metrics\.json does not exist"):
        RunResult.read(tmp_path / "metrics.json")
