"""Converting: what comes out, what is accounted for, and that nothing is half-written."""

from __future__ import annotations

import json
import shutil
import time

import numpy as np
import pytest
import yaml
from PIL import Image

from detq.convert import MODES, TARGETS, convert, find_target
from detq.datasets import FORMATS, open_dataset
from detq.errors import DataError, OutputError, UnknownNameError
from detq.targets import resolve
from tests.conftest import ROOT
from tests.convert.conftest import via_image, via_region
from tests.datasets.conftest import save_image

CAR = {"kind": "car"}
FROM = {"category_from": "region_attributes.kind"}


def _car(**shape):
    return via_region(shape.pop("name", "polygon"), CAR, **shape)


def test_every_target_can_be_written():
    """One list: the command line, the tests and the documentation enumerate it."""
    assert len({spec.name for spec in TARGETS}) == len(TARGETS)
    assert all(callable(resolve(spec.target)) for spec in TARGETS)
    with pytest.raises(UnknownNameError, match=r"unknown --to format 'cocoo'; did you mean coco\?"):
        find_target("cocoo")


def test_every_target_is_documented():
    """In the help and in the README."""
    readme = (ROOT / "README.md").read_text("utf-8")
    source = (ROOT / "detq/cli/convert.py").read_text("utf-8")
    assert all(f"`{spec.name}`" in readme for spec in (*TARGETS, *FORMATS) if spec.name not in ("images", "synthetic"))
    assert f'"{", ".join(spec.name for spec in TARGETS[:-1])} or {TARGETS[-1].name}."' in source


def test_coco_has_polygons_boxes_areas_and_sizes(via_set, to_coco):
    """Sizes come from the files; ids start at 1; a whole number has no fraction."""
    content, summary = to_coco(via_set(None, regions=[_car()]), **FROM)
    assert content["images"] == [{"id": 1, "file_name": "a.png", "width": 40, "height": 20}]
    assert content["categories"] == [{"id": 1, "name": "car"}]
    assert content["annotations"] == [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 1,
            "bbox": [4, 2, 10, 10],
            "area": 100,
            "iscrowd": 0,
            "segmentation": [[4, 2, 14, 2, 14, 12, 4, 12]],
        }
    ]
    assert (summary.images.written, summary.annotations.written, summary.categories.written) == (1, 1, 1)
    assert not summary.dropped


def test_what_else_the_file_says_is_kept(via_set, to_coco):
    """Other attributes of regions and images, in COCO's `attributes`."""
    content, _ = to_coco(
        via_set(
            via_image(regions=[via_region(attributes={"kind": "car", "occluded": "yes"})], file_attributes={"w": 1})
        ),
        **FROM,
    )
    assert content["annotations"][0]["attributes"] == {"occluded": "yes"}
    assert content["images"][0]["attributes"] == {"w": 1}


def test_photos_that_exif_turns_have_the_upright_size(via_set, to_coco):
    """VIA shows them upright, so that is the frame of its regions."""
    root = via_set(None, regions=[_car(all_points_x=[1, 19, 19], all_points_y=[1, 1, 39])])
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (40, 20)).save(root / "a.png", exif=exif.tobytes())
    content, _ = to_coco(root, **FROM)
    assert (content["images"][0]["width"], content["images"][0]["height"]) == (20, 40)


def test_coco_in_the_stored_frame_turns_with_the_photo(coco_set, to_coco):
    """Polygons, boxes and run lengths, where width and height are those of the pixels before EXIF rotation."""
    car = {"image_id": 7, "category_id": 3, "bbox": [4, 2, 10, 8]}
    square = [[4, 2, 14, 2, 14, 10, 4, 10]]
    mask = np.zeros((20, 40), bool)
    mask[2:10, 4:14] = True
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask.ravel(order="F")])))
    runs = {"size": [20, 40], "counts": np.diff([0, *edges, mask.size]).tolist()}
    given = [{**car, "id": 1}, {**car, "id": 2, "segmentation": square}, {**car, "id": 3, "segmentation": runs}]
    root = coco_set(images=[{"id": 7, "file_name": "b.png", "width": 40, "height": 20}], annotations=given)
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (40, 20)).save(root / "b.png", exif=exif.tobytes())
    content, _ = to_coco(root)
    assert [entry["bbox"] for entry in content["annotations"]] == [[10, 4, 8, 10]] * 3
    assert [entry["area"] for entry in content["annotations"]] == [80] * 3


