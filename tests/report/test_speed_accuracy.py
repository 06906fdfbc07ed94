"""The picture of speed-up against accuracy."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

from detq.report.speed_accuracy import Point, draw_if_possible, draw_speed_accuracy, points_of_bench, points_of_run
from detq.results import Interval


def test_a_run_gives_a_point_a_variant(make_result):
    """fp32 has no speed-up over itself; AP is COCO's."""
    fp32, int8 = points_of_run(make_result(speedup=(1.18, 1.15, 1.21)))
    assert (fp32.recipe, fp32.speedup, fp32.ap) == ("fp32", None, 0.5)
    assert (int8.recipe, int8.speedup) == ("dynamic_int8", Interval(1.18, 1.15, 1.21))


def test_a_run_without_accuracy_gives_none(make_result):
    """Random weights and photos without labels have no AP."""
    assert points_of_run(make_result(meaningful=False)) == []


def test_a_benchmark_gives_the_same_points():
    """From each variant's `extra_info`; a variant without accuracy has no point."""
    speedup = {"estimate": 4.0, "low": 3.9, "high": 4.2}
    infos = {
        "net-fp32": {"speedup": None, "accuracy": {"AP": 0.4}},
        "net-bf16": {"speedup": speedup, "accuracy": {"AP": 0.39}},
        "other-fp32": {"speedup": None, "accuracy": None},
    }
    assert points_of_bench(infos) == [
        Point("net", "fp32", None, 0.4),
        Point("net", "bf16", Interval(4.0, 3.9, 4.2), 0.39),
    ]


@pytest.mark.parametrize("models", [1, 2])
def test_the_picture_is_drawn_with_every_label_inside(models, tmp_path):
    """Even where points lie on each other; nothing is cut off at the border."""
    points = [
        Point(f"model{number}", recipe, None if recipe == "fp32" else Interval(1.2, 1.1, 1.3), 0.4)
        for number in range(models)
        for recipe in ("fp32", "dynamic_int8", "torchscript_dynamic_int8", "a_recipe_with_quite_a_long_name")
    ]
    draw_speed_accuracy(points, tmp_path / "picture.png", "title")
    pixels = np.asarray(Image.open(tmp_path / "picture.png").convert("L"))
    assert pixels.shape == (750, 1200)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert (border == 255).all()


def test_without_matplotlib_the_picture_is_missed_aloud(tmp_path, monkeypatch):
    """Only where there would be one: a single point compares nothing."""
    points = [Point("net", "fp32", None, 0.4), Point("net", "bf16", Interval(4.0, 3.9, 4.2), 0.39)]
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "matplotlib is not installed" in draw_if_possible(points, tmp_path / "a.png")
    assert draw_if_possible(points[:1], tmp_path / "a.png") is None
    assert not list(tmp_path.iterdir())
