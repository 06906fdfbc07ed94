"""`open_dataset`: formats are recognised by content, options go with the path or as arguments."""

from __future__ import annotations

import importlib
import shutil

import numpy as np
import pytest

from detq.datasets import FORMATS, open_dataset, parse_classes
from detq.datasets.corners import CornersDataset
from detq.datasets.folder import ImageFolder
from detq.datasets.yolo import YoloDataset
from detq.errors import DataError, UnknownNameError
from tests.datasets.conftest import save_image

YOLO, CORNERS = "0 0.5 0.5 0.2 0.2", "car 1 2 3 4"


def test_every_format_has_a_reader():
    """A spec is a promise; this resolves each."""
    for spec in FORMATS:
        module, _, function = spec.target.partition(":")
        assert callable(getattr(importlib.import_module(module), function))
    assert len({spec.name for spec in FORMATS}) == len(FORMATS)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (YOLO, YoloDataset),
        ("\n0 0 0 1 1\n", YoloDataset),
        (CORNERS, CornersDataset),
        ("0 1 2 30 20", CornersDataset),
        ("two words 1 2 3 4", CornersDataset),
        ("0.5 0.5 0.2 0.2 0.2", CornersDataset),
    ],
)
def test_text_formats_are_told_apart_by_their_lines(text_set, text, kind):
    """Words and pixels are corners; a whole number and shares of the sides are YOLO."""
    assert type(open_dataset(text_set({"a": "", "b": text}), classes=["car", "bus"])) is kind


def test_the_most_common_kind_of_line_counts(text_set):
    """One bad line is that line's mistake and not the data set's."""
    data = open_dataset(text_set({"a": "broken\n", "b": f"{YOLO}\n" * 5, "c": CORNERS}), classes=["car"])
    assert type(data) is YoloDataset
    with pytest.raises(DataError, match=r"2 problems(.|\n)*a\.txt, line 1(.|\n)*c\.txt, line 1.*--format corners"):
        data.check()


@pytest.mark.parametrize("beside", [True, False])
def test_labels_may_lie_beside_the_images(text_set, beside):
    """Or in a folder of their own; ids are relative to the images' folder."""
    root = text_set({"a": YOLO})
    if beside:
        shutil.move(root / "labels" / "a.txt", root / "images" / "a.txt")
        (root / "labels").rmdir()
    data = open_dataset(root, classes=["car"])
    assert len(data.target(0)) == 1
    assert data.image_id(0) == ("images/a.png" if beside else "a.png")


def test_images_are_in_the_order_of_their_paths_below_folders(tmp_path):
    """Whatever the suffix's case; hidden files do not count."""
    for name in ("b/2.JPG", "a/3.png", "10.bmp", "b/1.jpeg", ".hidden/x.png", "b/.thumb.png"):
        save_image(tmp_path / name)
    data = open_dataset(tmp_path, unlabelled=True)
    assert [data.image_id(index) for index in range(len(data))] == ["10.bmp", "a/3.png", "b/1.jpeg", "b/2.JPG"]
    data.check()


def test_a_link_to_a_folder_above_does_not_go_round_for_ever(tmp_path):
    """People link data sets together."""
    save_image(tmp_path / "a.png")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert len(open_dataset(tmp_path, unlabelled=True)) == 1


def test_unlabelled_images_have_no_target(text_set, coco_set):
    """Label files beside them are not read; a single image will do as well."""
    root = text_set({"a": "broken", "b": None})
    data = open_dataset(root, unlabelled=True)
    assert isinstance(data, ImageFolder)
    assert data.load(1).target is None
    assert data.target(0) is None
    assert open_dataset(f"{root}?unlabelled=1").image_id(0) == "images/a.png"
    assert len(open_dataset(root / "images" / "a.png", unlabelled=True, format="images")) == 1
    hidden = open_dataset(coco_set() / "_annotations.coco.json", unlabelled=True)
    assert [hidden.load(1).target, hidden.target(1), len(hidden), hidden.size(0)] == [None, None, 2, (40, 20)]
    with pytest.raises(DataError, match=r"--map and split do not go with unlabelled images in .*; leave them out"):
        open_dataset(root, unlabelled=True, class_map="a=1")


