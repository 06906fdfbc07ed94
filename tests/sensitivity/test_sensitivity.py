"""Switching layers to int8 and back, and what follows from it."""

from __future__ import annotations

import copy
import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from detq.cli import app
from detq.engine import static_int8
from detq.engine.choice import choice_path, chosen_plan, write_choice
from detq.errors import DetqError, OutputError, QuantizationError, UnsupportedError, WeightsError
from detq.files import file_sha256
from detq.quantization.plan import Plan, StageRule
from detq.quantization.recipes import find_recipe
from detq.runner import Progress
from detq.sensitivity.choice import BUDGET, choose, further_trials
from detq.sensitivity.result import Sensitivity
from detq.sensitivity.trials import Trial, part_of, trials
from tests.engine.small import small_detector

needs_torchao = pytest.mark.skipif(static_int8.unsupported_reason() is not None, reason="torchao is not installed")

LAYERS = {"backbone": ("body.0.0", "body.1.0", "body.1.1", "fpn.inner.0.0"), "box_head": ("head.fc6", "head.fc7")}


def test_alone_and_all_but_share_a_stage_between_them():
    """Every layer of the backbone is in exactly one of the two, for every part; so is every stage."""
    for part in ("body.0", "body.1", "fpn.inner.0"):
        only, but = (Trial(kind, "backbone", part).active(LAYERS)["backbone"] for kind in ("only", "but"))
        assert sorted(only + but) == sorted(LAYERS["backbone"])
    assert Trial("only", "box_head").active(LAYERS) == {"box_head": LAYERS["box_head"]}
    assert Trial("but", "box_head").active(LAYERS) == {"backbone": LAYERS["backbone"]}


def test_parts_are_blocks_or_layers():
    """Two trials for each stage and part, and the two ends."""
    assert len(trials(LAYERS)) == 2 + 2 * 2 + 2 * 3
    assert len(trials(LAYERS, each_layer=True)) == 2 + 2 * 2 + 2 * 4
    assert len({trial.id for trial in trials(LAYERS)}) == len(trials(LAYERS))
    assert part_of("fpn.layer_blocks.2.0") == "fpn.layer_blocks.2"


@needs_torchao
def test_simulated_int8_is_what_conversion_gives_and_off_is_the_float_stage():
    """torchao's own conversion is the oracle; a single layer changes something, and less than all of them."""
    from detq.sensitivity.simulate import Simulated
    from tests.engine.test_static_int8 import _images, _observed

    block, prepared = _observed()
    simulated = Simulated(copy.deepcopy(prepared))
    converted = static_int8.convert(prepared)
    (image,) = _images(1, seed=3)
    with torch.no_grad():
        expected, whole = block(*image), simulated(*image)
        assert torch.allclose(whole, converted(*image), atol=2e-2 * float(expected.abs().max()))
        simulated.activate(())
        assert torch.allclose(simulated(*image), expected, atol=1e-5)
        errors = {}
        for layer in simulated.layers:
            simulated.activate((layer,))
            errors[layer] = float((simulated(*image) - expected).norm())
    assert set(simulated.layers) == {"first", "squeeze.fc1", "squeeze.fc2", "depthwise", "last", "head"}
    assert all(error > 0 for error in errors.values())


def _study(errors=(), found=(), times=None, stages=("backbone", "rpn_head", "box_head"), **losses):
    trials = {"none": {"AP": 0.4}, "all": {"AP": 0.39}} | {
        name: {"AP": 0.4 - loss, "error": 0.0} for name, loss in dict(found).items()
    }
    for stage in stages:
        trials |= {f"{kind}:{stage}": {"AP": 0.4 - losses.get(stage, 0.0), "error": 0.0} for kind in ("only", "but")}
    trials |= {f"only:backbone:{part}": {"AP": 0.4, "error": error} for part, error in dict(errors).items()}
    return Sensitivity({"images": 10}, stages, tuple(dict(errors)), trials, times or {})


