"""Three sessions of a worker measured in turns; here within this process, with the example's detector."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from detq.errors import DataError, DetqError
from detq.gate.trial import SIDES, Trial
from detq.masks import as_rle, full_size
from detq.measure.file_size import file_bytes
from detq.paired.config import GateConfig, absolute_data, seconds_of
from detq.paired.frames import Frames
from detq.paired.race import _detections, checked_ms, race, rounds_before_look
from detq.paired.worker import Session, _answer, _exists
from detq.quantization.frozen import FrozenDetector
from detq.quantization.scripted import quiet_torchscript


class Here:
    """A worker's session without a process around it, behind the same JSON."""

    def __init__(self, log, side):
        self.session, self.log, self.side = Session(), log, side

    def ask(self, do, **question):
        self.log.append((self.side, do, question.get("image")))
        found = json.loads(json.dumps(_answer(self.session, json.loads(json.dumps({"do": do, **question})))))
        if "error" in found:
            raise DetqError(found["error"])
        return found["answer"]


@pytest.fixture
def started(repository, tmp_path, monkeypatch):
    """The three sessions with the tiny detector built, its images, and a log of all questions."""
    monkeypatch.chdir(repository)
    monkeypatch.syspath_prepend(str(repository))
    frames = Frames(GateConfig("main", repository, data=str(repository / "images"), images=6), tmp_path)
    log = []
    workers = {side: Here(log, side) for side in SIDES}
    options = {"weights": None, "classes": None, "seed": 0, "calibration": None}
    for worker in workers.values():
        built = worker.ask("build", variant="bright:build-fp32", image=frames.proof_path, **options)
        assert built["classes"] == ["car"]
        assert built["module"].endswith("bright.py")
    return workers, frames, log


def test_every_image_goes_through_all_three_in_random_order_until_it_is_decided(started):
    """First a round over all images, whose detections are kept; then as many as are needed."""
    workers, frames, log = started
    trial, seen = Trial("bright:build-fp32"), []
    log.clear()
    looks = race(
        trial,
        workers,
        frames,
        dict.fromkeys(SIDES, ("car",)),
        decided=lambda trial, look: len(trial.images) >= 18 and look > 0,
        budget_s=60,
        seed=0,
        step=seen.append,
    )
    assert looks == 3
    assert seen == list(range(1, 25))
    assert [sorted(trial.images[start : start + 6]) for start in range(0, 24, 6)] == [list(range(6))] * 4
    asked = [side for side, do, _ in log if do == "detect"]
    assert asked[:6] == list(SIDES) * 2, "two images to warm up"
    timed = asked[6:]
    assert len(timed) == 3 * 24
    assert len({tuple(trial.images[start : start + 6]) for start in range(0, 24, 6)}) > 1
    orders = {tuple(timed[start : start + 3]) for start in range(0, len(timed), 3)}
    assert all(sorted(order) == sorted(SIDES) for order in orders)
    assert len(orders) > 3
    assert all(len(side.times_ms) == len(side.stages_ms) == 24 for _, side in trial.sides())
    assert all(value > 0 for value in trial.head.held_bytes)
    assert all(0 < value < 400 for value in trial.head.times_ms)
    assert trial.head.stages_ms[0].keys() >= {"transform", "backbone"}
    truths = frames.labelled(("car",)).truths
    np.testing.assert_array_equal(trial.head.detections[2].boxes, truths[2].boxes)


def test_when_the_time_is_up_the_first_round_is_finished_and_nothing_more_begun(started):
    """Accuracy needs every image."""
    workers, frames, _ = started
    trial = Trial("bright:build-fp32")
    options = {"decided": lambda *_: False, "seed": 0, "step": lambda _: None}
    assert race(trial, workers, frames, dict.fromkeys(SIDES, ("car",)), budget_s=0, **options) == 1
    assert len(trial.images) == len(trial.head.detections) == 6
    sizes = workers["head"].ask("finish")
    assert sizes["weight_bytes"] == (64 * 32 + 32 + 32 + 1) * 4
    assert sizes["peak_bytes"] >= 0


def test_a_later_round_ends_with_the_time_and_each_side_has_labels_of_its_own(started, monkeypatch):
    """On a clock that an image takes a second of: eight in all. Classes are the base's, by name, not by number."""
    workers, frames, _ = started
    trial, clock = Trial("bright:build-fp32"), SimpleNamespace(now=0.0)
    monkeypatch.setattr("detq.paired.race.time", SimpleNamespace(monotonic=lambda: clock.now))
    classes = {"head": ("bus",), "base": ("car",), "control": ("car",)}
    options = {"decided": lambda *_: False, "seed": 0, "budget_s": 8}
    race(trial, workers, frames, classes, step=lambda done: setattr(clock, "now", float(done)), **options)
    assert len(trial.images) == 8
    assert not any(map(len, trial.head.detections)), "a bus is no car"
    assert any(map(len, trial.base.detections))