def test_coco_is_normalised(coco_set, to_coco):
    """Ids stay but annotation id 0, which pycocotools takes for no match; names of two categories become one."""
    given = [
        {"id": 0, "image_id": 7, "category_id": 3, "bbox": [4, 2, 10, 8], "segmentation": [], "keypoints": [1, 2, 2]},
        {"id": 9, "image_id": 7, "category_id": 9, "bbox": [0, 0, 5, 5], "area": 7.5},
    ]
    categories = [
        {"id": 3, "name": "car, red", "supercategory": "vehicle"},
        {"id": 9, "name": "car, red"},
        {"id": 40, "name": "naïve 車"},
    ]
    root = coco_set(annotations=given, categories=categories, info={"year": 2024}, licenses=[])
    content, summary = to_coco(root)
    assert content["info"] == {"year": 2024}
    assert [(c["id"], c["name"]) for c in content["categories"]] == [(3, "car, red"), (40, "naïve 車")]
    assert content["categories"][0]["supercategory"] == "vehicle"
    assert [(a["id"], a["category_id"], a["area"]) for a in content["annotations"]] == [(1, 3, 80), (2, 3, 7.5)]
    assert content["annotations"][0]["keypoints"] == [1, 2, 2]
    assert [image["id"] for image in content["images"]] == [3, 7]
    assert sorted(summary.notes, reverse=True) == [
        "categories of one name are merged: car, red",
        "annotation ids are numbered anew from 1: pycocotools takes 0 for no match",
    ]
    assert (summary.categories.read, summary.categories.written) == (3, 2)


def test_yolo_with_polygons_corners_and_voc_come_in(text_set, tmp_path, to_coco):
    """Polygon lines stay polygons; a box is no mask, so its segmentation is empty."""
    root = text_set({"a": "0 0.1 0.1 0.35 0.1 0.35 0.5 0.1 0.5\n1 0.5 0.5 0.5 0.5\n"})
    content, summary = to_coco(root, classes=["car", "bus"])
    assert content["annotations"][0]["segmentation"] == [pytest.approx([4, 2, 14, 2, 14, 10, 4, 10])]
    assert content["annotations"][1]["segmentation"] == []
    assert content["annotations"][1]["bbox"] == [10, 5, 20, 10]
    assert summary.shapes == {"polygons": 1, "boxes alone": 1}
    save_image(tmp_path / "corners/a.png")
    (tmp_path / "corners/a.txt").write_text("traffic light 4 2 14 10\r\n", encoding="utf-8-sig")
    convert(open_dataset(tmp_path / "corners"), "coco", tmp_path / "from-corners")
    assert open_dataset(tmp_path / "from-corners").classes == ("traffic light",)


def test_class_numbers_without_names_count_as_categories(text_set, to_coco):
    """Which classes there are is known from the labels alone where --map chooses them by number."""
    _, summary = to_coco(
        text_set({"a": "0 0.5 0.5 0.5 0.5\n4 0.5 0.5 0.2 0.2\n"}), class_map="car=0,4", allow_unlabelled=True
    )
    assert (summary.categories.read, summary.categories.written) == (2, 1)


def test_crlf_and_a_byte_order_mark_do_no_harm(via_set, to_coco):
    """Windows writes them."""
    text = json.dumps(via_image(regions=[_car()]), indent=1).replace("\n", "\r\n")
    content, _ = to_coco(via_set(text.encode("utf-8-sig")), **FROM)
    assert len(content["annotations"]) == 1


