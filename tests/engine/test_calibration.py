"""Which images calibrate."""

from __future__ import annotations

import pytest
from PIL import Image

from detq.datasets.synthetic import SEEDS, traffic_camera
from detq.engine.calibration import CalibrationChoice, draw
from detq.errors import DetqError


def test_a_draw_is_decided_by_its_seed_alone():
    """The same seed draws the same images; another one others; none twice."""
    frames = traffic_camera(100, seed=1)
    first, again, other = (draw(frames, CalibrationChoice(images=20, seed=seed)) for seed in (3, 3, 4))
    assert first.indices == again.indices != other.indices
    assert len(set(first.indices)) == 20


def test_a_small_data_set_is_taken_whole():
    """Fifty images of thirty are all thirty."""
    assert draw(traffic_camera(30, seed=1), CalibrationChoice(images=50)).indices == tuple(range(30))


def test_packaged_frames_are_of_seeds_that_nothing_else_uses():
    """Neither trainings nor benchmarks see a calibration frame, whatever the seed."""
    for seed in (0, 7, 99, 100, 12345):
        described = CalibrationChoice(images=2, seed=seed).draw().describe()
        assert {int(name.split("-")[1]) for name in described["images"]} <= set(SEEDS["calibration"])


def test_what_is_stored_tells_calibrations_apart():
    """Data, seed, number and observer all show in what an artifact keeps."""
    made = [
        CalibrationChoice("synthetic:traffic?n=9&seed=201", *rest).draw().describe()
        for rest in ((4, 0, "mse"), (5, 0, "mse"), (4, 1, "mse"), (4, 0, "minmax"))
    ]
    assert all(one != other for index, one in enumerate(made) for other in made[:index])


def test_other_pictures_under_the_same_names_are_another_calibration(tmp_path):
    """A graph that was made of the old ones would be found in the cache."""
    found = []
    for colour in ("red", "red", "blue"):
        for name in ("a.png", "b.png", "c.png"):
            Image.new("RGB", (32, 32), colour if name == "b.png" else "white").save(tmp_path / name)
        found.append(CalibrationChoice(str(tmp_path)).draw().describe())
    assert found[0] == found[1]
    assert found[2]["content"] != found[0]["content"] is not None
    assert found[2]["identity"] == found[0]["identity"]


def test_rendered_frames_calibrate_only_weights_that_know_them():
    """A user's own weights would get ranges of images that they never see."""
    assert CalibrationChoice().suits("packaged")
    assert not CalibrationChoice().suits("file")
    assert CalibrationChoice("photos").suits("file")


@pytest.mark.parametrize(
    ("arguments", "named"), [({"images": 0}, "--calibration-images"), ({"observer": "median"}, "--observer")]
)
def test_a_wrong_choice_names_its_option(arguments, named):
    """The sentence says which option to mend."""
    with pytest.raises(DetqError, match=named):
        CalibrationChoice(**arguments)
