"""YOLO's label files and `data.yaml`."""

from __future__ import annotations

import pickle
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from detq.datasets import open_dataset
from detq.datasets.yolo import parse_yolo
from detq.errors import DataError
from tests.datasets.conftest import save_image
from tests.strategies import box_sets

SIZE = (640, 480)


def test_boxes_come_out_in_pixels(text_set):
    """Normalized centre and sides become corners."""
    data = open_dataset(text_set({"a": "1 0.5 0.5 0.2 0.4\n\n0 0.1 0.2 0.2 0.4\n"}), classes=["person", "car"])
    target = data.target(0)
    np.testing.assert_allclose(target.boxes, [[16, 6, 24, 14], [0, 0, 8, 8]], atol=1e-5)
    np.testing.assert_array_equal(target.labels, [1, 0])
    sample = data.load(0)
    assert (sample.image_id, sample.width, sample.height) == ("a.png", 40, 20)
    np.testing.assert_array_equal(sample.target.boxes, target.boxes)


def test_an_empty_label_file_is_background(text_set):
    """Empty is an ordinary case."""
    data = open_dataset(text_set({"a": "", "b": "0 .5 .5 .1 .1"}), classes=["car"])
    assert [len(data.target(index)) for index in range(2)] == [0, 1]
    assert data.target(0).boxes.shape == (0, 4)


def test_a_map_by_number_needs_no_names(text_set):
    """Other classes are left out and counted once, however often an image is read."""
    line = "0.5 0.5 0.2 0.4\n"
    data = open_dataset(f"{text_set({'a': f'1 {line}2 {line}0 {line}5 {line}'})}?map=car=1,2&format=yolo")
    for _ in range(2):
        np.testing.assert_array_equal(data.target(0).labels, [0, 0])
    assert data.classes == ("car",)
    assert data.ignored == {"0": 1, "5": 1}


def test_boxes_without_an_area_are_left_out_and_counted(text_set):
    """Large public sets have a few; they stop no run and are not lost in silence."""
    data = open_dataset(text_set({"a": "0 0.5 0.5 0 0.4\n0 0.5 0.5 0.2 0.4"}), classes=["car"])
    assert len(data.target(0)) == 1
    assert data.ignored == {"car without area": 1}


def test_a_polygon_counts_as_the_box_around_it(text_set):
    """Segmentation exports mix polygons with boxes."""
    data = open_dataset(text_set({"a": "0 0.1 0.2 0.5 0.2 0.3 0.6"}), classes=["car"], format="yolo")
    np.testing.assert_allclose(data.target(0).boxes, [[4, 4, 20, 12]], atol=1e-5)


def test_boxes_are_in_the_upright_frame(text_set):
    """Labelling tools show a phone's photo upright; normalized numbers mean that frame."""
    root = text_set({"a": "0 0.5 0.25 0.4 0.5"})
    exif = Image.Exif()
    exif[274] = 6
    save_image(root / "images" / "a.png", (40, 20), exif=exif.tobytes())
    sample = open_dataset(root, classes=["car"]).load(0)
    assert (sample.width, sample.height) == (20, 40)
    np.testing.assert_allclose(sample.target.boxes, [[6, 0, 14, 20]], atol=1e-5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 0.5 0.5 0.2", r"expected 5 numbers \(class cx cy w h.*found 4 in '0 0.5 0.5 0.2'; add what is missing"),
        ("0 0.5 0.5 0.2 0.2 0.9", r"expected 5 numbers .*found 6 in .*; is the last one a prediction's score\?"),
        ("car 0.5 0.5 0.2 0.2", r"expected numbers \(class cx .*found 'car' in .*; correct the line"),
        ("0 0.5 half 0.2 0.2", r"expected numbers .*found 'half' in"),
        ("0 0.5 1_0 0.2 0.2", r"expected numbers .*found '1_0' in"),
        ("-1 0.5 0.5 0.2 0.2", r"expected a class number from 0, found '-1'; correct"),
        ("nan 0.5 0.5 0.2 0.2", r"expected a class number from 0, found 'nan'"),
        ("0.5 0.5 0.5 0.2 0.2", r"expected a class number from 0, found '0.5'"),
        ("3 0.5 0.5 0.2 0.2", r"expected one of the classes 0 \(car\), found 3; correct the line or name the class"),
        ("0 nan 0.5 0.2 0.2", r"expected finite numbers, found the corners nan"),
        ("0 0.5 0.5 inf 0.2", r"expected finite numbers"),
        ("0 0.5 0.5 -0.2 0.2", r"expected x_min ≤ x_max and y_min ≤ y_max, found the corners .*; correct"),
        ("0 0.9 0.5 0.4 0.2", r"expected a box inside the image of 40 × 20 pixels, found .*; correct .* from 0 to 1"),
        ("0 20 10 4 4", r"expected a box inside the image of 40 × 20 pixels, found .*shares of the image's sides"),
    ],
)
def test_a_bad_line_is_a_sentence(text_set, text, expected):
    """File, line, expected, found, and what to do; from `target`, `load` and `check`."""
    root = text_set({"a": f"0 0.5 0.5 0.1 0.1\n{text}\n"})
    data = open_dataset(root, classes=["car"], format="yolo")
    where = r"labels/a\.txt, line 2: "
    for read in (lambda: data.target(0), lambda: data.load(0), data.check):
        with pytest.raises(DataError, match=where + expected):
            read()


