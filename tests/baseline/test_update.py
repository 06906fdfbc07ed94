"""Writing baselines: merging, rounding, cutting down, and leaving out what is nobody's business."""

from __future__ import annotations

import getpass
import json
import platform
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detq.baseline import merge, restrict, scrub, state_of, write_baseline
from detq.baseline.scrub import private_words, scrub_commit
from detq.baseline.update import dump
from detq.errors import BaselineError


def names(benchmarks):
    return [benchmark["extra_info"]["variant"] for benchmark in benchmarks]


def test_an_update_replaces_what_was_measured_and_keeps_what_was_left_out(benchmark_json):
    """`--detq-gate-update -k dynamic` does not forget fp32."""
    saved = [benchmark_json("a-fp32"), benchmark_json("a-int8", weight_bytes=1), benchmark_json("b-fp32")]
    merged = merge([benchmark_json("a-int8", weight_bytes=2)], saved, [])
    assert names(merged) == ["a-fp32", "a-int8", "b-fp32"]
    assert merged[1]["extra_info"]["weight_bytes"] == 2


def test_an_update_drops_what_no_longer_exists(benchmark_json):
    """Otherwise a removed variant would fail the gate for ever."""
    assert names(merge([benchmark_json("a-fp32")], [benchmark_json("a-old")], ["a-old"])) == ["a-fp32"]


def test_a_written_baseline_names_no_host_kernel_user_or_folder(tmp_path, benchmark_json):
    """The file is committed for everybody to read."""
    host, kernel, user = socket.gethostname(), platform.release(), getpass.getuser()
    info = {
        "weights": f"file: {tmp_path}/weights.safetensors",
        "data": {"name": f"/home/{user}/cameras/east", "kernels": [f"on {host} with {kernel}"]},
    }
    commit = {"id": "abc", "time": "2026-01-01", "dirty": False, "branch": f"{user}/try", "project": tmp_path.name}
    path = tmp_path / "class.json"
    write_baseline(path, [benchmark_json(**info)], {"commit_info": commit}, "class", {"vendor": "A"})
    text = path.read_text()
    for secret in (str(tmp_path), tmp_path.name, "/home/", kernel, "branch", *private_words()):
        assert secret not in text
    assert json.loads(text)["commit_info"] == {"id": "abc", "time": "2026-01-01", "dirty": False}
    assert "weights.safetensors" in text


def test_what_a_benchmark_is_found_by_is_never_scrubbed(tmp_path, benchmark_json):
    """A host called like a folder of the project must not un-gate the project."""
    path = tmp_path / "class.json"
    words = ("benchmarks", "tiny", "car-park")
    write_baseline(path, [benchmark_json(weights="the car-park's")], {}, "class", {}, words=words)
    (written,) = json.loads(path.read_text())["benchmarks"]
    assert written["fullname"] == "benchmarks/test_latency.py::test_latency[tiny-dynamic_int8]"
    assert written["extra_info"]["model"] == "tiny"
    assert written["extra_info"]["weights"] == "the …'s"


def test_a_file_that_another_run_wrote_in_the_meantime_is_left_alone(tmp_path, benchmark_json):
    """Whoever comes second would take away what the first has recorded."""
    path = tmp_path / "class.json"
    before = state_of(path)
    write_baseline(path, [benchmark_json()], {}, "class", {}, state=before)
    first = path.read_bytes()
    with pytest.raises(BaselineError, match="changed while this run measured: another run wrote it"):
        write_baseline(path, [benchmark_json("other-fp32")], {}, "class", {}, state=before)
    assert path.read_bytes() == first
    write_baseline(path, [benchmark_json("other-fp32")], {}, "class", {}, state=state_of(path))
    assert path.read_bytes() != first
    assert [item.name for item in tmp_path.iterdir()] == ["class.json"]


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("/home/me/data", "data"),
        ("~/data/dawn", "dawn"),
        (r"C:\Users\me\data", "data"),
        ("file: /a/b/c.pth, seed 7", "file: c.pth, seed 7"),
        ("synthetic:traffic?n=200&size=1280x720", "synthetic:traffic?n=200&size=1280x720"),
        ("quantized::linear_dynamic", "quantized::linear_dynamic"),
        ("benchmarks/test_latency.py::test_latency", "benchmarks/test_latency.py::test_latency"),
        ("images/s and and/or", "images/s and and/or"),
        ("on myhost.", "on …."),
        ("myhosting", "myhosting"),
    ],
)
def test_scrubbing_takes_folders_and_words_and_leaves_the_rest(text, clean):
    """Paths keep their last part; a name within another word is another word."""
    assert scrub({"key": [text]}, ["myhost"]) == {"key": [clean]}


def test_scrubbing_a_commit_keeps_only_what_identifies_it():
    """Branches and projects are called after people and folders."""
    assert scrub_commit({"id": "a", "branch": "b", "project": "c"}) == {"id": "a"}


def test_times_are_rounded_to_microseconds_and_the_file_stays_small(tmp_path, benchmark_json):
    """200 images of a variant take about 20 kB."""
    benchmark = benchmark_json(images=200)
    benchmark["stats"]["data"] = [0.1234567890123] * 200
    path = tmp_path / "class.json"
    write_baseline(path, [benchmark], {}, "class", {})
    assert json.loads(path.read_text())["benchmarks"][0]["stats"]["data"][0] == 0.123457
    assert path.stat().st_size < 20_000


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(json_values)
def test_the_files_layout_does_not_change_what_it_says(value):
    """Lists of plain values share a line; any JSON parser reads the same."""
    assert json.loads(dump(value)) == value


def test_a_cut_baseline_has_the_statistics_of_its_first_images(benchmark_json):
    """pytest-benchmark then compares medians of the same images."""
    other = {"name": "test_sort", "extra_info": {}, "stats": {"data": [1.0, 2.0, 3.0], "median": 2.0}}
    cut = restrict({"benchmarks": [benchmark_json(), other], "version": "5"}, 3)
    stats = cut["benchmarks"][0]["stats"]
    assert stats["data"] == pytest.approx([0.1, 0.2, 0.3])
    assert stats["median"] == pytest.approx(0.2)
    assert stats["rounds"] == 3
    assert stats["max"] == pytest.approx(0.3)
    assert cut["benchmarks"][1] == other
    assert cut["version"] == "5"


def test_cutting_to_more_images_than_there_are_changes_nothing(benchmark_json):
    """A longer run is compared with all there is."""
    document = {"benchmarks": [benchmark_json()]}
    assert restrict(document, 10) == document