def test_what_is_left_out_is_named_with_the_reason(via_set, to_coco):
    """By the class map, without an area, and invalid if one says so."""
    small = _car(all_points_x=[1, 1.1, 1.1], all_points_y=[1, 1, 1.1])
    outside = _car(name="rect", x=30, y=2, width=20, height=5)
    regions = [_car(), small, via_region(attributes={"kind": "bus"}), _car(name="point", cx=1, cy=2), outside]
    options = {**FROM, "class_map": "vehicle=car"}
    root = via_set(None, regions=regions)
    with pytest.raises(DataError, match=r"via\.json, image a\.png, region 3: expected a shape .*found a point"):
        to_coco(root, **options)
    _, summary = to_coco(root, skip_invalid=True, **options)
    assert (summary.annotations.read, summary.annotations.written) == (5, 2)
    reasons = [(entry.where.rpartition(", ")[2], entry.reason.partition(",")[0]) for entry in summary.dropped]
    assert reasons[:2] == [("region 1", "covers no pixel"), ("region 2", "class bus is not in --map")]
    assert "region 3: expected a shape with an inside, found a point" in summary.dropped[2].reason
    assert list(summary.changed) == ["rects that became polygons of their four corners", "clipped to the image"]
    assert summary.annotations.read == summary.annotations.written + len(summary.dropped)


@pytest.mark.parametrize("to", [spec.name for spec in TARGETS])
def test_shapes_that_become_polygons_are_named_and_counted(via_set, tmp_path, to):
    """Whatever the target; a part of an object counts too, and a polygon is what it was."""
    corners = {"all_points_x": [1, 9, 9, 1], "all_points_y": [1, 1, 9, 1]}
    regions = [
        _car(),
        _car(name="rect", x=3, y=2, width=20, height=5),
        _car(name="rect", x=3, y=9, width=20, height=5),
        _car(name="circle", cx=9, cy=9, r=5),
        via_region("ellipse", {"kind": "car", "part_of": "1"}, cx=9, cy=9, rx=5, ry=3),
        via_region("ellipse", {"kind": "car", "part_of": "1"}, cx=25, cy=9, rx=5, ry=3),
        _car(name="polyline", **corners),
        _car(name="circle", cx=9, cy=9, r=0.01),
    ]
    summary = convert(open_dataset(via_set(None, regions=regions), **FROM), to, tmp_path / "out")
    became = " that became polygons"
    counted = {text.partition(became)[0]: len(places) for text, places in summary.changed.items() if became in text}
    assert counted == {"rects": 2, "circles": 1, "ellipses": 2, "closed polylines": 1}
    assert "covers no pixel" in summary.dropped[0].reason


def test_many_problems_are_listed_together(via_set, to_coco):
    """The first ten, how many there are, and how to go on without them."""
    root = via_set(None, regions=[_car(name="point", cx=1, cy=2)] * 12 + [_car()])
    with pytest.raises(DataError) as caught:
        to_coco(root, **FROM)
    assert "has 12 problems; correct them, or leave out what is named here with --skip-invalid:\n" in str(caught.value)
    assert str(caught.value).endswith("\n  and 2 more")
    assert str(caught.value).count("found a point") == 10


def test_an_annotation_for_a_missing_image_is_a_sentence(via_set, to_coco):
    """Or the image is left out by name, and its annotations are counted."""
    root = via_set(via_image(regions=[_car()]) | via_image("b.png", [_car()]) | via_image("gone.png", [_car()]))
    with pytest.raises(
        DataError, match=r"image .*gone\.png does not exist; restore it, or remove it from the data set"
    ):
        to_coco(root, **FROM)
    content, summary = to_coco(root, skip_invalid=True, **FROM)
    assert [image["file_name"] for image in content["images"]] == ["a.png", "b.png"]
    found = [(one.what, one.where, one.reason.partition(" gone")[0]) for one in summary.dropped]
    assert found[0][:2] == ("image", "gone.png")
    assert found[1:] == [("annotation", "image gone.png", "its image is left out")]
    assert (summary.images.read, summary.annotations.read, summary.annotations.written) == (3, 3, 2)


