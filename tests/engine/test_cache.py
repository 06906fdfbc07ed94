"""What is compiled is kept, found again, and never mistaken for something else."""

from __future__ import annotations

import copy
import multiprocessing
import os
import shutil
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from detq.engine import cache
from detq.engine.cache import surroundings, weights_digest
from detq.engine.calibration import CalibrationChoice
from detq.engine.capability import capability
from detq.engine.dense import DenseStages
from detq.engine.packages import Packages
from detq.engine.quantize import Programs
from detq.quantization.plan import StageRule
from detq.quantization.recipes import INT8
from tests.engine.small import small_detector

RULE = StageRule("inductor", "fp32")


class Doubling(nn.Module):
    """The smallest box head there is."""

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return inputs[0] * 2, inputs[0] + 1


class Graphs:
    """One graph for every stage."""

    def __init__(self, key: str = "a", error: BaseException | None = None) -> None:
        self._key, self._error = key, error

    def key(self, *_about: object) -> str:
        return self._key

    def graph(self, *_about: object) -> nn.Module:
        if self._error is not None:
            raise self._error
        return Doubling()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setenv("DETQ_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "packages"


def compile_once(graphs=None):
    """Compile the graph, or find it; return what was said and what the package makes of ones."""
    said: list[str] = []
    ones = torch.ones(64, 3)
    package = Packages(graphs or Graphs(), said.append).package("box_head", RULE, (ones,))
    return said, package(ones)


def test_the_second_time_nothing_is_compiled(folder):
    """And the answer is the same; a damaged package is compiled again, with a sentence."""
    first, answer = compile_once()
    assert first == [f"compiling box_head in fp32 for any number of rois; kept in {folder.parent}"]
    again, same = compile_once()
    assert again == []
    torch.testing.assert_close(answer, same)
    (package,) = folder.glob("*.pt2")
    package.write_bytes(package.read_bytes()[:1000])
    mended, same = compile_once()
    assert "is damaged" in mended[0]
    assert mended[1:] == first
    torch.testing.assert_close(answer, same)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("no space")], ids=["interrupted", "failed"])
def test_what_was_interrupted_leaves_nothing(folder, error):
    """Neither a package nor a folder."""
    with pytest.raises(type(error)):
        compile_once(Graphs(error=error))
    assert list(folder.iterdir()) == []


def test_what_a_killed_process_left_is_swept_a_day_later(folder):
    """A younger one may still be at work."""
    for name, age_s in (("old", 2 * 24 * 3600), ("young", 60)):
        left = folder / f".unfinished-{name}"
        left.mkdir(parents=True)
        stamp = left.stat().st_mtime - age_s
        os.utime(left, (stamp, stamp))
    with pytest.raises(RuntimeError):
        compile_once(Graphs(error=RuntimeError()))
    assert [one.name for one in folder.iterdir()] == [".unfinished-young"]


def _work(barrier, results):
    torch.set_num_threads(1)
    barrier.wait()
    said, (doubled, _) = compile_once()
    results.put((len(said), float(doubled.sum())))


