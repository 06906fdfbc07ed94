"""COCO JSON."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as oracle

from detq.datasets import open_dataset
from detq.datasets.coco_json import read_coco
from detq.datasets.coco_masks import decode_segmentation
from detq.errors import DataError
from tests.datasets.conftest import coco_content, save_image

CAR = {"id": 1, "image_id": 7, "category_id": 3, "bbox": [4, 2, 10, 8]}


def test_boxes_labels_areas_and_crowds_are_read(coco_set):
    """Images are in the order of their names, category ids become labels from 0."""
    data = open_dataset(coco_set())
    assert data.classes == ("car", "person")
    assert [data.image_id(index) for index in range(2)] == ["a.png", "b.png"]
    assert [data.coco_image_id(index) for index in range(2)] == [3, 7]
    assert data.coco_categories() == {3: "car", 1: "person"}
    assert len(data.target(0)) == 0
    target = data.load(1).target
    np.testing.assert_array_equal(target.boxes, [[4, 2, 14, 10], [0, 0, 5, 5]])
    np.testing.assert_array_equal(target.labels, [0, 1])
    np.testing.assert_array_equal(target.crowd, [False, True])
    np.testing.assert_array_equal(target.areas_px, [50, 25])
    data.check()


@pytest.mark.parametrize("class_map", ["vehicle=3", "vehicle=car"])
def test_a_map_takes_category_ids_and_names(coco_set, class_map):
    """What is left out is counted."""
    data = open_dataset(coco_set(), class_map=class_map)
    data.check()
    assert data.classes == ("vehicle",)
    assert len(data.target(1)) == 1
    assert data.ignored == {"person": 1}
    assert data.coco_categories() == {3: "vehicle"}


def test_boxes_without_an_area_are_left_out_and_counted(coco_set):
    """COCO's own training set has two."""
    data = open_dataset(coco_set(annotations=[CAR, {**CAR, "id": 2, "bbox": [4, 2, 10, 0]}]))
    assert len(data.target(1)) == 1
    assert data.ignored == {"car without area": 1}


@pytest.mark.parametrize("layout", ["images/{}", "val2017/{}", "../val2017/{}", "../images/val2017/{}"])
def test_images_are_found_in_the_usual_places(tmp_path, layout):
    """Beside the JSON, in images/, and in COCO's own layout."""
    folder = tmp_path / "annotations"
    for name in ("a.png", "b.png"):
        save_image(folder / layout.format(name))
    (folder / "instances_val2017.json").write_text(json.dumps(coco_content()))
    assert len(open_dataset(folder / "instances_val2017.json").load(1).target) == 2
    assert len(open_dataset(tmp_path)) == 2


def _turned(coco_set, orientation, size):
    boxes = [CAR, {**CAR, "id": 2, "segmentation": [[4, 2, 14, 2, 14, 10, 4, 10]]}]
    images = [{"id": 7, "file_name": "b.png", "width": size[0], "height": size[1]}]
    root = coco_set(images=images, annotations=boxes[1:])
    exif = Image.Exif()
    exif[274] = orientation
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[2:10, 4:14] = 255
    Image.fromarray(pixels).save(root / "b.png", exif=exif.tobytes())
    data = open_dataset(root)
    data.masks = True
    return data


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_boxes_in_the_stored_frame_turn_with_the_photo(coco_set, orientation):
    """Where width and height are those of the pixels before EXIF rotation; masks turn as well."""
    sample = _turned(coco_set, orientation, (40, 20)).load(0)
    assert (sample.width, sample.height) == (20, 40)
    x1, y1, x2, y2 = sample.target.boxes[0].astype(int)
    assert sample.image[y1:y2, x1:x2].min() == 255
    assert (x2 - x1, y2 - y1) == (8, 10)
    np.testing.assert_array_equal(sample.target.masks[0], sample.image[..., 0] == 255)


def test_boxes_in_the_upright_frame_stay(coco_set):
    """Where width and height are those of the upright photo."""
    sample = _turned(coco_set, 6, (20, 40)).load(0)
    np.testing.assert_array_equal(sample.target.boxes, [[4, 2, 14, 10]])


def test_a_size_that_is_not_the_files_is_a_sentence(coco_set):
    """Boxes for images that were scaled since would all be wrong."""
    data = open_dataset(coco_set(size=(80, 40)))
    for read in (lambda: data.load(0), lambda: data.target(0), data.check):
        with pytest.raises(
            DataError, match=r"image a\.png: expected the file's 80 × 40 pixels, found width 40 and .*;"
        ):
            read()