def test_annotations_of_a_damaged_image_are_counted(coco_set, text_set, to_coco, tmp_path):
    """Of COCO and of label files: what went in is what came out and what was left out."""
    roots = coco_set(), text_set({"a": "car 1 1 9 9\n", "b": "car 1 1 9 9\n\nbus 2 2 8 8\n"})
    for root, image in zip(roots, ("b.png", "images/b.png"), strict=True):
        (root / image).write_bytes(b"no image")
        _, summary = to_coco(root, skip_invalid=True, allow_unlabelled=True)
        shutil.rmtree(tmp_path / "out")
        assert [one.what for one in summary.dropped] == ["image", "annotation", "annotation"]
        assert summary.annotations.read == summary.annotations.written + 2


def test_a_set_without_annotations_is_a_sentence(via_set, to_coco):
    """Unless background is what one wants."""
    root = via_set(via_image() | via_image("b.png"))
    with pytest.raises(DataError, match=r"expected annotations, found 2 images without any; annotate them, or convert"):
        to_coco(root)
    content, _ = to_coco(root, allow_unlabelled=True)
    assert (len(content["images"]), content["annotations"], content["categories"]) == (2, [], [])


@pytest.mark.parametrize("images", list(MODES))
@pytest.mark.parametrize("to", [spec.name for spec in TARGETS])
@pytest.mark.parametrize("split", [None, 0.5])
def test_the_result_opens_wherever_the_images_are(via_set, tmp_path, images, to, split):
    """Copied, linked, or left where they are; whole or in parts, which together are all."""
    root = via_set(via_image(regions=[_car()]) | via_image("b.png", [_car()]))
    before = sorted(path.name for path in root.iterdir())
    summary = convert(open_dataset(root, **FROM), to, tmp_path / "deep/out", split=split, images=images)
    assert [part.name for part in summary.parts] == ([""] if split is None else ["train", "valid"])
    if to == "yolo" and images == "none":  # the format itself has no place for a way to the images
        assert "put them there" in summary.notes[-1]
        return
    names = []
    for part in summary.parts:
        data = open_dataset(part.opens)
        data.masks = to != "yolo"
        data.check()
        assert data.classes == ("car",)
        assert sum(len(data.target(index)) for index in range(len(data))) == part.annotations == part.images
        names += [data.image_id(index).rpartition("/")[2] for index in range(len(data))]
    assert sorted(names) == ["a.png", "b.png"]
    placed = list((tmp_path / "deep/out").rglob("*.png"))
    assert len(placed) == (0 if images == "none" else 2)
    assert all(path.is_symlink() == (images == "link") for path in placed)
    assert sorted(path.name for path in root.iterdir()) == before


def test_the_split_is_by_image_and_repeats(via_set, tmp_path):
    """The same seed chooses the same images, whatever their order in the file; ids stay unique in both parts."""
    for number in range(10):
        save_image(tmp_path / "via" / f"{number}.png")
    images = {}
    for number in range(10):
        images |= via_image(f"{number}.png", [_car(), _car()])
    found = []
    for run, entries in enumerate((images, dict(reversed(images.items())))):
        root = via_set(entries)
        out = tmp_path / str(run)
        convert(open_dataset(root, **FROM), "coco", out, split=0.8, seed=3)
        train, valid = (json.loads((out / f"{part}.json").read_text()) for part in ("train", "valid"))
        assert (len(train["images"]), len(valid["images"])) == (8, 2)
        assert len({a["id"] for a in train["annotations"] + valid["annotations"]}) == 20
        found.append([image["file_name"] for image in valid["images"]])
    assert found[0] == found[1]
    other = convert(open_dataset(root, **FROM), "yolo", tmp_path / "yolo", split=0.8, seed=4)
    assert yaml.safe_load((tmp_path / "yolo/data.yaml").read_text()) == {
        "path": ".",
        "train": "images/train",
        "val": "images/valid",
        "names": {0: "car"},
    }
    assert [part.images for part in other.parts] == [8, 2]


