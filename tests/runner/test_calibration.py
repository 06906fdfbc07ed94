"""What a run says about calibration images, and what it keeps of them and of its other arguments."""

from __future__ import annotations

from dataclasses import replace

import pytest

from detq.datasets import open_dataset
from detq.engine.calibration import CalibrationChoice
from detq.errors import DetqError, QuantizationError
from detq.runner import RunConfig, run_experiment
from detq.runner.prepare import Prepared, settings_of
from detq.runner.view import View
from detq.variants import split_by_calibration, variants_of

MODEL = "fasterrcnn_mobilenet_v3_large_320_fpn"


def test_static_int8_of_own_weights_without_images_is_refused_before_anything_is_built(squares):
    """Not even the weights are opened: this file does not exist."""
    config = RunConfig(
        data=str(squares), out=squares.parent / "out", model=MODEL, weights="own.pth", recipes=("static_int8", "bf16")
    )
    with pytest.raises(QuantizationError, match=r"static_int8: .*--calibration PATH"):
        run_experiment(config)
    assert not config.out.exists()


def test_recipes_that_cannot_be_calibrated_are_those_with_static_int8():
    """They are left out of a default run; all others stay, in order."""
    every = variants_of(MODEL)
    kept, without = split_by_calibration(every, possible=False)
    assert {"static_int8", "mixed_int8"} <= {variant.recipe for variant in without}
    assert {"fp32", "dynamic_int8", "bf16"} <= {variant.recipe for variant in kept}
    assert split_by_calibration(every, possible=True) == (every, ())


def test_a_folder_that_does_not_exist_is_refused(squares):
    """The sentence comes before minutes of work."""
    config = RunConfig(
        data=str(squares),
        out=squares.parent / "out",
        model=MODEL,
        weights="random",
        recipes=("static_int8",),
        calibration=CalibrationChoice("nowhere"),
    )
    with pytest.raises(DetqError, match="nowhere"):
        run_experiment(config)


def test_the_settings_of_a_run_tell_calibrations_apart(squares, fp32_predictor):
    """So --resume with another seed, observer or number of images is refused."""
    found = []
    for choice in (
        CalibrationChoice(str(squares), 5),
        CalibrationChoice(str(squares), 5, seed=1),
        CalibrationChoice(str(squares), 6),
        CalibrationChoice(str(squares), 5, observer="minmax"),
    ):
        view = View(open_dataset(squares), ("car",), labelled=True, limit=3)
        prepared = Prepared({"fp32": fp32_predictor}, view, {}, "machine", choice.draw())
        found.append(settings_of(RunConfig(data="squares", out=squares, model=MODEL), prepared)["calibration"])
    assert all(one != other for index, one in enumerate(found) for other in found[:index])


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({"threads": 2}, "threads"),
        ({"image_sizes": ((48, 64),)}, "image_sizes"),
        ({"class_map": "car=car"}, "map"),
        ({"format": "corners"}, "format"),
        ({"allow_unlabelled": True}, "allow_unlabelled"),
        ({"unlabelled": True}, "unlabelled"),
        ({"seed": 1}, "seed"),
        ({"system_allocator": True}, "allocator"),
    ],
)
def test_the_settings_of_a_run_tell_its_arguments_apart(squares, fp32_predictor, change, differs):
    """Whatever decides what is measured or read, so that --resume mixes no two runs; the rest may change."""
    prepared = Prepared(
        {"fp32": fp32_predictor}, View(open_dataset(squares), ("car",), labelled=True, limit=3), {}, "machine"
    )
    config = RunConfig(data="squares", out=squares, model=MODEL)
    before, now = settings_of(config, prepared), settings_of(replace(config, draw=5, **change), prepared)
    assert {name for name in before if before[name] != now[name]} == {differs}