def test_options_in_the_path_are_those_of_the_arguments(text_set):
    """So that a data set with its options is one word on a command line."""
    root = text_set({"a": YOLO, "b": None})
    data = open_dataset(f"{root}?classes=person,car&format=yolo&map=x=0&allow_unlabelled=yes")
    same = open_dataset(root, classes=["person", "car"], format="yolo", class_map="x=0", allow_unlabelled=True)
    assert data.classes == same.classes == ("x",)
    assert data.identity() == same.identity()
    assert data.name == f"{root}?classes=person,car&format=yolo&map=x=0&allow_unlabelled=yes"
    assert len(data.target(1)) == 0


def test_a_folder_with_a_question_mark_in_its_name_opens(text_set):
    """The literal path wins."""
    assert open_dataset(text_set({"a": YOLO}, folder="what?map=a=0"), classes=["car"]).classes == ("car",)


@pytest.mark.parametrize(
    ("query", "options", "error", "message"),
    [
        ("mop=a", {}, UnknownNameError, r"unknown option in .* 'mop'; did you mean map\?"),
        ("map=", {}, DataError, r"option map of a data set: expected a value, found ''"),
        ("allow_unlabelled=2", {}, DataError, r"option allow_unlabelled of a data set: expected 1 or 0, found '2'"),
        ("map=a=1", {"class_map": "b=1"}, DataError, r"option map .* given twice: b=1 as an option, 'a=1' in the path"),
        ("classes=a", {"classes": ["b", "c"]}, DataError, r"option classes .* given twice: b,c as an option, 'a' in"),
        ("split=val", {"classes": ["car"]}, DataError, r"split=val goes with a data\.yaml, found none in .*; name the"),
        ("format=yoyo", {}, UnknownNameError, r"unknown data set format 'yoyo'; did you mean yolo or coco\?"),
        ("format=synthetic", {}, DataError, r"expected a name such as synthetic:traffic\?n=200&seed=7, found"),
        ("format=coco", {}, DataError, r"expected one COCO JSON file, found none; name the file to read"),
    ],
)
def test_bad_options_are_sentences(text_set, query, options, error, message):
    """What is expected, what was found, and what to do."""
    root = text_set({"a": YOLO})
    with pytest.raises(error, match=message):
        open_dataset(f"{root}?{query}", **options)


def test_classes_come_from_a_list_or_a_file(tmp_path):
    """One name a line."""
    path = tmp_path / "obj.names"
    path.write_text("person\ntraffic light\n\n")
    assert parse_classes(str(path)) == ("person", "traffic light")
    assert parse_classes(" person , car") == ("person", "car")
    assert parse_classes("car") == ("car",)
    with pytest.raises(DataError, match=r"--classes: expected names such as pedestrian,car, found an empty one"):
        parse_classes("a,,b")
    with pytest.raises(DataError, match=r"--classes: expected a text file with one name a line in .*gone\.txt, found"):
        parse_classes(str(tmp_path / "gone.txt"))
    path.write_text("person\n\ncar\n")
    with pytest.raises(DataError, match=r"obj\.names, found an empty line"):
        parse_classes(str(path))


def test_a_missing_folder_is_a_sentence(tmp_path):
    """It names the path."""
    with pytest.raises(
        DataError, match=r"gone does not exist; expected a folder or an annotation file, check the path"
    ):
        open_dataset(tmp_path / "gone?map=car=1")


@pytest.mark.parametrize("unlabelled", [True, False])
def test_an_empty_folder_is_a_sentence(tmp_path, unlabelled):
    """It says what was looked for and what is there."""
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(DataError, match=r"expected .*, found .*check the path"):
        open_dataset(tmp_path, unlabelled=unlabelled)
    with pytest.raises(DataError, match=r"expected images \(bmp jpeg jpg .*\), found 1 text files and no image; check"):
        open_dataset(tmp_path, unlabelled=True)


def test_an_image_without_a_label_file_is_a_sentence_unless_allowed(text_set):
    """Forgetting to annotate and having nothing to annotate are different things."""
    root = text_set({"a": YOLO, "b": None, "c": None})
    expected = r"images/b\.png: expected its labels in .*labels/b\.txt, found 2 of 3 images without.*--allow-unlabelled"
    with pytest.raises(DataError, match=expected):
        open_dataset(root, classes=["car"])
    data = open_dataset(root, classes=["car"], allow_unlabelled=True)
    assert [len(sample.target) for sample in data] == [1, 0, 0]


