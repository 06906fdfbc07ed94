"""Where the time of variants goes."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
import torch

from detq.measure.profile import StageCost, _cost, _count_work, _Timed, _Work, profile_variants, stage_medians
from detq.measure.stages import StageClock, watching_stages
from detq.models.stages import STAGES
from detq.predictor import as_detections, build_predictor
from detq.quantization import dynamic_int8
from detq.quantization.scripted import quiet_torchscript
from detq.report.profile import draw_profile, profile_tables
from detq.tensors import as_tensor
from tests.engine.small import small_detector

GLUE = {"transform", "proposals", "box_pool", "postprocess", "paste"}
LAYERS = {"backbone", "rpn_head", "box_head"}


@pytest.fixture(scope="module")
def predictors(fp32_predictor):
    """Eager fp32 and the staged detector that needs no compiler."""
    staged = build_predictor("fasterrcnn_mobilenet_v3_large_320_fpn-channels_last_fp32", weights="random")
    return {one.variant.id: one for one in (fp32_predictor, staged)}


@pytest.fixture(scope="module")
def profile(predictors, noise):
    """Both on two images, one thread."""
    return profile_variants(predictors, [noise, noise[::-1]], threads=[1])


def test_eager_and_staged_detectors_divide_into_the_same_stages(profile):
    """One set of names everywhere, in the order in which the stages run, and shares that add up to all of the time."""
    for cost in profile.variants:
        assert set(cost.stages) == GLUE | LAYERS
        assert list(cost.stages) == sorted(cost.stages, key=STAGES.index)
        assert sum(stage.share for stage in cost.stages.values()) == pytest.approx(1)
        assert min(stage.median_ms for stage in cost.stages.values()) > 0
        assert {name for name, stage in cost.stages.items() if stage.gmacs} == LAYERS


def test_both_count_the_same_work_and_see_the_same_proposals(profile):
    """The layers are the same; the staged detector pads proposals to multiples of 64, which its box head computes."""
    eager, staged = profile.variants
    for name in ("backbone", "rpn_head"):
        assert staged.stages[name].gmacs == pytest.approx(eager.stages[name].gmacs, rel=0.01)
    assert eager.stages["box_head"].gmacs <= staged.stages["box_head"].gmacs
    assert eager.proposals == staged.proposals > 0
    assert eager.speedup == 1
    assert eager.times_limit > 1


def test_figures_follow_from_times_and_work():
    """By hand: 40 and 60 ms against 20 ms each, half of them for 2 GMACs in int8, of which 400 a second could be."""
    slow = [_Timed(total, {"transform": 10.0, "backbone": total - 10}, 5, 2) for total in (40.0, 60.0)]
    fast = [_Timed(20.0, {"transform": 10.0, "backbone": 10.0}, 5, 2)] * 2
    work = _Work({"backbone": 2.0}, {"backbone": "int8"})
    cost = _cost(("m-a", 1), fast, slow, work, {"fp32": 100.0, "int8": 400.0})
    assert (cost.speedup, cost.times_limit) == (2.5, pytest.approx(20 / 5))
    assert cost.stages["backbone"] == StageCost(10.0, 0.5, 2.0, pytest.approx(200), "int8", pytest.approx(0.5))


def test_a_stages_precision_is_that_of_most_of_its_work(noise):
    """And work is that of one image, however many were looked at."""
    int8 = Logged(dynamic_int8.apply(small_detector()))
    one, two = (_count_work(int8, [noise] * count) for count in (1, 2))
    assert one.gmacs == pytest.approx(two.gmacs)
    assert one.precision == {"backbone": "fp32", "rpn_head": "fp32", "box_head": "int8"}


class Logged:
    """A predictor that keeps a list of its calls."""

    def __init__(self, module):
        self.module, self.calls = module, []

    def prepare(self, image):
        self.calls.append(("prepare", len(image)))

    def predict(self, image):
        self.calls.append(("predict", len(image)))
        with torch.inference_mode():
            (found,) = self.module([as_tensor(image)])
        return as_detections(found)


def test_medians_of_stages_leave_out_what_a_first_image_costs_and_the_largest():
    """Each size is prepared for, and one image runs untimed, before the clock counts."""
    small, large = np.zeros((32, 48, 3), np.uint8), np.zeros((2000, 2000, 3), np.uint8)
    logged, done = Logged(small_detector()), []
    found = stage_medians({"a": logged}, [small, large, small], step=done.append)["a"]
    order = [32, 2000, 32]
    assert logged.calls == [*(("prepare", size) for size in order), *(("predict", size) for size in (32, *order))]
    assert done == [1, 2, 3]
    assert found.keys() == GLUE | LAYERS
    assert found["transform"] < 0.5 * stage_medians({"a": logged}, [large])["a"]["transform"]


def test_the_limits_are_measured_for_each_number_of_threads(profile):
    """A plain product in fp32 always works, and what a stage reaches is held against its own precision's."""
    limits = profile.limits[1]
    assert set(limits) <= {"fp32", "bf16", "int8"}
    found = profile.variants[0].stages["backbone"]
    assert found.precision == "fp32"
    assert found.of_limit == pytest.approx(found.gmacs_per_s / limits["fp32"])


