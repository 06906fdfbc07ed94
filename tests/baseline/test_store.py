"""Reading baselines, and choosing the one that a run is compared with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from detq.baseline import choose, entry_from_json, read_baseline, read_baselines, write_baseline
from detq.errors import BaselineError
from detq.gate.saved_accuracy import saved_ap
from tests.matches import packed

CLASS = {"vendor": "A", "isa": ["avx2"], "cores": 2, "torch": "2.14.1"}


@pytest.fixture
def write(tmp_path, benchmark_json):
    def write_class(name, **fields):
        path = tmp_path / f"{name}.json"
        write_baseline(path, [benchmark_json()], {}, name, {**CLASS, **fields})
        return path

    return write_class


def test_a_written_baseline_reads_back(write):
    """Every figure that the gate judges survives the file."""
    baseline = read_baseline(write("a"))
    entry = baseline.entries["tiny-dynamic_int8"]
    assert baseline.machine_class == "a"
    assert baseline.fields == CLASS
    assert (entry.model, entry.recipe, entry.weights) == ("tiny", "dynamic_int8", "own")
    assert entry.times_s == (0.1, 0.2, 0.3, 0.4)
    assert entry.control_s == (0.01,) * 4
    assert saved_ap(entry) == pytest.approx(61 / 101)
    assert entry.matches.keys() == {""}
    assert entry.metrics == {"recall": (0.8,) * 4}
    assert (entry.weight_bytes, entry.int8_share, entry.speedup) == (1000, 0.5, 1.2)


def test_the_baseline_of_the_machine_class_is_chosen(write, tmp_path):
    """However alike another class is."""
    write("a")
    write("b", cores=4)
    choice = choose(read_baselines(tmp_path), "b", CLASS)
    assert choice.baseline.machine_class == "b"
    assert choice.same_class


def test_without_one_the_most_alike_class_is_chosen_and_said_to_be_another(write, tmp_path):
    """Instruction sets and versions that agree make accuracy agree."""
    write("a", vendor="B", torch="2.9.1")
    write("b", cores=4)
    choice = choose(read_baselines(tmp_path), "c", CLASS)
    assert choice.baseline.machine_class == "b"
    assert not choice.same_class


def test_without_any_baseline_there_is_none(tmp_path):
    """A missing folder is an empty one."""
    assert choose(read_baselines(tmp_path / "none"), "a", CLASS).baseline is None


def test_other_benchmarks_in_the_file_are_not_detqs(write):
    """pytest-benchmark may save somebody else's benchmarks beside detq's."""
    path = write("a")
    document = json.loads(path.read_text())
    document["benchmarks"].append({"name": "test_sort", "extra_info": {}, "stats": {}})
    path.write_text(json.dumps(document))
    assert list(read_baseline(path).entries) == ["tiny-dynamic_int8"]


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 10_000, "[]", "7", '{"benchmarks": []}', '{"machine_info": {}, "benchmarks": []}']
)
def test_a_file_that_is_no_baseline_is_named_in_one_sentence(tmp_path, text):
    """Truncated, foreign or empty."""
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(BaselineError, match=r"baseline .*x\.json"):
        read_baseline(path)


def test_a_baseline_without_benchmarks_is_refused(write):
    """It would let every variant be new."""
    path = write("a")
    document = json.loads(path.read_text())
    document["benchmarks"] = []
    path.write_text(json.dumps(document))
    with pytest.raises(BaselineError, match="holds no benchmark"):
        read_baseline(path)


def test_a_variant_that_is_there_twice_is_refused(write):
    """One of the two would be ignored."""
    path = write("a")
    document = json.loads(path.read_text())
    document["benchmarks"] *= 2
    path.write_text(json.dumps(document))
    with pytest.raises(BaselineError, match="a variant twice"):
        read_baseline(path)


@pytest.mark.parametrize(
    ("number", "remedy"), [("3", "a newer detq wrote it: update detq"), ("1", "remove the file and record it again")]
)
def test_another_format_is_refused(benchmark_json, number, remedy):
    """Its fields may mean something else."""
    sentence = f"expected benchmarks of format detq-benchmark/2, got 'detq-benchmark/{number}'; {remedy}"
    with pytest.raises(BaselineError, match=sentence):
        entry_from_json(benchmark_json(format=f"detq-benchmark/{number}"), "x.json")


def test_the_baseline_of_this_repository_reads_although_it_is_older_than_some_figures():
    """What nobody measured then is None or empty, and everything else is there."""
    folder = Path(__file__).resolve().parents[2] / "benchmarks" / "baselines"
    for baseline in read_baselines(folder):
        for entry in baseline.entries.values():
            assert len(entry.timed.rounds_s[0]) == len(entry.images)
            assert entry.peak_bytes is None or entry.peak_bytes > 0
            assert set(entry.int8_by_stage) >= {"backbone", "box_head"}


def test_rounds_memory_and_the_share_by_stage_survive_the_file(tmp_path, benchmark_json):
    """Several rounds are kept one by one; the benchmark's own times are the medians of each image."""
    rounds = [[100.0, 200.0, 300.0, 400.0], [300.0, 200.0]]
    per_image = benchmark_json()["extra_info"]["per_image"] | {"rounds_ms": rounds}
    more = {"per_image": per_image, "looks": 2, "peak_bytes": 7, "int8_by_stage": {"head": 0.5}}
    write_baseline(tmp_path / "a.json", [benchmark_json(**more)], {}, "a", CLASS)
    entry = read_baseline(tmp_path / "a.json").entries["tiny-dynamic_int8"]
    assert entry.timed.rounds_s == ((0.1, 0.2, 0.3, 0.4), (0.3, 0.2))
    assert (entry.looks, entry.peak_bytes, entry.int8_by_stage) == (2, 7, {"head": 0.5})