def test_a_stage_that_costs_more_than_its_budget_stays_in_floating_point():
    """A backbone that loses 0.008 does, heads that lose nothing do not."""
    choice = choose(_study(backbone=0.008, rpn_head=-0.001, box_head=0.0005))
    assert choice.int8 == ["rpn_head", "box_head"]
    assert choice.bf16 == ["backbone"]


def test_many_small_losses_are_not_all_accepted():
    """Each within its budget, together beyond twice that: the costliest is taken back."""
    choice = choose(_study(backbone=0.9 * BUDGET, rpn_head=0.8 * BUDGET, box_head=0.7 * BUDGET))
    assert choice.bf16 == ["backbone"]
    four = {"backbone": 0.9 * BUDGET, "rpn_head": 0.8 * BUDGET, "box_head": 0.7 * BUDGET, "mask_head": -BUDGET}
    assert choose(_study(stages=tuple(four), **four)).bf16 == ["backbone"], "chance gains of one pay for no other"


ERRORS = {"a": 0.01, "b": 0.07, "c": 0.02, "d": 0.12, "e": 0.03, "f": 0.02, "g": 0.01, "h": 0.01, "i": 0.01}


def test_a_costly_backbone_is_tried_without_its_worst_blocks():
    """The worst by the error of the features first, one more each time, no more than a third; the first that does.

    Blocks are named in the order in which they run, whichever is worst.
    """
    assert [trial.part for trial in further_trials(_study(ERRORS, backbone=0.001))] == []
    never = {"but:backbone:d": 0.009, "but:backbone:b+d": 0.007, "but:backbone:b+d+e": 0.006}
    study = _study(ERRORS, never, backbone=0.01)
    assert [trial.part for trial in further_trials(study)] == ["d", "b+d", "b+d+e"]
    assert choose(study).bf16 == ["backbone"]
    assert choose(study).keep == []
    good = _study(ERRORS, never | {"but:backbone:b+d": 0.001}, backbone=0.01)
    assert [trial.part for trial in further_trials(good)] == ["d", "b+d"]
    assert choose(good).int8 == ["backbone", "rpn_head", "box_head"]
    assert choose(good).keep == ["b", "d"]
    assert str(choose(good)) == "backbone (but b, d), rpn_head, box_head in int8, nothing in bf16"


def test_a_backbone_must_not_move_its_maps_far_either():
    """On so few images AP may be kept by chance."""
    study = _study(ERRORS, {"but:backbone:d": 0.0, "but:backbone:b+d": 0.0})
    study.found["only:backbone"]["error"], study.found["but:backbone:d"]["error"] = 0.2, 0.11
    assert [one.part for one in further_trials(study)] == ["d", "b+d"]
    assert choose(study).keep == ["b", "d"]


def test_blocks_that_static_int8_keeps_are_never_tried_in_int8():
    """The first two of a MobileNet: the study begins with a backbone without them, even where all of it would do."""
    first, second = "body.body.0", "body.body.1"
    errors = {first: 0.01, second: 0.01} | ERRORS
    (trial,) = further_trials(_study(errors, {f"but:backbone:{first}+{second}": 0.001}))
    assert trial.part == f"{first}+{second}"
    study = _study(errors, {trial.id: 0.003, f"but:backbone:{first}+{second}+d": 0.0015})
    assert [one.part for one in further_trials(study)] == [trial.part, f"{trial.part}+d"]
    assert choose(study).keep == [first, second, "d"]


def test_a_stage_that_is_slower_in_int8_stays_in_floating_point():
    """It would keep AP, and is named for that, for CPUs without bf16. One that takes the same time runs in int8: its
    weights are smaller."""
    times = {stage: {"bf16": 10.0, "int8": 8.0} for stage in ("rpn_head", "box_head")}
    found = {"but:backbone:d": 0.001}
    choice = choose(_study(ERRORS, found, times | {"backbone": {"bf16": 10.0, "int8": 10.6}}, backbone=0.01))
    assert (choice.int8, choice.slower, choice.keep) == (["rpn_head", "box_head"], ["backbone"], ["d"])
    assert str(choice).endswith("backbone in bf16; backbone would be slower in int8")
    same = choose(_study(ERRORS, found, times | {"backbone": {"bf16": 10.0, "int8": 10.4}}, backbone=0.01))
    assert (same.int8, same.slower, same.keep) == (["backbone", "rpn_head", "box_head"], [], ["d"])