def test_what_a_worker_cannot_do_is_an_answer_and_it_goes_on():
    """A sentence of detq's as it is; anything else by its name."""
    session = Session()
    unknown = _answer(session, {"do": "recipes", "model": "no_such_model"})
    assert unknown["error"].startswith("unknown model 'no_such_model'")
    assert _answer(session, {"do": "detect", "image": "missing.npy"})["error"].startswith("FileNotFoundError: ")
    assert "fp32" in _answer(session, {"do": "recipes", "model": "ssdlite320_mobilenet_v3_large"})["answer"]["recipes"]


class Fixed(nn.Module):
    """One layer, and nothing found."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 64)

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        return [{"boxes": self.layer(image)} for image in images]


def test_a_variant_is_weighed_as_the_file_that_it_would_be():
    """A scripted one too, whose weights are constants that no state dictionary has."""
    module, weights = Fixed().eval(), (64 * 64 + 64) * 4
    assert weights < file_bytes(module) < weights + 10_000
    with quiet_torchscript():
        frozen = FrozenDetector(torch.jit.script(module))
    assert weights < file_bytes(frozen) < weights + 20_000


def test_a_module_is_there_also_where_its_package_does_not_import(tmp_path, monkeypatch):
    """Then building it says what is wrong, instead of that there is none."""
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, text in (("needs", "import no_such_library\n"), ("breaks", "raise RuntimeError\n"), ("whole", "")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(text)
    assert all(_exists(name) for name in ("needs.model", "breaks.model", "whole"))
    assert not any(_exists(name) for name in ("whole.model", "none", "none.model"))


def test_looks_come_after_the_data_has_doubled():
    """1, 2, 4, 8, … rounds in all."""
    assert [rounds_before_look(look) for look in (1, 2, 3, 4, 5)] == [1, 1, 2, 4, 8]


@pytest.mark.parametrize("value", [0.0, -3.0, float("nan"), float("inf")])
def test_a_clock_that_stood_still_or_went_backwards_is_a_sentence(value):
    """Its times would decide the gate."""
    assert checked_ms(0.1, "head") == 0.1
    with pytest.raises(DetqError, match=r"ms in the base's process: this machine's clock stood still or went back"):
        checked_ms(value, "base")


def test_masks_come_back_as_run_lengths_and_may_be_none_at_all():
    """A detector with masks that found nothing still has masks."""
    answer = {"boxes": [[0, 0, 2, 2]], "scores": [0.9], "labels": [0]}
    assert _detections(answer).masks is None
    mask = np.zeros((1, 4, 6), np.bool_)
    mask[0, :2, :2] = True
    np.testing.assert_array_equal(full_size(_detections(answer | {"masks": as_rle(mask)}).masks), mask)
    empty = _detections({"boxes": [], "scores": [], "labels": [], "masks": []})
    assert (len(empty), len(empty.masks)) == (0, 0)


def test_no_more_images_are_taken_than_there_are_and_rendered_ones_are_always_the_same_set(repository, tmp_path):
    """The image that int8 is proved with would change with their number."""
    folder = repository / "images"
    there = sum(path.suffix != ".txt" for path in folder.iterdir())
    assert len(Frames(GateConfig("main", repository, data=str(folder), images=1000), tmp_path)) == there
    few, more = (Frames(GateConfig("main", tmp_path, images=count), tmp_path) for count in (2, 3))
    assert (len(few), len(more)) == (2, 3)
    assert few.name == more.name


def test_data_without_images_is_a_sentence(tmp_path):
    """Nothing can be compared on it."""
    with pytest.raises(DetqError, match="--images 0: expected 1 or more"):
        GateConfig("main", tmp_path, images=0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty"):
        Frames(GateConfig("main", tmp_path, data=str(tmp_path / "empty")), tmp_path)


@pytest.mark.parametrize(("text", "seconds"), [("40s", 40), ("3m", 180), ("1.5 h", 5400), ("90", 90), ("2min", 120)])
def test_a_budget_is_a_number_with_a_unit(text, seconds):
    """Seconds where it has none."""
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "0s", "-3m", "soon", "3 weeks", "nan"])
def test_a_budget_that_is_no_time_is_a_sentence(text):
    """An empty one would decide nothing."""
    with pytest.raises(DetqError, match=r"--budget .*: expected a time above 0 such as 40s, 3m or 1h"):
        seconds_of(text)


def test_files_are_named_with_their_folder_for_processes_elsewhere(tmp_path, monkeypatch):
    """Options stay behind the path; what is no file stays as it is."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    assert absolute_data("photos?map=car=1") == f"{tmp_path}/photos?map=car=1"
    assert absolute_data("packaged") == "packaged"
    assert absolute_data(None) is None