def test_a_label_file_that_is_no_text_is_a_sentence(text_set):
    """Such as a compiled cache, or UTF-16."""
    root = text_set({"a": "0 0.5 0.5 0.1 0.1"})
    (root / "labels" / "a.txt").write_bytes(b"0 0.5 \xff\xfe 0.5")
    with pytest.raises(
        DataError, match=r"a\.txt: expected a text file in UTF-8, found the byte 0xff at position 6; save"
    ):
        open_dataset(root, classes=["car"], format="yolo").target(0)


def test_check_collects_the_problems_of_all_files(text_set):
    """One run of repairs instead of one for each file."""
    root = text_set(dict.fromkeys("abc", "0 0.5 0.5") | {"d": "0 0.5 0.5 0.1 0.1"})
    (root / "images" / "d.png").write_bytes(b"")
    data = open_dataset(root, classes=["car"], format="yolo")
    with pytest.raises(DataError) as caught:
        data.check()
    lines = str(caught.value).splitlines()
    assert "4 problems" in lines[0]
    assert [name for name, line in zip("abc", lines[1:], strict=False) if f"{name}.txt, line 1" in line] == list("abc")
    assert "d.png: expected a JPEG" in lines[4]


def test_check_stops_at_ten_problems_and_reports_progress(text_set):
    """A million bad files do not fill the screen."""
    data = open_dataset(text_set({f"{i:02}": "0 1" for i in range(14)}), classes=["car"], format="yolo")
    with pytest.raises(DataError, match="at least 10 problems") as caught:
        data.check()
    assert len(str(caught.value).splitlines()) == 11
    seen = []
    open_dataset(text_set({"a": "", "b": ""}, folder="good"), classes=["car"], format="yolo").check(
        lambda done, total: seen.append((done, total))
    )
    assert seen == [(1, 2), (2, 2)]


def _as_yolo(boxes, digits=9):
    lines = []
    for x1, y1, x2, y2 in boxes.astype(np.float64) / [*SIZE, *SIZE]:
        numbers = ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)
        lines.append(" ".join(["0", *(f"{number:.{digits}f}" for number in numbers)]))
    return "\n".join(lines)


@given(box_sets(limit=480))
def test_boxes_survive_the_way_to_text_and_back(boxes):
    """To a thousandth of a pixel with nine digits."""
    lines = parse_yolo(_as_yolo(boxes), SIZE, "a.txt")
    np.testing.assert_allclose(lines.boxes, boxes, atol=1e-3)
    assert lines.numbers == list(range(1, len(boxes) + 1))


@given(st.text() | st.text(alphabet="01.- \n\tenaif_9", max_size=60))
def test_no_text_breaks_the_parser(text):
    """Lines, or a sentence that names the file and the line."""
    try:
        lines = parse_yolo(text, SIZE, "a.txt")
    except DataError as error:
        assert str(error).startswith("a.txt, line ")  # noqa: PT017  # not every text is wrong
        return
    assert lines.boxes.shape == (len(lines.keys), 4)


@pytest.fixture
def exported(tmp_path):
    """A Roboflow-like export: data.yaml above train and valid, with paths that start at the wrong folder."""
    for part in ("train", "valid"):
        for name in ("a", "b") if part == "train" else ("c",):
            save_image(tmp_path / part / "images" / f"{name}.jpg")
            (tmp_path / part / "labels").mkdir(exist_ok=True)
            (tmp_path / part / "labels" / f"{name}.txt").write_text("1 0.5 0.5 0.2 0.2")
    (tmp_path / "README.dataset.txt").write_text("exported by a tool")
    (tmp_path / "data.yaml").write_text(
        "train: ../train/images\nval: ../valid/images\nnc: 2\nnames: ['person', 'car']\n"
    )
    return tmp_path


