"""The format of one `Label x_min y_min x_max y_max` line an object."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detq.datasets import open_dataset
from detq.datasets.corners import CornersDataset, parse_corners
from detq.errors import DataError
from tests.datasets.conftest import save_image
from tests.strategies import box_sets


def test_boxes_and_words_are_read_as_written(text_set):
    """Labels may be several words; classes are in alphabetical order."""
    data = open_dataset(text_set({"a": "Car 1 2 30 20\nTraffic light 4.5 2 6 7.5\n", "b": ""}))
    assert isinstance(data, CornersDataset)
    assert data.classes == ("Car", "Traffic light")
    np.testing.assert_array_equal(data.target(0).boxes, [[1, 2, 30, 20], [4.5, 2, 6, 7.5]])
    np.testing.assert_array_equal(data.target(0).labels, [0, 1])
    assert len(data.target(1)) == 0
    data.check()


def test_a_folder_named_label_beside_the_images_works(tmp_path):
    """The layout of the Open Images downloader."""
    save_image(tmp_path / "Car" / "1.jpg")
    (tmp_path / "Car" / "Label").mkdir()
    (tmp_path / "Car" / "Label" / "1.txt").write_text("Car 0.0 1.5 39.9 20.0")
    data = open_dataset(tmp_path)
    assert data.image_id(0) == "Car/1.jpg"
    assert len(data.target(0)) == 1


def test_classes_and_map_choose_and_merge(text_set):
    """By word, or by number where the file says numbers."""
    root = text_set({"a": "Car 1 2 30 20\nTruck 4 2 6 7\nBike 1 1 9 9"})
    data = open_dataset(root, class_map="car=Car,Truck")
    np.testing.assert_array_equal(data.target(0).labels, [0, 0])
    assert data.ignored == {"Bike": 1}
    numbered = text_set({"a": "1 1 2 30 20"}, folder="numbered")
    assert open_dataset(numbered).classes == ("1",)
    data = open_dataset(numbered, classes=["person", "car"])
    assert data.classes[data.target(0).labels[0]] == "car"
    assert len(open_dataset(numbered, class_map="car=1").target(0)) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Car 1 2 3", r"expected Label x_min y_min x_max y_max .*, found 4 fields in 'Car 1 2 3'; correct or delete"),
        ("Car 1 2 three 4", r"expected Label .*, found 'three' in 'Car 1 2 three 4'; correct or delete"),
        ("Car 1 2 nan 4", r"expected finite numbers, found the corners 1, 2, nan, 4"),
        ("Car 9 2 3 4", r"expected x_min ≤ x_max and y_min ≤ y_max, found the corners 9, 2, 3, 4 in pixels; correct"),
        ("Car 1 2 300 4", r"expected a box inside the image of 40 × 20 pixels, found the corners 1, 2, 300, 4"),
        ("Cow 1 2 3 4", r"expected one of the classes 0 \(Car\), Car, found 'Cow'; correct the line or name the class"),
    ],
)
def test_a_bad_line_is_a_sentence(text_set, text, expected):
    """File, line, expected, found, and what to do."""
    data = open_dataset(text_set({"a": f"Car 1 1 2 2\n{text}\n"}), classes=["Car"], format="corners")
    with pytest.raises(DataError, match=r"labels/a\.txt, line 2: " + expected):
        data.check()


@given(box_sets(), st.lists(st.sampled_from(["car", "traffic light", "7"]), min_size=8, max_size=8))
def test_boxes_survive_the_way_to_text_and_back(boxes, labels):
    """Exactly: a float32 written in full is the same when read."""
    text = "\n".join(f"{label} {' '.join(map(repr, box))}" for label, box in zip(labels, boxes.tolist(), strict=False))
    lines = parse_corners(text, "a.txt")
    np.testing.assert_array_equal(lines.boxes, boxes)
    assert [str(key) for key in lines.keys] == labels[: len(boxes)]


@given(st.text() | st.text(alphabet="01.- \n\tcar", max_size=60))
def test_no_text_breaks_the_parser(text):
    """Lines, or a sentence that names the file and the line."""
    try:
        lines = parse_corners(text, "a.txt")
    except DataError as error:
        assert str(error).startswith("a.txt, line ")  # noqa: PT017  # not every text is wrong
        return
    assert lines.boxes.shape == (len(lines.keys), 4)
