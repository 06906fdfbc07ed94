"""`run_experiment` from the arguments to the folder, on a detector of one linear layer."""

from __future__ import annotations

import csv
import json
import platform
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from detq.errors import DataError, DetqError, OutputError, UnknownNameError
from detq.results import RunResult
from detq.runner import Progress, RunConfig, run_experiment


class Recorder(Progress):
    """Remembers what it is told."""

    def __init__(self):
        self.stages, self.counted, self.said = {}, {}, []

    def begin(self, stage, total, done=0):
        self.stages[stage], self.counted[stage] = [total, done], [done]
        self.now = stage

    def step(self, done):
        self.stages[self.now][1] = done
        self.counted[self.now].append(done)

    def say(self, text):
        self.said.append(text)


def _config(squares, **changes):
    arguments = {"data": str(squares), "out": squares.parent / "out", "model": "tiny:build", "memory": False}
    return RunConfig(**arguments | changes)


def test_a_run_writes_predictions_timings_metrics_pictures_and_report(squares):
    """All of it, for every image and variant, and the result that is returned is the one on disk."""
    progress = Recorder()
    config = _config(squares, draw=3)
    result = run_experiment(config, progress)
    assert RunResult.read(config.out / "metrics.json") == result
    assert list(result.variants) == ["fp32", "dynamic_int8"]
    assert result.data.images == 40
    assert result.variants["fp32"].accuracy.coco["AP"] == pytest.approx(1.0)
    assert result.variants["dynamic_int8"].proof.share == 1.0
    assert result.variants["dynamic_int8"].peak_memory_bytes is None
    assert result.proposals is None
    rows = list(csv.DictReader((config.out / "timings.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["image"] for row in rows[::2]] == [f"square-{number:04d}.png" for number in range(40)]
    assert {row["variant"] for row in rows} == {"fp32", "dynamic_int8"}
    assert {(a["order"], b["order"]) for a, b in zip(rows[::2], rows[1::2], strict=True)} == {("0", "1"), ("1", "0")}
    assert len((config.out / "predictions.jsonl").read_text(encoding="utf-8").splitlines()) == 80
    assert sorted(path.name for path in (config.out / "pictures").iterdir()) == [
        "000000_square-0000.jpg",
        "000013_square-0013.jpg",
        "000026_square-0026.jpg",
    ]
    assert result.advice in (config.out / "report.md").read_text(encoding="utf-8")
    assert progress.stages["measuring"] == [40, 40]


def test_the_reference_is_always_measured(squares):
    """Naming int8 alone adds fp32, and says so."""
    progress = Recorder()
    result = run_experiment(_config(squares, recipes=("dynamic_int8",), limit=5), progress)
    assert list(result.variants) == ["fp32", "dynamic_int8"]
    assert any(said.startswith("fp32 is measured too") for said in progress.said)


def test_without_labels_variants_are_compared_with_fp32(squares):
    """Agreement instead of accuracy, and only images that differ are drawn."""
    for label in squares.glob("*.txt"):
        label.unlink()
    result = run_experiment(_config(squares, unlabelled=True, draw=4))
    int8 = result.variants["dynamic_int8"]
    assert int8.accuracy is None
    assert int8.agreement.share_matched == 1.0
    assert result.variants["fp32"].agreement is None
    assert result.pictures == ()


def test_the_metrics_are_those_of_detq_eval(squares):
    """Evaluating the saved predictions gives the same figures to the last digit."""
    from typer.testing import CliRunner

    from detq.cli import app

    result = run_experiment(_config(squares))
    done = CliRunner().invoke(app, ["eval", "--data", str(squares), "--predictions", "out/predictions.jsonl", "--json"])
    evaluated = json.loads(done.stdout)["variants"]["dynamic_int8"]
    accuracy = result.variants["dynamic_int8"].accuracy
    assert evaluated["coco"] == accuracy.coco
    assert evaluated["report"] == accuracy.report
    assert evaluated["difference"]["AP"]["low"] == accuracy.difference["AP"].low


def test_a_second_run_in_the_same_folder_is_refused(squares):
    """Without --resume it would mix two runs; the sentence names both ways out."""
    run_experiment(_config(squares, limit=3))
    with pytest.raises(OutputError, match=r"holds another run's results; add --resume .* or choose another --out"):
        run_experiment(_config(squares, limit=3))


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"seed": 1}, "seed was 0 and is now 1"),
        ({"limit": 4}, "images was 3 and is now 4"),
        ({"system_allocator": True}, "allocator was not given and is now system"),
    ],
)
def test_resuming_with_other_arguments_names_the_difference(squares, changes, difference):
    """The folder's run and this one would not be the same experiment."""
    run_experiment(_config(squares, limit=3))
    with pytest.raises(OutputError, match=difference):
        run_experiment(_config(squares, **{"limit": 3, "resume": True} | changes))


