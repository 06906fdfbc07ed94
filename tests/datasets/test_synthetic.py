"""Synthetic traffic scenes: labels that never change, pictures that hardly do, and the text that names a set."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detq.datasets.synthetic import SEEDS, parse_synthetic, traffic_camera
from detq.datasets.synthetic.conditions import KINDS
from detq.datasets.synthetic.layout import compose
from detq.errors import DataError

SMALL = (320, 180)


GOLDEN = json.loads(Path(__file__).with_name("golden_synthetic.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda row: f"{row['seed']}-{row['index']}")
def test_scenes_are_the_same_on_every_machine(golden):
    """Boxes and mask areas are pinned to the pixel; brightness and colour in 12 parts of the picture to 2 levels."""
    seed, index = golden["seed"], golden["index"]
    target = traffic_camera(index + 1, seed).target(index)
    assert target.boxes.tolist() == golden["boxes"]
    assert target.areas_px.tolist() == golden["areas_px"]
    image = traffic_camera(index + 1, seed, SMALL).load(index).image
    means = image.astype(float).reshape(3, 60, 4, 80, 3).mean(axis=(1, 3)).reshape(-1, 3)
    assert np.allclose(means, golden["means"], atol=2.0)


def test_the_same_scene_comes_out_twice():
    """A scene loaded twice, from two sets, is equal to the last pixel."""
    first, second = traffic_camera(3, 7, SMALL).load(2), traffic_camera(3, 7, SMALL).load(2)
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.target.boxes, second.target.boxes)


def test_a_scene_does_not_depend_on_its_set_size_or_on_the_order_of_access():
    """Scene 4 of a set of 5, loaded last, is scene 4 of a set of 500, loaded first."""
    few, many = traffic_camera(5, 11, SMALL), traffic_camera(500, 11, SMALL)
    later = [few.load(index) for index in (3, 0, 4)][-1]
    assert np.array_equal(later.image, many.load(4).image)
    assert later.image_id == many.image_id(4) == "traffic-11-000004"


def test_other_seeds_and_indices_give_other_scenes():
    """Neither the seed nor the index is ignored."""
    pictures = [traffic_camera(2, seed, SMALL).load(index).image for seed, index in ((1, 0), (1, 1), (2, 0))]
    assert not np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])


@given(seed=st.integers(0, 2**31), index=st.integers(0, 10**6))
@settings(max_examples=25)
def test_boxes_are_tight_around_masks_and_inside_the_picture(seed, index):
    """Any scene's boxes are in order, in the picture, tight around disjoint visible pixels."""
    scenes = traffic_camera(index + 1, seed, (320, 180))
    scenes.masks = True
    target = scenes.target(index)
    assert target.masks.shape == (len(target), 180, 320)
    assert target.masks.sum(axis=0).max(initial=0) <= 1
    for box, mask, area in zip(target.boxes, target.masks, target.areas_px, strict=True):
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        assert box.tolist() == [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        assert area == mask.sum()
    assert (target.boxes >= 0).all()
    assert (target.boxes <= [320, 180, 320, 180]).all()
    assert set(target.labels.tolist()) <= {0}


def test_target_gives_the_annotations_of_load():
    """Annotations alone are those that come with the picture."""
    scenes = traffic_camera(4, 3, SMALL)
    scenes.masks = True
    for index in range(4):
        loaded, alone = scenes.load(index).target, scenes.target(index)
        assert np.array_equal(loaded.boxes, alone.boxes)
        assert np.array_equal(loaded.masks, alone.masks)
        assert np.array_equal(loaded.areas_px, alone.areas_px)


def test_pictures_have_the_size_and_type_that_were_asked_for():
    """Any size is rendered, odd ones and other shapes too."""
    for size in ((1280, 720), (641, 359), (300, 300), (2000, 64)):
        sample = traffic_camera(1, 5, size).load(0)
        assert sample.image.shape == (size[1], size[0], 3)
        assert sample.image.dtype == np.uint8


def test_another_size_shows_the_same_scene():
    """Boxes at twice the size are twice as large, to a pixel."""
    small, large = (traffic_camera(6, 21, size) for size in ((640, 360), (1280, 720)))
    for index in range(6):
        half, full = small.target(index), large.target(index)
        assert len(half) == len(full)
        near = np.abs(half.boxes * 2 - full.boxes) <= 2.5
        assert near.all(axis=1).mean() > 0.8, "only slivers that one size shows and the other does not may differ"
    a = small.load(1).image.astype(float)
    b = large.load(1).image.astype(float).reshape(360, 2, 640, 2, 3).mean(axis=(1, 3))
    assert np.abs(a - b).mean() < 14


def test_cars_are_large_and_visible_enough_to_be_found():
    """No label is smaller than the documented 14 px of a 1280 × 720 frame."""
    scenes = traffic_camera(40, 31)
    sides = [(box[2:] - box[:2]).max() for index in range(40) for box in scenes.target(index).boxes]
    assert min(sides) >= 12
    assert np.percentile(sides, 20) < 60


def test_every_weather_and_empty_roads_occur():
    """Among 200 scenes there is each kind of weather, and a few without a car, but not many."""
    scenes = [compose(41, index) for index in range(200)]
    assert {scene.conditions.kind for scene in scenes} == {kind for kind, _ in KINDS}
    cars = [sum(actor.kind == "car" for actor in scene.actors) for scene in scenes]
    assert 2 <= cars.count(0) <= 30
    assert 8 <= np.mean(cars) <= 16
    others = {actor.kind for scene in scenes for actor in scene.actors}
    assert {"lorry", "bus", "cyclist", "person", "box"} <= others


def test_seeds_for_different_purposes_are_disjoint():
    """No scene that a model was trained, calibrated or chosen on is ever used to report a result."""
    names = list(SEEDS)
    assert set(names) == {"train", "val", "calibration", "selection", "benchmark"}
    for number, name in enumerate(names):
        for other in names[number + 1 :]:
            a, b = SEEDS[name], SEEDS[other]
            assert max(a.start, b.start) >= min(a.stop, b.stop), f"{name} and {other} share seeds"


def test_a_text_names_a_set():
    """The text on the command line gives the set that the function gives."""
    scenes = parse_synthetic("synthetic:traffic?n=200&seed=7&size=640x360")
    assert len(scenes) == 200
    assert scenes.classes == ("car",)
    assert scenes.size(0) == (640, 360)
    assert scenes.identity() == traffic_camera(200, 7, (640, 360)).identity()
    assert scenes.identity() != traffic_camera(200, 8, (640, 360)).identity()
    assert parse_synthetic("synthetic:traffic").size(0) == (1280, 720)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("synthetic:planes", "synthetic:traffic"),
        ("synthetic:traffic?sed=7", "seed"),
        ("synthetic:traffic?n=many", "whole number"),
        ("synthetic:traffic?n=0", "at least 1"),
        ("synthetic:traffic?n=-3", "whole number"),
        ("synthetic:traffic?size=1280", "1280x720"),
        ("synthetic:traffic?size=4x4", "32x32"),
        ("synthetic:traffic?size=99999x720", "8192"),
    ],
)
def test_a_wrong_text_is_refused_with_the_choices(text, hint):
    """A mistake in the text is one sentence that says what is possible."""
    with pytest.raises(DataError) as caught:
        parse_synthetic(text)
    assert hint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_index_outside_the_set_is_an_error():
    """Iterating ends where the set ends."""
    scenes = traffic_camera(2, 1, SMALL)
    with pytest.raises(IndexError):
        scenes.load(2)
    assert len(list(scenes)) == 2


def test_rendering_is_fast_enough_to_train_from():
    """A 640 × 360 scene costs far below 0.15 s of CPU time; the median, so that a busy machine does not matter."""
    scenes = traffic_camera(12, 51, (640, 360))
    scenes.load(0)
    times = []
    for index in range(12):
        start = time.process_time()
        scenes.load(index)
        times.append(time.process_time() - start)
    assert np.median(times) < 0.15