def test_tables_show_the_change_of_ap_and_the_times_of_each_stage():
    """A loss is a negative change; bf16 stands before int8."""
    times = {stage: {"int8": 8.0, "bf16": 10.0} for stage in ("backbone", "rpn_head", "box_head")}
    (table,) = _study(times=times, backbone=0.008).tables()
    assert table.rows[0] == ("backbone", "0.3920", "-0.0080", "0.3920", "-0.0080", "10.0", "8.0")
    assert table.columns[-2:] == ("bf16, ms", "int8, ms")


def test_what_was_tried_without_several_blocks_stands_below_the_table():
    """With its own loss and error: no row shows it."""
    study = _study({"b": 0.07, "d": 0.12}, {f"but:backbone:{part}": 0.001 for part in ("b", "d", "b+d")})
    study.found["but:backbone:b+d"]["error"] = 0.05
    assert study.tables()[1].notes[-1] == "All but b, d in int8: 0.3990 (-0.0010), error 5.0%."


def test_the_spread_of_calibration_sets_is_that_of_a_sample_and_leaves_fp32_out():
    """Two sets of images stand for all that might have been drawn."""
    from detq.sensitivity.variance import NAMES, Variance

    found = {seed: dict.fromkeys(NAMES, value) for seed, value in {"fp32": 0.9, "0": 0.4, "1": 0.6}.items()}
    spread = {"fp32": 0.9, "mean": 0.5, "deviation": np.sqrt(0.02), "least": 0.4, "greatest": 0.6}
    assert Variance({}, found).summary()["AP"] == pytest.approx(spread)


def test_an_error_is_a_share_of_what_fp32_gives():
    """Root mean square by root mean square, over all maps and images."""
    from detq.sensitivity.study import _Error

    error = _Error()
    error.add([torch.tensor([3.0, 4.0]), torch.tensor([1.0])], [torch.tensor([0.0, 4.0]), torch.tensor([1.0])])
    error.add([torch.tensor([2.0])], [torch.tensor([2.0])])
    assert error.relative() == pytest.approx(np.sqrt(9 / 21))


SETTINGS = {
    "model": "m",
    "data_identity": "d",
    "images": 3,
    "calibration": {"identity": "c", "seed": 0, "observer": "mse"},
}


def test_a_choice_is_for_its_weights_alone(tmp_path):
    """Beside them it changes the plan; for other weights under the same name it is refused, and so is nonsense."""
    weights, default = tmp_path / "my.safetensors", find_recipe("mixed_int8").plan
    weights.write_bytes(b"first")
    assert chosen_plan(default, str(weights), bf16=True) == (default, None)
    settings = SETTINGS | {"weights_sha256": file_sha256(weights)}
    chosen = {"int8": ["backbone", "box_head"], "bf16": ["rpn_head"], "keep": ["body.0"], "slower": []}
    write_choice(choice_path(weights), chosen, settings)
    plan, said = chosen_plan(default, str(weights), bf16=True)
    assert plan.int8_stages == ("backbone", "box_head", "mask_head"), "the study had no mask head"
    assert plan.backbone.keep == ("body.0",)
    assert plan.rpn_head == StageRule("inductor", "bf16")
    assert "my.mixed_int8.json" in said
    weights.write_bytes(b"other")
    with pytest.raises(WeightsError, match="other weights"):
        chosen_plan(default, str(weights), bf16=True)
    earlier = json.dumps({"format": "detq-mixed-int8/2", **chosen, "weights_sha256": file_sha256(weights)})
    for text in ("{}", "[]", earlier):
        choice_path(weights).write_text(text, encoding="utf-8")
        with pytest.raises(WeightsError, match="not a choice"):
            chosen_plan(default, str(weights), bf16=True)