def test_resuming_other_data_is_refused(squares):
    """A label that changed since then makes it another data set."""
    run_experiment(_config(squares, limit=3))
    (squares / "square-0001.txt").write_text("car 1 1 9 9\n", encoding="utf-8")
    with pytest.raises(OutputError, match="data identity was"):
        run_experiment(_config(squares, limit=3, resume=True))


def test_resuming_with_other_weights_of_the_same_name_is_refused(squares):
    """What counts is the bytes of the file."""
    state, weights = {"score.weight": torch.ones(1, 64), "score.bias": torch.ones(1)}, squares.parent / "own.pth"
    torch.save(state, weights)
    run_experiment(_config(squares, limit=1, weights="own.pth"))
    torch.save(state | {"score.bias": torch.zeros(1)}, weights)
    with pytest.raises(OutputError, match="weights sha256 was"):
        run_experiment(_config(squares, limit=1, weights="own.pth", resume=True))


ELSEWHERE = """
import sys
from detq.measure.allocator import keeps_freed_memory
from tiny import Tiny

def build():
    if "pytest" not in sys.modules:
        raise RuntimeError(f"freed memory is {'kept' if keeps_freed_memory() else 'given back'} here")
    return Tiny()

build.classes = ("car",)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has its own policy")
@pytest.mark.parametrize(("system_allocator", "policy"), [(False, "kept"), (True, "given back")])
def test_the_peak_is_that_of_a_process_which_treats_freed_memory_as_the_run_does(squares, system_allocator, policy):
    """This detector cannot be built in a process of its own, and says there what it found."""
    (squares.parent / "elsewhere.py").write_text(ELSEWHERE, encoding="utf-8")
    progress = Recorder()
    how = {"model": "elsewhere:build", "limit": 1, "recipes": ("fp32",), "system_allocator": system_allocator}
    result = run_experiment(_config(squares, memory=True, **how), progress)
    sys.modules.pop("elsewhere")
    (said,) = [said for said in progress.said if said.startswith("No peak memory: ")]
    assert f"freed memory is {policy} here" in said
    assert result.variants["fp32"].peak_memory_bytes is None, "the run ends all the same"


@pytest.fixture(scope="module")
def whole_folder(tmp_path_factory):
    """Where the first test that needs a finished run of nine images keeps it for the others."""
    return tmp_path_factory.mktemp("finished") / "whole"


@pytest.mark.parametrize("cut", ["half a line", "no timings", "one variant", "nothing", "garbage"])
def test_a_resumed_run_ends_as_one_that_was_not_interrupted(squares, whole_folder, cut):
    """Whatever a kill leaves behind, the final files are the same but for times."""
    how = {"data": "squares", "limit": 9, "draw": 2}
    if not whole_folder.is_dir():
        run_experiment(_config(squares, out=whole_folder, **how))
    whole, out = RunResult.read(whole_folder / "metrics.json"), squares.parent / "out"
    shutil.copytree(whole_folder, out)
    predictions, timings = out / "predictions.jsonl", out / "timings.csv"
    lines, rows = predictions.read_text().splitlines(True), timings.read_text().splitlines(True)
    kept = rows[1:9]  # four images
    if cut == "half a line":
        predictions.write_text("".join(lines[:9]) + lines[9][:20])
        timings.write_text("".join(rows[:9]))
    elif cut == "no timings":
        kept = []
        timings.unlink()
    elif cut == "one variant":
        predictions.write_text("".join(lines[:9]))
        timings.write_text("".join(rows[:10]))
    elif cut == "nothing":
        kept = rows[1:]
    else:
        predictions.write_text("".join(lines[:8]) + "\0" * 100 + "\n" + "".join(lines[9:]))
    (out / "metrics.json").unlink()
    resumed = run_experiment(_config(squares, resume=True, **how))
    assert predictions.read_bytes() == (whole_folder / "predictions.jsonl").read_bytes()
    now = timings.read_text().splitlines(True)
    assert now[1 : 1 + len(kept)] == kept
    assert len(now) == 19
    assert resumed.variants["fp32"].accuracy == whole.variants["fp32"].accuracy
    assert resumed.variants["dynamic_int8"].accuracy == whole.variants["dynamic_int8"].accuracy
    assert resumed.pictures == whole.pictures
    for name in whole.pictures:
        assert (out / name).read_bytes() == (whole_folder / name).read_bytes()


def test_a_full_disk_is_a_sentence(squares):
    """No traceback, and it says how to go on."""
    run_experiment(_config(squares, limit=3))
    timings = squares.parent / "out" / "timings.csv"
    from detq.runner.journal import Journal, Row
    from detq.types import Detections

    keys = [("square-0000.png", "fp32")]
    journal = Journal(timings.parent, lambda: iter(keys), 1)
    timings.unlink()
    timings.symlink_to("/dev/full")
    row = Row("square-0000.png", "fp32", 0, 1.0, Detections.empty())
    message = r"cannot write .*timings\.csv: No space left on device; free some space"
    with journal.appending(("car",)) as append, pytest.raises(OutputError, match=message):
        append([row])


def test_classes_that_only_one_side_knows_are_left_out_and_said(squares):
    """The model knows cars; buses in the labels are counted, not judged."""
    with (squares / "square-0001.txt").open("a", encoding="utf-8") as stream:
        stream.write("bus 1 1 9 9\n")
    progress = Recorder()
    result = run_experiment(_config(squares, limit=5), progress)
    assert result.data.classes == ("car",)
    assert result.data.ignored == ("Ignored, because the model does not know the class: 1 box (bus: 1).",)
    assert result.data.ignored[0] in progress.said


def test_no_class_in_common_is_refused_before_anything_is_measured(squares):
    """Both lists of classes and a --map to start from."""
    for label in squares.glob("*.txt"):
        label.write_text(label.read_text().replace("car", "voiture"), encoding="utf-8")
    with pytest.raises(DataError, match=r"classes \(voiture\) and the model's \(car\).*--map car=voiture"):
        run_experiment(_config(squares))
    assert not (squares.parent / "out").exists()


def test_a_mistake_in_a_name_or_label_shows_before_anything_is_written(squares):
    """The output folder is not even made."""
    with pytest.raises(UnknownNameError, match="did you mean dynamic_int8"):
        run_experiment(_config(squares, recipes=("dynamic_in8",)))
    with pytest.raises(UnknownNameError, match="unknown class"):
        run_experiment(_config(squares, report_class="bus"))
    (squares / "square-0039.txt").write_text("car 1 2 three 4\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"square-0039\.txt, line 1"):
        run_experiment(_config(squares))
    assert not (squares.parent / "out").exists()


def test_a_mistake_in_the_labels_shows_before_all_variants_are_built(squares):
    """What only the image's size tells, too: building them can take minutes."""
    (squares / "square-0039.txt").write_text("car 1 2 999 4\n", encoding="utf-8")
    progress = Recorder()
    with pytest.raises(DataError, match=r"square-0039\.txt, line 1: expected a box inside the image of 64 × 48 pixels"):
        run_experiment(_config(squares), progress)
    assert progress.stages["building variants"] == [1, 1]
    assert not (squares.parent / "out").exists()