@pytest.mark.parametrize("time_s", [0.0, -1.0, float("inf")])
def test_a_time_that_no_clock_measures_is_damage(benchmark_json, time_s):
    """A ratio to it would be meaningless."""
    damaged = benchmark_json()
    damaged["stats"]["data"][1] = time_s
    with pytest.raises(BaselineError, match="a time that is not above 0"):
        entry_from_json(damaged, "x.json")


@pytest.mark.parametrize(
    ("figures", "sentence"),
    [
        ({"int8_share": float("nan")}, "int8_share that is not between 0 and 1"),
        ({"int8_by_stage": {"backbone": 7}}, "int8_by_stage that is not between 0 and 1"),
        ({"artifact_bytes": -1}, "bytes or looks that are no count"),
        ({"weight_bytes": -1}, "bytes or looks that are no count"),
        ({"peak_bytes": -1}, "bytes or looks that are no count"),
        ({"looks": 0}, "bytes or looks that are no count"),
    ],
)
def test_a_figure_that_cannot_be_is_damage(benchmark_json, figures, sentence):
    """No run is worse than what is no number: it would let everything pass."""
    damaged = benchmark_json()
    damaged["extra_info"] |= figures
    with pytest.raises(BaselineError, match=sentence):
        entry_from_json(damaged, "x.json")


@pytest.mark.parametrize("key", ["weight_bytes", "per_image", "int8_share", "weights"])
def test_a_benchmark_without_a_field_is_damaged(benchmark_json, key):
    """The message names the variant and the field."""
    damaged = benchmark_json()
    del damaged["extra_info"][key]
    with pytest.raises(BaselineError, match=rf"the benchmark of tiny-dynamic_int8 is damaged \(KeyError: '{key}'"):
        entry_from_json(damaged, "x.json")


@pytest.mark.parametrize("matches", ["", "cut", "AAAA", packed(3)])
def test_matches_that_cannot_be_read_or_are_of_other_images_are_damage(benchmark_json, matches):
    """They are text that nobody reads: a merge conflict solved by hand cuts it."""
    damaged = benchmark_json()
    whole = damaged["extra_info"]["per_image"]["matches"]
    damaged["extra_info"]["per_image"]["matches"] = whole[:-40] if matches == "cut" else matches
    with pytest.raises(BaselineError, match=r"4 images, but 3 values of matches|packed matches that cannot be read"):
        entry_from_json(damaged, "x.json")


def test_values_that_do_not_go_with_the_images_are_damaged(benchmark_json):
    """Each image has one time; a cut list would pair the wrong ones."""
    damaged = benchmark_json()
    damaged["stats"]["data"].pop()
    with pytest.raises(BaselineError, match=r"4 images, but 3 values of times"):
        entry_from_json(damaged, "x.json")
