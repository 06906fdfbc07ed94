"""The order of training images, and what becomes of their labels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detq.datasets import open_dataset
from detq.datasets.base import Dataset
from detq.errors import DataError
from detq.training.data import Source, TrainingImages, batches, epoch_order
from detq.types import GroundTruth, Sample


class Fixed(Dataset):
    """Samples from a list."""

    def __init__(self, *samples, classes=("car", "bus")):
        self.name, self.classes, self._samples = "fixed", classes, samples

    def __len__(self):
        return len(self._samples)

    def image_id(self, index):
        return self._samples[index].image_id

    def load(self, index):
        return self._samples[index]


def _sample(name, truth):
    return Sample(name, np.zeros((20, 30, 3), np.uint8), truth)


def _images(*sources, classes=("car",), masks=False, seed=0):
    return TrainingImages(sources, classes, seed=seed, augmented=False, masks=masks)


BOXES = np.asarray([[1, 1, 9, 9], [2, 2, 8, 8], [3, 3, 3, 7]], np.float32)


@given(st.integers(0, 2**31), st.integers(0, 50), st.integers(1, 200))
def test_an_epoch_shows_every_image_once_in_an_order_of_its_own(seed, epoch, images):
    """A permutation, decided by seed and epoch."""
    order = epoch_order(seed, epoch, images)
    assert sorted(order) == list(range(images))
    assert np.array_equal(order, epoch_order(seed, epoch, images))


def test_a_repeated_set_occurs_so_often_in_an_epoch():
    """Also when batches run over the end of an epoch."""
    one = Fixed(*(_sample(f"a{number}", GroundTruth.empty()) for number in range(3)))
    two = Fixed(*(_sample(f"b{number}", GroundTruth.empty()) for number in range(2)))
    images = _images(Source(one), Source(two, repeat=2))
    shown = [sample.image_id for batch in batches(images, first_step=0, steps=7, size=2, workers=0) for sample in batch]
    for epoch in (shown[:7], shown[7:]):
        assert sorted(epoch) == ["a0", "a1", "a2", "b0", "b0", "b1", "b1"]
    assert shown[:7] != shown[7:]


def test_batches_from_a_later_step_are_those_of_the_whole_sequence():
    """What a resumed training sees is what it would have seen."""
    images = _images(Source(Fixed(*(_sample(str(number), GroundTruth.empty()) for number in range(5)))))
    whole = list(batches(images, first_step=0, steps=6, size=2, workers=0))
    rest = list(batches(images, first_step=4, steps=6, size=2, workers=0))
    assert [[s.image_id for s in batch] for batch in whole[4:]] == [[s.image_id for s in batch] for batch in rest]


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more than the cores that pytest-xdist leaves a test
def test_worker_processes_load_the_same_bytes(squares):
    """Augmented images do not depend on who made them."""
    source = Source(open_dataset(f"{squares}?classes=square"))
    images = TrainingImages([source], ("square",), seed=5, augmented=True, masks=False)
    plans = [list(batches(images, first_step=0, steps=4, size=3, workers=workers)) for workers in (0, 2)]
    for here, there in zip(*plans, strict=True):
        for one, other in zip(here, there, strict=True):
            assert one.image.tobytes() == other.image.tobytes()
            assert one.target.boxes.tobytes() == other.target.boxes.tobytes()


def test_labels_meet_the_model_by_name_and_crowds_and_degenerate_boxes_drop_out():
    """The data's bus 1 is the model's bus 0."""
    truth = GroundTruth(BOXES, np.asarray([1, 0, 1]), crowd=np.asarray([False, False, False]))
    crowded = GroundTruth(BOXES[:2], np.asarray([1, 1]), crowd=np.asarray([True, False]))
    images = _images(Source(Fixed(_sample("x", truth))), classes=("bus", "car"))
    assert images.load(0).target.labels.tolist() == [0, 1]
    assert len(_images(Source(Fixed(_sample("x", crowded))), classes=("bus", "car")).load(0).target) == 1


def test_an_image_without_labels_is_refused_and_one_without_objects_is_background():
    """The first is a mistake, the second an ordinary training image."""
    with pytest.raises(DataError, match="x has no labels"):
        _images(Source(Fixed(_sample("x", None)))).load(0)
    assert len(_images(Source(Fixed(_sample("x", GroundTruth.empty())))).load(0).target) == 0


def test_a_model_with_masks_needs_them_only_where_there_are_objects():
    """Background images teach a mask model too."""
    background = _images(Source(Fixed(_sample("x", GroundTruth.empty()))), masks=True)
    assert background.load(0).target.masks.shape == (0, 20, 30)
    boxes = GroundTruth(BOXES[:1], np.zeros(1, np.int64))
    with pytest.raises(DataError, match="boxes without instance masks"):
        _images(Source(Fixed(_sample("x", boxes))), masks=True).load(0)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_image_stops_the_training_with_its_own_sentence(squares, tmp_path, workers):
    """Also from a worker process, without a traceback in the message."""
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    (tmp_path / "images" / "00.png").write_bytes((squares / "images" / "01.png").read_bytes()[:200])
    (tmp_path / "labels" / "00.txt").write_text("", encoding="utf-8")
    images = _images(Source(open_dataset(f"{tmp_path}?classes=square&format=yolo")), classes=("square",))
    with pytest.raises(DataError, match=r"00\.png") as caught:
        list(batches(images, first_step=0, steps=1, size=1, workers=workers))
    assert "Traceback" not in str(caught.value)