def test_a_damaged_image_stops_the_run_which_goes_on_once_it_is_mended(squares):
    """Only decoding finds it: the images before it are kept, and the sentence says so."""
    image = squares / "square-0012.png"
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"square-0012\.png is damaged or truncated.*; then go on with --resume, "):
        run_experiment(_config(squares))
    image.write_bytes(whole)
    progress = Recorder()
    result = run_experiment(_config(squares, resume=True), progress)
    assert result.data.images == 40
    assert "Going on after 12 of 40 images." in progress.said
    assert progress.counted["measuring"] == [*range(12, 41)], "neither from nothing nor beyond the end"


@pytest.mark.parametrize(
    "changes", [{"score": 1.5}, {"score": float("nan")}, {"iou": 0.0}, {"threads": 0}, {"draw": -1}]
)
def test_a_value_out_of_its_range_is_refused_at_construction(changes):
    """The sentence begins with the option."""
    with pytest.raises(DetqError, match=f"^--{next(iter(changes))}: expected"):
        RunConfig(data="photos", out=Path("out"), **changes)


def test_what_the_run_takes_around_the_model_is_a_share_of_fp32s_inference():
    """By hand: a session of 10 s in fp32 loaded for 0.3 s and wrote for 0.2 s; metrics took 1 s of 40 images' 20 s.

    A resumed run's session is a part of the run, so each share has its own whole.
    """
    from detq.runner.conclude import Session, _overhead
    from detq.runner.summary import Measurements

    measured = Measurements({"fp32": np.full(40, 500.0)}, {}, {}, {}, {}, metrics_s=1.0)
    assert _overhead(measured, Session(10.0, 0.3, 0.2)) == {
        "inference_fp32_s": 20.0,
        "loading_s": 0.3,
        "writing_s": 0.2,
        "metrics_s": 1.0,
        "share_of_fp32": pytest.approx(0.05 + 0.05),
    }
    finished = _overhead(measured, Session(0.0, 0.0, 0.0))
    assert finished["share_of_fp32"] == pytest.approx(0.05), "nothing was left to measure"


def test_memory_does_not_grow_with_images(workplace):
    """After a thousand images not 50 MB more than after a hundred."""
    from detq.measure.memory import resident_bytes
    from tests.runner.conftest import write_squares

    write_squares(workplace / "many", 1000)

    class Watch(Progress):
        stage, resident = "", {}

        def begin(self, stage, *_counts):
            self.stage = stage

        def step(self, done):
            if self.stage == "measuring" and done in (100, 1000):
                self.resident[done] = resident_bytes("VmRSS")

    watch = Watch()
    result = run_experiment(_config(workplace / "many"), watch)
    assert np.isfinite(result.overhead["share_of_fp32"])
    assert watch.resident[1000] - watch.resident[100] < 50e6
