"""labelme files as a data set."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from detq.datasets import open_dataset
from detq.errors import DataError
from tests.datasets.conftest import save_image

SQUARE = {"label": "car", "points": [[4, 2], [14, 2], [14, 12], [4, 12]], "shape_type": "polygon", "group_id": None}


def _file(image="a.png", shapes=(SQUARE,), **more):
    content = {"version": "5.5.0", "flags": {}, "shapes": list(shapes), "imagePath": image, "imageData": None}
    return content | {"imageHeight": 20, "imageWidth": 40} | more


@pytest.fixture
def labelme_set(tmp_path):
    """Make a folder of images, 40 × 20, with the given files: name -> content."""

    def make(files, images=("a.png",)):
        root = tmp_path / "set"
        for image in images:
            save_image(root / image)
        for name, content in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return root

    return make


def test_shapes_are_read(labelme_set):
    """Recognised by its content; polygons and rectangles, a class each."""
    other = {"label": "bus", "points": [[14, 10], [4, 2]], "shape_type": "rectangle"}
    data = open_dataset(labelme_set({"a.json": _file(shapes=[SQUARE, other])}))
    data.masks = True
    target = data.target(0)
    assert data.classes == ("bus", "car")
    np.testing.assert_array_equal(target.boxes, [[4, 2, 14, 12], [4, 2, 14, 10]])
    assert target.masks.sum(axis=(1, 2)).tolist() == [100, 80]
    assert len(open_dataset(labelme_set({}) / "a.json")) == 1


def test_shapes_of_one_group_are_one_object(labelme_set):
    """As labelme's own conversion to COCO has it: one label and group_id."""
    second = {**SQUARE, "points": [[20, 2], [24, 2], [24, 4]]}
    shapes = [{**SQUARE, "group_id": 1}, {**second, "group_id": 1}, {**second, "group_id": 1, "label": "bus"}]
    target = open_dataset(labelme_set({"a.json": _file(shapes=shapes)})).target(0)
    np.testing.assert_array_equal(target.boxes, [[4, 2, 24, 12], [20, 2, 24, 4]])
    np.testing.assert_array_equal(target.areas_px, [104, 4])


def test_a_mask_is_pixels_between_two_points(labelme_set):
    """Both included, as a PNG in base64."""
    stream = io.BytesIO()
    Image.fromarray(np.eye(4, dtype=np.uint8) * 255).save(stream, format="PNG")
    text = base64.b64encode(stream.getvalue()).decode()
    shape = {"label": "car", "shape_type": "mask", "points": [[5, 6], [8, 9]], "mask": text}
    data = open_dataset(labelme_set({"a.json": _file(shapes=[shape])}))
    data.masks = True
    target = data.target(0)
    np.testing.assert_array_equal(target.boxes, [[5, 6, 9, 10]])
    np.testing.assert_array_equal(target.masks[0, 6:10, 5:9], np.eye(4, dtype=bool))
    assert target.areas_px.tolist() == [4]
    root = labelme_set({"a.json": _file(shapes=[{**shape, "points": [[38, 6], [41, 9]]}])})
    with pytest.raises(DataError, match=r"shape 0: expected a mask of 4 × 4 pixels inside the image of 40 × 20, found"):
        open_dataset(root).check()
    root = labelme_set({"a.json": _file(shapes=[{**shape, "mask": "no"}])})
    with pytest.raises(DataError, match=r"shape 0: expected a PNG in base64 for mask, found .*; correct the shape"):
        open_dataset(root).check()


@pytest.mark.parametrize(
    ("json_name", "image_path", "image"),
    [
        ("json/a.json", "..\\pictures\\a.png", "pictures/a.png"),
        ("annotations/a.json", "a.png", "images/a.png"),
        ("a.json", "C:\\Users\\me\\a.png", "a.png"),
        ("renamed.json", "a.png", "renamed.PNG"),
    ],
)
def test_images_are_found_where_tools_put_them(labelme_set, json_name, image_path, image):
    """By the path in the file, with backslashes too; in images/; by the name of the JSON."""
    data = open_dataset(labelme_set({json_name: _file(image_path)}, images=[image]), format="labelme")
    assert [data.image_id(index) for index in range(len(data))] == [image]
    data.check()


def test_images_without_a_file_are_background_if_one_says_so(labelme_set):
    """Forgetting to annotate and having nothing to annotate are different things."""
    root = labelme_set({"a.json": _file()}, images=["a.png", "b.png"])
    with pytest.raises(DataError, match=r"b\.png: expected a labelme file for each image, found 1 images without; add"):
        open_dataset(root)
    data = open_dataset(root, allow_unlabelled=True)
    assert [len(data.target(index)) for index in range(2)] == [1, 0]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"a.json": "{"}, r"a\.json: expected labelme JSON, found Expecting property name"),
        (
            {"a.json": _file(), "b.json": {"x": 1}},
            r"b\.json: expected labelme JSON with shapes and imagePath, found an obj",
        ),
        (
            {"a.json": _file(), "b.json": _file()},
            r"expected each image once, found a\.png twice, in .*a\.json and .*b\.json",
        ),
        ({"a.json": _file(7)}, r"a\.json: expected the image's path in imagePath, found 7; fill it in"),
        ({"c.json": _file("gone.png"), "a.json": _file()}, r"image .*gone\.png does not exist; restore it"),
        (
            {"a.json": _file(imageWidth=80)},
            r"image a\.png: expected the file's 40 × 20 pixels, found width 80 and height 20",
        ),
        ({"a.json": _file(imageWidth="x")}, r"a\.json: expected numbers for imageWidth and imageHeight, found 'x'"),
        (
            {"a.json": _file(shapes=[{**SQUARE, "points": 3}])},
            r"shape 0: expected points as a list of \[x, y\], found 3",
        ),
        ({"a.json": _file(shapes=[SQUARE, {**SQUARE, "label": ""}])}, r"shape 1: expected a class at label, found ''"),
        ({}, r"expected labelme files \(\*\.json\), found none; check the path"),
    ],
)
def test_bad_files_are_sentences(labelme_set, files, expected):
    """File, expected, found, and what to do."""
    with pytest.raises(DataError, match=expected):
        open_dataset(labelme_set(files), format="labelme", allow_unlabelled=True).check()


_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
_SHAPE = st.fixed_dictionaries(
    {},
    optional={
        "label": st.just("car") | _VALUE,
        "points": st.lists(st.lists(st.floats(0, 20), min_size=2, max_size=2), max_size=5) | _VALUE,
        "shape_type": st.sampled_from(["polygon", "rectangle", "circle", "mask", "line", "oriented_rectangle"])
        | _VALUE,
        "group_id": st.integers(0, 1) | _VALUE,
        "flags": _VALUE,
        "mask": _VALUE,
    },
)


@given(st.lists(_SHAPE | _VALUE, max_size=3) | _VALUE, _VALUE, _VALUE)
def test_no_file_breaks_the_reader(tmp_path_factory, shapes, width, image):
    """Annotations, or a sentence that names the file."""
    root = tmp_path_factory.getbasetemp() / "any-labelme"
    save_image(root / "a.png")
    (root / "a.json").write_text(json.dumps(_file(image, imageWidth=width) | {"shapes": shapes}))
    try:
        open_dataset(root, format="labelme").check()
    except DataError as error:
        assert str(root) in str(error)  # noqa: PT017  # not everything is wrong