def test_a_label_file_without_an_image_is_a_sentence(text_set):
    """Such objects would be missing from every metric."""
    root = text_set({"a": YOLO, "b": YOLO})
    (root / "images" / "b.png").unlink()
    expected = (
        r"labels/b\.txt: expected an image of that name .*, found 1 of 2 label files without one below .*; restore"
    )
    with pytest.raises(DataError, match=expected):
        open_dataset(root, classes=["car"], allow_unlabelled=True)


def test_two_images_cannot_share_a_label_file(text_set):
    """a.png and a.jpg: one of them is another photo."""
    root = text_set({"a": YOLO})
    save_image(root / "images" / "a.jpg")
    with pytest.raises(
        DataError, match=r"a\.png: expected one image for each label file, found a\.txt .*a\.jpg .*rename"
    ):
        open_dataset(root, classes=["car"])


def test_two_formats_in_one_folder_ask_for_a_choice(coco_set):
    """It never guesses."""
    root = coco_set()
    (root / "a.txt").write_text(CORNERS)
    with pytest.raises(DataError, match=r"found .*\(coco\) and a\.txt \(corners\); --format coco or --format corners"):
        open_dataset(root)
    assert len(open_dataset(root, format="coco")) == 2


def test_several_coco_files_ask_for_a_choice(coco_set):
    """Each is named."""
    root = coco_set()
    shutil.copy(root / "_annotations.coco.json", root / "instances_val.json")
    with pytest.raises(DataError, match=r"found _annotations\.coco\.json, instances_val\.json; name the file to read"):
        open_dataset(root)
    shutil.move(root / "instances_val.json", root / "my labels.json")
    assert len(open_dataset(root)) == 2
    (root / "_annotations.coco.json").unlink()
    assert len(open_dataset(root)) == 2


def test_a_json_file_that_is_none_is_named_as_the_mistake(tmp_path):
    """Not "no JSON with images and annotations": where it stops being JSON."""
    (tmp_path / "labels.json").write_text('{"images": [', encoding="utf-8")
    with pytest.raises(
        DataError, match=r"labels\.json: expected COCO, VIA or labelme JSON, found Expecting value: line 1"
    ):
        open_dataset(tmp_path)


def test_what_is_not_recognised_is_a_sentence_with_the_choices(text_set, tmp_path):
    """What was looked for, what was found, and how to say it."""
    root = text_set({"a": "hello", "b": ""})
    (root / "via.json").write_text("{}")
    expected = (
        r"found 2 images, 2 label files without a box line, JSON without images and annotations \(via\.json\).*--unlab"
    )
    with pytest.raises(DataError, match=expected):
        open_dataset(root)
    path = tmp_path / "data.csv"
    path.write_text("")
    with pytest.raises(
        DataError, match=r"data\.csv: expected a folder, a \.json of COCO, VIA .* or a data\.yaml, found another file"
    ):
        open_dataset(path)
    with pytest.raises(DataError, match=r"a\.png: expected a folder.*detq run --unlabelled"):
        open_dataset(root / "images" / "a.png")


def test_opening_reads_no_image(text_set):
    """A set of a million images opens at once; its photos are read one at a time."""
    root = text_set({"a": YOLO})
    (root / "images" / "a.png").write_bytes(b"no image")
    data = open_dataset(root, classes=["car"])
    assert data.identity()
    with pytest.raises(DataError):
        data.load(0)


def test_synthetic_sets_open_by_name():
    """Options of files do not go with them."""
    data = open_dataset("synthetic:traffic?n=2&seed=7&size=320x180")
    assert (len(data), data.classes) == (2, ("car",))
    assert data.load(0).image.shape == (180, 320, 3)
    hidden = open_dataset("synthetic:traffic?n=2&seed=7&size=320x180", unlabelled=True)
    assert hidden.load(0).target is None
    np.testing.assert_array_equal(hidden.load(0).image, data.load(0).image)
    with pytest.raises(DataError, match=r"--map does not go with synthetic:traffic"):
        open_dataset("synthetic:traffic?n=2&seed=7", class_map="car=car")