def test_a_size_that_is_not_given_is_the_files(coco_set):
    """Minimal exports leave it out."""
    images = [{"id": 7, "file_name": "b.png"}]
    assert len(open_dataset(coco_set(images=images)).target(0)) == 2


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{not json", r"expected COCO JSON, found Expecting property name .*; export"),
        ("", r"expected COCO JSON, found an empty file; export"),
        ("[" * 100_000, r"expected COCO JSON, found .*recursion"),
        ("[]", r"expected COCO JSON with the lists images, .*found a list of 0 values; export"),
        ('[{"image_id": 1, "category_id": 1, "score": 1}]', r".*found COCO results, .* go to detq eval --predictions"),
        ("3", r"expected COCO JSON with the lists .*found a lone int; export"),
        (
            '{"images": [], "annotations": []}',
            r"expected COCO JSON .*found a part of COCO JSON without one of the lists images, .*; export all three",
        ),
        ('{"a": {"regions": []}}', r"expected COCO JSON .*found VIA annotations; open it with --format via"),
        ('{"images": [], "annotations": [], "categories": []}', r"expected at least one image, found an empty list;"),
    ],
)
def test_json_of_another_kind_is_a_sentence(coco_set, content, expected):
    """File, expected, found, and what to do."""
    path = coco_set() / "_annotations.coco.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"_annotations\.coco\.json: " + expected):
        open_dataset(path, format="coco")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"image_id": 99}, r"id 1: expected the id of one of the 2 images, found image_id 99; add the image"),
        ({"image_id": [7]}, r"expected the id of one of the 2 images, found image_id \[7\]"),
        ({"category_id": 9}, r"one of the categories 3 \(car\), 1 \(person\), found category_id 9; add the category"),
        ({"category_id": None}, r"found category_id None"),
        ({"bbox": [1, 2, 3]}, r"expected bbox \[x, y, width, height\] of four finite numbers, found \[1, 2, 3\]; corr"),
        ({"bbox": [1, 2, 3, "4"]}, r"four finite numbers, found"),
        ({"bbox": [1, 2, 3, float("nan")]}, r"four finite numbers, found \[1, 2, 3, nan\]"),
        ({"bbox": [1, 2, 3, 10**400]}, r"four finite numbers, found"),
        ({"bbox": None}, r"four finite numbers, found None"),
    ],
)
def test_a_bad_annotation_is_a_sentence(coco_set, change, expected):
    """It names the file and the annotation, and shows when the set is opened."""
    with pytest.raises(DataError, match=r"_annotations\.coco\.json, annotation .*" + expected):
        open_dataset(coco_set(annotations=[{**CAR, **change}]))


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ([30, 2, 30, 8], r"expected a box inside the image of 40 × 20 pixels, found the corners 30, 2, 60, 10"),
        ([10, 2, -5, 8], r"expected x_min ≤ x_max and y_min ≤ y_max, found the corners 10, 2, 5, 10"),
    ],
)
def test_a_box_out_of_place_is_a_sentence(coco_set, box, expected):
    """It names the annotation and its image."""
    data = open_dataset(coco_set(annotations=[{**CAR, "bbox": box}]))
    with pytest.raises(DataError, match=r"annotation id 1 \(image b\.png\): " + expected + ".*; correct or remove"):
        data.check()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"annotations": [CAR, CAR]}, r"expected each annotation id once, found 1 twice"),
        ({"categories": [{"id": 3, "name": "a"}, {"id": 3, "name": "b"}]}, r"each category id once, found 3 twice"),
        ({"images": [{"id": 7, "file_name": "b.png"}] * 2}, r"expected each image id once, found 7 twice"),
        ({"images": [{"id": n, "file_name": "b.png"} for n in (7, 8)]}, r"expected each file_name once, found 'b.png'"),
        ({"images": [{"file_name": "b.png"}]}, r"expected images with an id and a file_name, found"),
        ({"images": [{"id": 7, "file_name": "b.png", "width": "40"}]}, r"expected width and height in whole pixels"),
        ({"categories": [{"id": "x", "name": "car"}]}, r"expected categories with a whole-number id and a name, found"),
        ({"annotations": [3]}, r"annotation number 0: expected image_id, category_id and bbox, found 3"),
        ({"images": [{"id": 7, "file_name": "gone.png"}]}, r"expected image gone\.png beside it or in images/, found"),
    ],
)
def test_bad_tables_are_sentences(coco_set, changes, expected):
    """File, expected, found, and what to do."""
    with pytest.raises(DataError, match=r"_annotations\.coco\.json.*" + expected):
        open_dataset(coco_set(**changes))


