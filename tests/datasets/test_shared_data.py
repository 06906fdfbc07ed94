"""Real data sets, with what their exports really hold."""

from __future__ import annotations

import time
from collections import Counter

import numpy as np
import pytest

from detq.datasets import open_dataset


@pytest.mark.parametrize(("part", "images", "cars"), [("train", 544, 3460), ("valid", 254, 1621), ("test", 201, 1281)])
def test_dawn_opens_with_both_kinds_of_car_merged(shared, part, images, cars):
    """YOLO without names, mapped by number; every box of another class is counted."""
    data = open_dataset(f"{shared}/data/dawn/{part}?map=car=1,2")
    data.check()
    targets = [data.target(index) for index in range(len(data))]
    assert (len(data), sum(map(len, targets)), data.classes) == (images, cars, ("car",))
    lines = [
        line
        for path in (shared / "data" / "dawn" / part / "labels").iterdir()
        for line in path.read_text().splitlines()
    ]
    assert cars + sum(data.ignored.values()) == len(lines)
    assert all((target.boxes[:, 2:] > target.boxes[:, :2]).all() for target in targets)


def test_dawn_opens_with_names(shared):
    """Names that occur twice are merged, and a class called 7 is no trouble."""
    data = open_dataset(shared / "data/dawn/test", classes=["pedestrian", "car", "car", "bike", "truck", "7", "bus"])
    counts = Counter(label for index in range(len(data)) for label in data.target(index).labels.tolist())
    found = {data.classes[label]: count for label, count in counts.items()}
    assert found == {"pedestrian": 98, "car": 1281, "bike": 15, "truck": 33, "bus": 127}


@pytest.mark.parametrize(
    ("part", "images", "counts"), [("valid", 35, (10, 21, 41, 33, 124)), ("train", 123, (48, 65, 237, 129, 519))]
)
def test_coad_opens_with_masks(shared, part, images, counts):
    """COCO JSON with polygons that close on themselves, and a category that nothing uses."""
    data = open_dataset(shared / "data/coad" / part)
    data.check()
    data.masks = True
    targets = [data.target(index) for index in range(len(data))]
    labels = Counter(data.classes[label] for target in targets for label in target.labels.tolist())
    assert len(data) == images
    assert tuple(labels[name] for name in ("Moto", "Obstaculo", "Peaton", "Pista", "Vehiculo")) == counts
    assert "Adas" in data.classes
    assert data.ignored == {}
    areas = np.concatenate([target.masks.sum(axis=(1, 2)) for target in targets])
    sides = np.concatenate([target.boxes[:, 2:] - target.boxes[:, :2] for target in targets])
    assert (areas > 0).all()
    assert (areas <= (sides + 2).prod(axis=1)).all()


def test_the_balloons_open_without_labels_and_say_why_not_with(shared):
    """Their annotations are VIA's."""
    folder = shared / "data/balloon/val"
    data = open_dataset(folder, unlabelled=True)
    assert len(data) == 13
    assert data.load(0).image.shape == (1365, 2048, 3)


def test_opening_and_checking_is_quick(shared):
    """Headers and label files, not pixels."""
    start = time.perf_counter()
    open_dataset(f"{shared}/data/dawn/test?map=car=1,2").check()
    assert time.perf_counter() - start < 5