def test_two_processes_may_compile_the_same(folder):
    """Both get a package that works, and one is kept."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    workers = [context.Process(target=_work, args=(barrier, results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    answers = [results.get(timeout=240) for _ in workers]
    for worker in workers:
        worker.join()
    assert [total for _, total in answers] == [384, 384]
    assert sorted(one.suffix for one in folder.iterdir()) == [".json", ".pt2"]


@pytest.fixture
def fresh():
    """Surroundings are looked at once a process; here before and after."""
    surroundings.cache_clear()
    yield surroundings
    surroundings.cache_clear()


def test_a_changed_source_is_another_key(fresh, tmp_path, monkeypatch):
    """Any file of the engine counts."""
    before = fresh()
    copied = Path(shutil.copytree(Path(cache.__file__).parent, tmp_path / "engine"))
    (copied / "dense.py").write_text((copied / "dense.py").read_text() + "\n# changed\n")
    monkeypatch.setattr(cache, "_ENGINE", copied)
    fresh.cache_clear()
    assert fresh()["sources"] != before["sources"]
    assert {**fresh(), "sources": ""} == {**before, "sources": ""}


def test_a_changed_version_is_another_key(fresh, monkeypatch):
    """Of torch, torchvision or torchao."""
    before = fresh()
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "0.0.1" if name == "torch" else real(name))
    fresh.cache_clear()
    assert fresh() == {**before, "torch": "0.0.1"}


@pytest.mark.parametrize("name", ["ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "FBGEMM_ENABLE_INSTRUCTIONS"])
def test_forbidden_instructions_are_another_key(fresh, monkeypatch, name):
    """Packages made with them may not be able to run without."""
    before = fresh()
    monkeypatch.setenv(name, "AVX2")
    fresh.cache_clear()
    assert fresh()["isa"] != before["isa"]


def test_another_key_is_another_package():
    """So are another rule and another shape; the number of rois is none."""
    packages, ones = Packages(Graphs(), print), torch.ones(64, 3)
    other = Packages(Graphs("b"), print)

    def path(made, rule=RULE, inputs=ones):
        from detq.engine.compiled import signature

        return made._path("box_head", rule, signature((inputs,), 64))

    assert path(packages) == path(packages, inputs=torch.ones(128, 3))
    different = [
        path(packages),
        path(other),
        path(packages, StageRule("inductor", "bf16")),
        path(packages, inputs=torch.ones(64, 4)),
        path(packages, inputs=torch.ones(64, 3, dtype=torch.bfloat16)),
    ]
    assert len(set(different)) == len(different)


def digests(detector, *, pixels=True):
    stages = DenseStages(detector, pixels=pixels)
    return {stage: stages.digest(stage) for stage in stages}


def test_a_changed_weight_changes_its_stage_alone():
    """What the others were compiled into stays good."""
    torch.manual_seed(0)
    detector = small_detector()
    before = digests(detector)
    with torch.no_grad():
        detector.roi_heads.box_predictor.cls_score.bias[0] += 1e-6
    after = digests(detector)
    assert {stage for stage in before if before[stage] != after[stage]} == {"box_head"}


def test_a_changed_buffer_eps_or_normalization_changes_the_backbone():
    """All of them are folded into it."""
    torch.manual_seed(0)
    detector = small_detector()
    seen = [digests(detector)["backbone"], digests(detector, pixels=False)["backbone"]]
    norm = detector.backbone.body["0"][0][1]
    norm.running_mean += 1e-3
    seen.append(digests(detector)["backbone"])
    norm.eps *= 2
    seen.append(digests(detector)["backbone"])
    detector.transform.image_mean = [0.1, 0.2, 0.3]
    seen.append(digests(detector)["backbone"])
    assert len(set(seen)) == len(seen)


def test_the_same_detector_has_the_same_digest():
    """Built twice from one seed."""
    made = []
    for _ in range(2):
        torch.manual_seed(0)
        made.append(digests(small_detector(masks=True)))
    assert made[0] == made[1]


def test_a_users_own_code_is_part_of_the_digest(tmp_path, monkeypatch):
    """The same weights in a changed module are another stage."""
    monkeypatch.syspath_prepend(tmp_path)
    source = tmp_path / "own_module_of_a_user.py"
    body = "    def forward(self, x):\n        return super().forward(x) * {}\n"
    text = "from torch import nn\nclass Own(nn.Linear):\n" + body
    source.write_text(text.format(1))
    import own_module_of_a_user

    try:
        module = own_module_of_a_user.Own(2, 2)
        before = weights_digest(module)
        source.write_text(text.format(2))
        assert weights_digest(module) != before
    finally:
        del sys.modules["own_module_of_a_user"]


def _calibration_key(detector):
    programs = Programs(
        detector,
        DenseStages(detector, pixels=True),
        ("0", "1"),
        pixels=True,
        calibration=CalibrationChoice(images=2).draw(),
        found=capability(),
        say=print,
    )
    return programs.key("box_head", INT8.rule("box_head"))


class Squeezing(GeneralizedRCNNTransform):
    """A transform of one's own."""


def _weighted(detector):
    detector.rpn.box_coder.weights = (2.0, 2.0, 1.0, 1.0)


def _anchors(detector):
    detector.rpn.anchor_generator = AnchorGenerator(((16, 48),) * 3, ((0.5, 1.0, 2.0),) * 3)


def _cells(detector):
    detector.rpn.anchor_generator.cell_anchors = [2 * cells for cells in detector.rpn.anchor_generator.cell_anchors]


def _dropped(detector):
    detector.roi_heads.dropped_labels = {3}


def _kept(detector):
    detector.rpn._pre_nms_top_n["testing"] = 100


def _another_transform(detector):
    detector.transform.__class__ = Squeezing


@pytest.mark.parametrize(
    "change",
    [
        lambda detector: setattr(detector.transform, "min_size", (64,)),
        lambda detector: setattr(detector.transform, "max_size", 128),
        lambda detector: setattr(detector.rpn, "nms_thresh", 0.5),
        lambda detector: setattr(detector.roi_heads, "score_thresh", 0.5),
        lambda detector: setattr(detector.roi_heads.box_roi_pool, "sampling_ratio", 1),
        lambda detector: detector.transform.register_buffer("offset", torch.ones(1)),
        _weighted,
        _anchors,
        _cells,
        _dropped,
        _kept,
        _another_transform,
    ],
    ids=[
        "short side",
        "long side",
        "nms",
        "score",
        "samples",
        "buffer",
        "weights",
        "anchors",
        "cells",
        "set",
        "top n",
        "class",
    ],
)
def test_the_same_weights_behind_other_glue_are_another_calibration(change):
    """Images of another size, or other proposals, show the stages other values."""
    detector = small_detector()
    detector.roi_heads.dropped_labels = {2}
    before = _calibration_key(detector)
    change(detector)
    assert _calibration_key(detector) != before


def test_a_detector_that_has_run_finds_its_calibration_again():
    """What torchvision's parts note on the way is not a setting, and a copy is no other detector."""
    detector = small_detector(masks=True)
    before = _calibration_key(detector)
    with torch.inference_mode():
        detector([torch.rand(3, 80, 120)])
    assert detector.roi_heads.box_roi_pool.scales is not None
    assert _calibration_key(detector) == _calibration_key(copy.deepcopy(detector)) == before