def test_an_image_that_is_missing_is_a_sentence(coco_set):
    """Found by the check, before a run."""
    root = coco_set()
    (root / "b.png").unlink()
    with pytest.raises(DataError, match=r"b\.png does not exist; restore it"):
        open_dataset(root).check()


def test_options_that_do_not_go_with_coco_are_refused(coco_set):
    """COCO names its categories itself, and each part has a file of its own."""
    root = coco_set()
    with pytest.raises(DataError, match=r"--classes does not go with .*; leave it out"):
        open_dataset(root, classes=["car"])
    with pytest.raises(DataError, match=r"split=val goes with YOLO's data\.yaml; name the JSON file"):
        open_dataset(root, split="val")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
_ENTRY = st.dictionaries(
    st.sampled_from(
        ["id", "image_id", "category_id", "bbox", "area", "iscrowd", "file_name", "name", "width", "height"]
    ),
    _JSON,
)


@given(st.fixed_dictionaries({key: st.lists(_ENTRY | _JSON, max_size=3) for key in coco_content()}) | _JSON)
def test_no_json_breaks_the_reader(tmp_path_factory, content):
    """Tables, or a sentence that names the file."""
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(content))
    try:
        read_coco(path)
    except DataError as error:
        assert str(path) in str(error)  # noqa: PT017  # not everything is wrong


def _polygon():
    point = st.tuples(st.floats(-2, 42), st.floats(-2, 22))
    return st.lists(point, min_size=3, max_size=8).map(lambda points: [value for xy in points for value in xy])


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning:pycocotools")
@given(st.lists(_polygon(), min_size=1, max_size=3))
def test_polygons_are_filled_as_pycocotools_does(polygons):
    """The oracle of every COCO mask."""
    expected = oracle.decode(oracle.merge(oracle.frPyObjects(polygons, 20, 40)))
    np.testing.assert_array_equal(decode_segmentation(polygons, (40, 20), "a"), expected.astype(bool))


@given(st.lists(st.booleans(), min_size=40 * 20, max_size=40 * 20) | st.just([False] * 800) | st.just([True] * 800))
def test_run_lengths_are_unrolled_as_pycocotools_does(pixels):
    """Compressed text and lists."""
    mask = np.asarray(pixels).reshape(20, 40)
    runs = oracle.encode(np.asfortranarray(mask.astype(np.uint8)))
    text = {"size": [20, 40], "counts": runs["counts"].decode()}
    np.testing.assert_array_equal(decode_segmentation(text, (40, 20), "a"), mask)
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flat]))).tolist()
    counts = np.diff([0, *edges, flat.size]).tolist()
    np.testing.assert_array_equal(decode_segmentation({"size": [20, 40], "counts": counts}, (40, 20), "a"), mask)


@given(_JSON | st.fixed_dictionaries({"size": st.just([20, 40]), "counts": st.text(max_size=20) | _JSON}))
def test_no_segmentation_breaks_the_decoder(segmentation):
    """A mask, or a sentence."""
    try:
        mask = decode_segmentation(segmentation, (40, 20), "annotation 1")
    except DataError as error:
        assert str(error).startswith("annotation 1: expected ")  # noqa: PT017  # not everything is wrong
        return
    assert mask.shape == (20, 40)


def test_masks_are_decoded_when_asked_for(coco_set):
    """Most runs need boxes alone; what has no segmentation is a sentence."""
    square = {**CAR, "segmentation": [[4, 2, 14, 2, 14, 10, 4, 10]]}
    data = open_dataset(coco_set(annotations=[square, {**CAR, "id": 2}, {**square, "id": 3, "image_id": 3}]))
    assert data.target(0).masks is None
    data.masks = True
    mask = pickle.loads(pickle.dumps(data)).target(0).masks  # noqa: S301
    assert mask.shape == (1, 20, 40)
    assert mask[0, 2:10, 4:14].all()
    assert mask.sum() == 80
    with pytest.raises(DataError, match=r"annotation id 2 .*expected a segmentation .*found None; export the masks"):
        data.target(1)


def test_identity_follows_the_annotations(coco_set):
    """A corrected box is another data set."""
    first = open_dataset(coco_set()).identity()
    assert first == open_dataset(coco_set()).identity()
    assert first != open_dataset(coco_set(annotations=[CAR])).identity()
    assert first != open_dataset(coco_set(), class_map="person=car;car=person").identity()