@pytest.mark.parametrize(("split", "expected"), [(1.0, "between 0 and 1 such as 0.8, found 1"), (-1, "found -1")])
def test_a_share_that_is_none_is_a_sentence(via_set, to_coco, split, expected):
    """Nothing is written."""
    with pytest.raises(DataError, match="--split: expected the share to train on, .*" + expected):
        to_coco(via_set(via_image(regions=[_car()]) | via_image("b.png")), split=split, **FROM)
    with pytest.raises(DataError, match="--split: expected at least 2 images to divide, found 1; leave --split out"):
        to_coco(via_set(None, regions=[_car()]), split=0.5, **FROM)


def _everything_below(folder):
    return sorted(str(path) for path in folder.rglob("*"))


@pytest.mark.parametrize("to", [spec.name for spec in TARGETS])
def test_nothing_is_written_when_something_is_wrong(via_set, tmp_path, monkeypatch, to):
    """Neither by a mistake in the annotations, nor by one that shows while writing."""
    root = via_set(None, regions=[_car(), _car(name="point", cx=1, cy=2)])
    before = _everything_below(tmp_path)
    with pytest.raises(DataError):
        convert(open_dataset(root, **FROM), to, tmp_path / "out")
    assert _everything_below(tmp_path) == before

    def full(*_arguments):
        raise OSError(28, "No space left on device")

    def interrupted(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("shutil.copyfile", interrupted)
    with pytest.raises(KeyboardInterrupt):
        convert(open_dataset(root, **FROM), to, tmp_path / "out", skip_invalid=True)
    assert _everything_below(tmp_path) == before
    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(OutputError, match=r"cannot write .*out: No space left on device; free some space"):
        convert(open_dataset(root, **FROM), to, tmp_path / "out", skip_invalid=True)
    assert _everything_below(tmp_path) == before


def test_a_folder_that_holds_something_is_not_touched(via_set, tmp_path):
    """An empty one is as good as none."""
    root = via_set(None, regions=[_car()])
    data = open_dataset(root, **FROM)
    with pytest.raises(OutputError, match=r"--out .*via: expected a new or empty folder, found other files; choose"):
        convert(data, "coco", root)
    with pytest.raises(OutputError, match=r"via\.json: expected a folder, found a file"):
        convert(data, "coco", root / "via.json")
    (tmp_path / "empty").mkdir()
    convert(data, "coco", tmp_path / "empty")
    assert len(open_dataset(tmp_path / "empty")) == 1
    with pytest.raises(UnknownNameError, match=r"unknown --images 'move'"):
        convert(data, "coco", tmp_path / "other", images="move")


def test_names_cannot_lead_out_of_the_result(tmp_path):
    """Not even if the export names files above its folder; two that would become one are a sentence."""
    root = tmp_path / "set"
    for folder in ("", "deep/"):
        save_image(root / folder / "x.png")
    (root / "deep/via.json").write_text(json.dumps(via_image("../x.png", [_car()])))
    convert(open_dataset(root / "deep", **FROM), "coco", tmp_path / "out")
    assert (tmp_path / "out/images/x.png").is_file()
    (root / "deep/via.json").write_text(json.dumps(via_image("../x.png", [_car()]) | via_image("x.png", [_car()])))
    with pytest.raises(DataError, match=r"image names that differ in one folder, found \.\./x\.png and x\.png; rename"):
        convert(open_dataset(root / "deep", **FROM), "coco", tmp_path / "second")


@pytest.mark.parametrize("to", ["coco", "via", "labelme"])
def test_what_no_file_can_hold_is_a_sentence(coco_set, tmp_path, to):
    """Half a character, which JSON can escape and UTF-8 cannot write; a number that is none."""
    car = {"id": 1, "image_id": 7, "category_id": 3, "bbox": [4, 2, 10, 8]}
    root = coco_set(annotations=[car], categories=[{"id": 3, "name": "car \ud800"}])
    with pytest.raises(DataError, match=r"expected names that UTF-8 can write, found .*car \\ud800"):
        convert(open_dataset(root), to, tmp_path / "out")
    root = coco_set(annotations=[{**car, "score": float("nan")}])
    with pytest.raises(DataError, match=r"numbers that JSON has, found NaN or infinity at .*score; correct or remove"):
        convert(open_dataset(root), to, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_images_without_annotation_files_are_a_sentence(tmp_path, text_set):
    """Rendered scenes, unlabelled folders."""
    for data in (open_dataset("synthetic:traffic?n=1&seed=7"), open_dataset(text_set({"a": None}), unlabelled=True)):
        with pytest.raises(DataError, match=r"expected annotation files to convert, found images without; name a lab"):
            convert(data, "coco", tmp_path / "out")


def test_a_result_behind_a_link_finds_images_left_where_they_are(via_set, tmp_path):
    """And the empty folder that one stands in will do."""
    root = via_set(None, regions=[_car()])
    (tmp_path / "far/away").mkdir(parents=True)
    (tmp_path / "near").symlink_to(tmp_path / "far/away")
    convert(open_dataset(root, **FROM), "coco", tmp_path / "near/out", images="none")
    (image,) = json.loads((tmp_path / "near/out/annotations.json").read_text())["images"]
    assert (tmp_path / "near/out" / image["file_name"]).is_file()
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    convert(open_dataset(root, **FROM), "coco", tmp_path / "link")
    open_dataset(tmp_path / "link").check()


@pytest.mark.parametrize("to", ["labelme", "yolo"])
def test_images_that_would_share_an_annotation_file_are_a_sentence(tmp_path, to):
    """a.png and a.jpg, of which COCO makes nothing."""
    for name in ("a.png", "a.jpg"):
        save_image(tmp_path / "set" / name)
    (tmp_path / "set/via.json").write_text(json.dumps(via_image("a.png", [_car()]) | via_image("a.jpg", [_car()])))
    data = open_dataset(tmp_path / "set", **FROM)
    with pytest.raises(DataError, match=r"found a\.(json|txt) to be that of a\.jpg and of a\.png; rename one of them"):
        convert(data, to, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    convert(data, "coco", tmp_path / "out")


def test_what_a_format_cannot_say_is_in_the_summary(coco_set, tmp_path):
    """YOLO has no crowds, no attributes, no supercategories; VIA has no list of categories."""
    given = [
        {"id": 1, "image_id": 7, "category_id": 3, "bbox": [4, 2, 10, 8], "attributes": {"lane": 2}, "score": 0.5},
        {"id": 2, "image_id": 7, "category_id": 3, "bbox": [4, 2, 10, 8], "iscrowd": 1},
    ]
    data = open_dataset(coco_set(annotations=given, info={"year": 2024}))
    yolo = convert(data, "yolo", tmp_path / "yolo")
    assert [(entry.what, entry.reason) for entry in yolo.dropped] == [("annotation", "crowd: yolo has no word for it")]
    assert yolo.dropped[0].where.endswith("annotation id 2 (image b.png)")
    assert yolo.not_carried == {"info": 1, "annotations.attributes.lane": 1, "annotations.score": 1}
    via = convert(data, "via", tmp_path / "via")
    assert [(entry.what, entry.where) for entry in via.dropped] == [("category", "person")]
    assert (via.categories.read, via.categories.written) == (2, 1)


def test_a_huge_line_is_quick(tmp_path):
    """20 MB of VIA on one line: seconds, of which reading the JSON is the least."""
    save_image(tmp_path / "set/a.png", (2000, 2000))
    circle = np.linspace(0, 6.28, 300)
    xs, ys = (np.round(1000 + 900 * f(circle), 6).tolist() for f in (np.cos, np.sin))
    regions = [via_region(attributes=CAR, all_points_x=xs, all_points_y=ys)] * 3000
    text = json.dumps(via_image(regions=regions))
    assert len(text) > 20_000_000
    (tmp_path / "set/via.json").write_text(text)
    start = time.perf_counter()
    summary = convert(open_dataset(tmp_path / "set", **FROM), "coco", tmp_path / "out")
    assert summary.annotations.written == 3000
    assert time.perf_counter() - start < 30