def test_a_data_yaml_names_classes_and_parts(exported):
    """By the yaml, by its folder with a split, or by a part's own folder."""
    for location, images in [
        (f"{exported}?split=train", 2),
        (f"{exported}/data.yaml?split=val", 1),
        (f"{exported}?split=valid", 1),
        (exported / "valid", 1),
        (exported / "train" / "images", 2),
    ]:
        data = open_dataset(location)
        assert (len(data), data.classes) == (images, ("person", "car")), location
        data.check()
    assert open_dataset(exported, split="train").image_id(0) == "a.jpg"


def test_several_parts_ask_for_a_choice(exported):
    """Training on the test photos by accident would be worse than a question."""
    with pytest.raises(DataError, match=r"data\.yaml: expected one part .* found train, val; write .*\?split=val"):
        open_dataset(exported)
    with pytest.raises(
        DataError, match=r"expected test: with a folder of images, found the keys train, val, nc, names"
    ):
        open_dataset(exported, split="test")
    shutil.rmtree(exported / "train")
    with pytest.raises(DataError, match=r"expected train: with a folder of images, found no folder"):
        open_dataset(exported, split="train")
    assert len(open_dataset(exported)) == 1


def test_parts_that_are_not_there_are_not_replaced_by_what_lies_around(exported):
    """Training on everything below the yaml because its paths are wrong would mix the validation images in."""
    (exported / "data.yaml").write_text("train: elsewhere/train\nval: elsewhere/val\nnames: [person, car]\n")
    with pytest.raises(DataError, match=r"data.yaml: expected train: with a folder of images, found no folder"):
        open_dataset(exported)


def test_names_may_be_numbered_and_parts_several_folders(exported):
    """The layout that ultralytics documents."""
    (exported / "data.yaml").write_text("path: .\ntrain: [train/images, valid/images]\nnames: {1: car, 0: person}\n")
    data = open_dataset(exported / "data.yaml")
    assert [data.image_id(index) for index in range(3)] == [
        "train/images/a.jpg",
        "train/images/b.jpg",
        "valid/images/c.jpg",
    ]
    assert [data.classes[data.target(index).labels[0]] for index in range(3)] == ["car"] * 3


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("names: [a\n", r"expected YAML with names:, found: while parsing"),
        ("just words", r"expected YAML with names:, found str"),
        ("names: car", r"expected names: as a list or as number: name, found 'car'"),
        ("names: {car: 0}", r"expected names: as a list or as number: name, found \"\{'car': 0\}\""),
        (
            "names: [car]\nkpt_shape: [17, 3]",
            r"expected boxes or polygons, found key points \(kpt_shape\); export the boxes alone",
        ),
    ],
)
def test_a_bad_data_yaml_is_a_sentence(exported, content, expected):
    """It names the file, what was expected and what was found."""
    (exported / "data.yaml").write_text(content)
    with pytest.raises(DataError, match=r"data\.yaml: " + expected):
        open_dataset(exported / "train")


def test_classes_txt_beside_the_labels_names_the_classes(text_set):
    """As labelling tools write it; it is no label file without an image."""
    root = text_set({"a": "1 0.5 0.5 0.1 0.1"})
    (root / "labels" / "classes.txt").write_text("person\ncar\n")
    assert open_dataset(root).classes == ("person", "car")


def test_numbers_without_names_ask_for_them(text_set):
    """Model and data meet by name."""
    with pytest.raises(
        DataError, match=r"expected names for YOLO's class numbers, found no data.yaml .* add --classes"
    ):
        open_dataset(text_set({"a": "1 0.5 0.5 0.1 0.1"}))


def test_identity_follows_images_labels_and_classes(text_set):
    """And stays the same wherever the folder lies."""
    line = "0 0.5 0.5 0.1 0.1"
    first = open_dataset(text_set({"a": line}, folder="one"), classes=["car"])
    assert len(first.identity()) == 16
    assert first.identity() == open_dataset(text_set({"a": line}, folder="two"), classes=["car"]).identity()
    others = [
        open_dataset(text_set({"b": line}, folder="three"), classes=["car"]),
        open_dataset(text_set({"a": f"{line}1"}, folder="four"), classes=["car"]),
        open_dataset(text_set({"a": line}, folder="five"), classes=["person"]),
        open_dataset(text_set({"a": line}, folder="six"), class_map="car=0,1"),
    ]
    assert len({data.identity() for data in [first, *others]}) == 5


def test_a_data_set_can_be_sent_to_another_process(text_set):
    """Memory is measured in a process of its own."""
    data = pickle.loads(pickle.dumps(open_dataset(text_set({"a": "0 0.5 0.5 0.1 0.1"}), classes=["car"])))  # noqa: S301
    assert len(data.target(0)) == 1