def test_progress_counts_the_images_of_all_passes(predictors, noise):
    """A second number of threads goes on where the first ended, so that the bar never runs backwards."""
    done = []
    profile_variants(dict([*predictors.items()][1:]), [noise, noise], threads=[1, 1], step=done.append)
    assert done == [1, 2, 3, 4]


def test_watching_leaves_no_trace(predictors):
    """Hooks and wrapped steps are gone when the block ends, so that later timings are not disturbed."""
    for predictor in predictors.values():
        before = dict(getattr(predictor.module, "steps", {}))
        with watching_stages(predictor.module) as clock:
            assert clock is not None
        assert dict(getattr(predictor.module, "steps", {})) == before
        for child in predictor.module.modules():
            assert not child._forward_hooks
            assert not child._forward_pre_hooks


def test_a_script_module_is_not_divided():
    """Script modules take no hooks that could be trusted; their time is reported whole."""
    with quiet_torchscript():
        script = torch.jit.script(torch.nn.ReLU())
    with watching_stages(script) as clock:
        assert clock is None


def test_a_stage_inside_another_counts_for_itself_alone():
    """`rpn` contains `rpn_head`: the head's time is not counted twice."""
    clock = StageClock()
    clock.start()
    clock.enter("proposals")
    clock.enter("rpn_head")
    time.sleep(0.02)
    clock.leave("rpn_head")
    clock.leave("proposals")
    elapsed_ms, stages = clock.stop()
    assert stages["rpn_head"] >= 20
    assert stages["proposals"] < 15
    assert sum(stages.values()) == pytest.approx(elapsed_ms)


def test_tables_and_picture_show_every_variant_and_stage(profile, tmp_path):
    """The first table has a row a variant; then each variant has one of its own; the picture is a real PNG."""
    summary, *each = profile_tables(profile)
    assert [row[0] for row in summary.rows] == [cost.variant for cost in profile.variants]
    assert [[row[0] for row in table.rows] for table in each] == [list(cost.stages) for cost in profile.variants]
    draw_profile(profile, tmp_path / "stages.png")
    assert (tmp_path / "stages.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_prints_json_alone(command_line):
    """`--json` is for programs: nothing else is on standard output, and the machine is described."""
    model = "fasterrcnn_mobilenet_v3_large_320_fpn"
    what = ("--weights", "random", "--data", "synthetic:traffic?n=1&size=640x360", "--threads", "1")
    code, said = command_line("profile", f"{model}-fp32", *what, "--json")
    assert code == 0, said.err
    found = json.loads(said.out)
    assert found["format"] == "detq-profile/1"
    assert set(found["variants"][0]["stages"]) == GLUE | LAYERS
    assert found["machine_class"]
    assert found["environment"]["threads"] == 1


def test_a_profile_by_threads_is_described_by_the_most(command_line, monkeypatch):
    """Its machine class is that of all threads, whatever was measured beside them; a core of one's own is enough."""
    monkeypatch.setattr("detq.measure.threads.available_cores", lambda: 2)
    what = ("--weights", "random", "--data", "synthetic:traffic?n=1&size=160x120", "--threads", "2", "--by-threads")
    code, said = command_line("profile", "fasterrcnn_mobilenet_v3_large_320_fpn-fp32", *what, "--json")
    assert code == 0, said.err
    found = json.loads(said.out)
    assert found["environment"]["threads"] == 2
    assert [one["threads"] for one in found["variants"]] == [1, 2]


@pytest.mark.parametrize(("options", "told"), [((), 1), (("--system-allocator",), 0)])
def test_freed_memory_is_kept_unless_the_option_says_otherwise(command_line, monkeypatch, options, told):
    """It decides how fast an eager model is. Data that does not exist ends the command before it builds anything."""
    asked = []
    monkeypatch.setattr("detq.measure.threads.keep_freed_memory", lambda: asked.append(True))
    code, said = command_line("profile", "fp32", "--data", "nowhere", "--threads", "1", *options)
    assert code == 2
    assert "nowhere does not exist" in said.err
    assert len(asked) == told


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["fp32", "--picture", "stages.gif"], "--picture stages.gif: expected a name that ends in .png, .svg, .pdf"),
        (["fp33"], "unknown variant"),
        (["fp32", "--threads", "1000"], "--threads 1000: expected 1 to"),
    ],
)
def test_a_mistake_is_one_sentence_before_anything_is_built(command_line, arguments, expected):
    """Exit code 2, and no traceback."""
    code, said = command_line("profile", *arguments)
    assert code == 2
    assert expected in said.err
    assert len(said.err.splitlines()) == 1