def test_without_bf16_a_stage_that_bf16_would_run_faster_runs_in_int8(tmp_path):
    """fp32, in which it would run otherwise, is slower than both. A stage that loses AP in int8 runs in fp32."""
    weights, default = tmp_path / "my.safetensors", find_recipe("mixed_int8").plan
    weights.write_bytes(b"first")
    chosen = {"int8": ["box_head"], "bf16": ["backbone", "rpn_head"], "keep": ["body.0"], "slower": ["backbone"]}
    write_choice(choice_path(weights), chosen, SETTINGS | {"weights_sha256": file_sha256(weights)})
    plan, _ = chosen_plan(default, str(weights), bf16=True)
    assert (plan.backbone.precision, plan.rpn_head.precision, plan.box_head.precision) == ("bf16", "bf16", "int8")
    plan, said = chosen_plan(default, str(weights), bf16=False)
    assert (plan.backbone.precision, plan.rpn_head.precision, plan.box_head.precision) == ("int8", "bf16", "int8")
    assert plan.backbone.keep == ("body.0",)
    assert "int8 in backbone, box_head" in said


DETECTOR = """
from tests.engine.small import small_detector

def build():
    made = small_detector(box_score_thresh=0.05)
    made.classes = ("car", "bus")
    return made
"""


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """`small.py`, which `--model small:build` finds, and two folders of labelled noise."""
    (tmp_path / "smallest.py").write_text(DETECTOR, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in ("train", "valid"):
        (tmp_path / name).mkdir()
        for number in range(4):
            Image.fromarray(rng.integers(0, 256, (60, 80, 3), np.uint8)).save(tmp_path / name / f"{number}.png")
            (tmp_path / name / f"{number}.txt").write_text("car 10 10 40 50\n", encoding="utf-8")
    yield tmp_path
    sys.modules.pop("smallest", None)


class Recorder(Progress):
    """Remembers how far each stage was when it began, and at each step."""

    def __init__(self):
        self.counted = {}

    def begin(self, stage, _total, done=0):
        self.now = self.counted[stage] = [done]

    def step(self, done):
        self.now.append(done)


def _open(out, **changes):
    """Open a study of the small detector on four images, calibrated on two others."""
    from detq.engine.calibration import CalibrationChoice
    from detq.sensitivity.session import StudyConfig, open_study

    choice = CalibrationChoice("train", 2)
    config = StudyConfig("valid", out, "smallest:build", calibration=choice, **changes)
    return open_study(config, [choice], "detq sensitivity", "detq-study-settings/2")


def test_a_study_belongs_to_the_bytes_of_its_weights_and_pins_its_threads(workplace):
    """Another file of the same name is another study, and times depend on how many threads take part."""
    before, weights = torch.get_num_threads(), workplace / "my.pth"
    torch.save(small_detector().state_dict(), weights)
    with _open(workplace / "out", weights="my.pth", threads=before + 1).running({}) as settings:
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    assert settings["weights_sha256"] == file_sha256(weights)
    torch.save(small_detector(seed=1).state_dict(), weights)
    other = _open(workplace / "out", weights="my.pth", resume=True)
    with pytest.raises(OutputError, match="weights sha256 was"), other.running({}):
        pass


def test_a_study_of_own_weights_needs_images_to_calibrate_on(workplace):
    """The rendered frames are the packaged checkpoint's; nothing is written."""
    from detq.engine.calibration import CalibrationChoice
    from detq.sensitivity.session import StudyConfig, open_study

    config = StudyConfig("valid", workplace / "out", "smallest:build")
    with pytest.raises(QuantizationError, match=r"detq sensitivity.*--calibration"):
        open_study(config, [CalibrationChoice()], "detq sensitivity", "detq-study-settings/2")
    assert not config.out.exists()


def test_the_time_of_a_stage_stands_under_the_precision_that_it_ran_in(workplace, monkeypatch):
    """And int8 is timed with the blocks kept in floating point that the study chose.

    Compiling and the clock are left out, so that nothing depends on how busy the machine is.
    """
    from detq.engine.build import build_staged
    from detq.sensitivity import times

    plans = {}

    def build(detector, plan, **_how):
        made = build_staged(detector, Plan())
        made.plan = plans[plan.rpn_head.precision] = plan
        return made

    def medians(predictors, images, **_how):
        assert len(images) == 4
        milliseconds = {"bf16": 10.0, "int8": 8.0}
        return {
            name: {"rpn_head": milliseconds[one.module.plan.rpn_head.precision]} for name, one in predictors.items()
        }

    monkeypatch.setattr(times, "build_staged", build)
    monkeypatch.setattr(times, "stage_medians", medians)
    found = times.stage_times(_open(workplace / "out"), ["body.body.1"], Progress())
    assert found == {"rpn_head": {"bf16": 10.0, "int8": 8.0}}
    assert plans["bf16"].int8_stages == ()
    assert plans["int8"].int8_stages == ("backbone", "rpn_head", "box_head", "mask_head")
    assert plans["int8"].backbone.keep == ("body.body.1",)


@needs_torchao
def test_a_study_is_resumed_where_it_stopped_and_refused_on_its_own_calibration(workplace):
    """Cut short after some trials, the rest follows and the results are those of an uninterrupted study."""
    from detq.engine.calibration import CalibrationChoice
    from detq.sensitivity.experiment import SensitivityConfig, study_sensitivity

    pytest.importorskip("matplotlib")

    def config(out, **changes):
        arguments = {
            "data": "valid",
            "out": workplace / out,
            "model": "smallest:build",
            "calibration": CalibrationChoice("train", 3),
            "limit": 2,
            "times": False,
        }
        return SensitivityConfig(**arguments | changes)

    whole, _ = study_sensitivity(config("whole"), Progress())
    assert {"none", "all", "only:backbone", "but:box_head", "only:backbone:body.body.0"} <= whole.found.keys()
    assert (workplace / "whole" / "sensitivity.png").stat().st_size > 5000
    journal = workplace / "whole" / "trials.jsonl"
    journal.write_text(journal.read_text(encoding="utf-8")[:200], encoding="utf-8")
    with pytest.raises(OutputError, match="--resume"):
        study_sensitivity(config("whole"), Progress())
    done, progress = len(journal.read_text(encoding="utf-8").splitlines()) - 1, Recorder()
    resumed, _ = study_sensitivity(config("whole", resume=True, times=True, threads=1), progress)
    judged = len([name for name in whole.found if "+" not in name])  # what all studies try, two images each
    assert progress.counted["images of all trials"] == [*range(2 * done, 2 * judged + 1)]
    assert resumed.found == whole.found
    assert whole.settings["images"] == 2
    assert whole.found["none"]["error"] == 0 < whole.found["only:backbone:body.body.0"]["error"]
    assert whole.found["only:backbone:body.body.0"]["error"] < whole.found["only:backbone"]["error"] < 0.3
    assert resumed.times.keys() == {"backbone", "rpn_head", "box_head"}
    assert all(values["bf16"] > 0 < values["int8"] for values in resumed.times.values())
    assert "int8, ms" in (workplace / "whole" / "sensitivity.md").read_text(encoding="utf-8")
    assert {json.loads(line)["trial"] for line in journal.read_text(encoding="utf-8").splitlines()} == set(whole.found)
    assert "choice" in json.loads((workplace / "whole" / "sensitivity.json").read_text(encoding="utf-8"))
    with pytest.raises(DetqError, match="do not calibrate"):
        study_sensitivity(config("other", calibration=CalibrationChoice("valid", 3)), Progress())


@pytest.mark.parametrize("command", ["sensitivity", "calibrate-variance"])
def test_a_detector_without_proposals_is_refused_with_the_reason(workplace, command):
    """It has no stages to study; nothing is written."""
    data = ("--data", "valid", "--calibration", "train", "--out", "none")
    model = ("--model", "ssdlite320_mobilenet_v3_large", "--weights", "random")
    done = CliRunner().invoke(app, [command, *data, *model])
    assert isinstance(done.exception, UnsupportedError)
    assert "SSD has no rpn and no roi_heads: only two-stage detectors" in str(done.exception)
    assert not (workplace / "none").exists()


def test_calibration_sets_are_judged_on_the_layers_that_static_int8_runs():
    """Blocks 0 and 1 of the backbone stay in floating point, block 10 and heads do not."""
    from detq.sensitivity.variance import _static_int8

    layers = {
        "backbone": ("body.body.0.0", "body.body.1.block.0.0", "body.body.10.block.0.0"),
        "box_head": ("head.fc6",),
    }
    assert _static_int8(layers) == {"backbone": ("body.body.10.block.0.0",), "box_head": ("head.fc6",)}


@needs_torchao
def test_a_study_without_blocks_tries_stages_alone_and_corrects_the_biases_of_what_it_quantizes(workplace):
    """As static_int8 does: on the calibration images every layer's mean output is that of the float stage."""
    from detq.engine.bias import channel_means
    from detq.engine.calibration import CalibrationChoice
    from detq.sensitivity.experiment import SensitivityConfig, study_sensitivity
    from detq.sensitivity.session import open_study
    from detq.sensitivity.study import Study

    pytest.importorskip("matplotlib")
    config = SensitivityConfig(
        data="valid",
        out=workplace / "stages",
        model="smallest:build",
        calibration=CalibrationChoice("train", 3),
        limit=1,
        stages_only=True,
        times=False,
    )
    found = study_sensitivity(config, Progress())[0].found
    stages = ("backbone", "rpn_head", "box_head")
    assert set(found) == {"none", "all", *(f"{kind}:{stage}" for kind in ("only", "but") for stage in stages)}
    opened = open_study(replace(config, resume=True), [config.calibration], "detq sensitivity", "detq-study-settings/2")
    study = Study(opened.loaded, opened.calibrations[0], opened.view, Progress().say)
    with torch.no_grad():
        for stage, one in study._stages.items():
            means = channel_means(study._quantized(stage, study.layers[stage]).graph, one.observed.images)
            for name, expected in one.means.items():
                assert torch.allclose(means[name], expected, atol=1e-4 * float(expected.abs().max() + 1)), (stage, name)


@needs_torchao
def test_a_study_of_calibration_sets_reports_their_spread_and_goes_on(workplace):
    """One calibration a seed, each its own line; more seeds later keep the ones that are there."""
    from detq.engine.calibration import CalibrationChoice
    from detq.sensitivity.variance import NAMES, VarianceConfig, calibrate_variance

    def config(**changes):
        arguments = {
            "data": "valid",
            "out": workplace / "variance",
            "model": "smallest:build",
            "calibration": CalibrationChoice("train", 2),
            "seeds": 1,
            "limit": 2,
        }
        return VarianceConfig(**arguments | changes)

    first = calibrate_variance(config(), Progress())
    assert set(first.found) == {"fp32", "0"}
    both = calibrate_variance(config(seeds=2, resume=True), Progress())
    assert both.found["0"] == first.found["0"]
    assert set(both.found) == {"fp32", "0", "1"}
    summary = both.summary()
    assert set(summary) <= set(NAMES)
    assert summary["AP"]["least"] <= summary["AP"]["mean"] <= summary["AP"]["greatest"]
    later = CalibrationChoice("valid", 1, seed=5)  # draws an image that is not judged, and with seed 6 one that is
    with pytest.raises(DetqError, match="found 1 that do"):
        calibrate_variance(config(out=workplace / "other", calibration=later, seeds=2), Progress())
