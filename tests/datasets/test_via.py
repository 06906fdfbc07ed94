"""VIA JSON as a data set."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from detq.convert import convert
from detq.datasets import open_dataset
from detq.errors import DataError
from tests.convert.conftest import via_image, via_region

CAR = {"Clases": "Vehículo"}
SQUARE = via_region(attributes=CAR)


@pytest.fixture
def via_set(tmp_path):
    """Make a folder of a.png and b.png, 40 × 20, with `via.json`."""

    def make(content):
        root = tmp_path / "via"
        root.mkdir(exist_ok=True)
        for name in ("a.png", "b.png"):
            Image.new("RGB", (40, 20)).save(root / name)
        (root / "via.json").write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return root

    return make


def _opened(root, path="region_attributes.Clases", **options):
    return open_dataset(root, category_from=path, **options)


@pytest.mark.parametrize(
    "content",
    [
        via_image(regions=[SQUARE]),
        via_image(regions=[]) | {"a.png123": {**via_image()["a.png123"], "regions": {"0": SQUARE}}},
        {"_via_settings": {}, "_via_img_metadata": via_image(regions=[SQUARE]), "_via_attributes": {}},
    ],
    ids=["2.x", "1.x", "project"],
)
def test_each_version_of_via_opens(via_set, content):
    """Regions as a list, as an object, in a project file; images beside it that it does not name are not in the set."""
    data = pickle.loads(pickle.dumps(_opened(via_set(content))))  # noqa: S301
    assert (len(data), data.classes, data.image_id(0)) == (1, ("Vehículo",), "a.png")
    assert data.has_masks
    data.masks = True
    target = data.load(0).target
    np.testing.assert_array_equal(target.boxes, [[4, 2, 14, 12]])
    np.testing.assert_array_equal(target.areas_px, [100])
    assert target.masks[0, 2:12, 4:14].all()
    assert target.masks.sum() == 100


def test_options_in_the_path_choose_the_class(via_set):
    """As on a command line."""
    root = via_set(via_image(regions=[SQUARE, via_region()]))
    assert open_dataset(f"{root}?category=balloon").classes == ("balloon",)
    both = open_dataset(f"{root}?category_from=region_attributes.Clases&category=other")
    assert both.classes == ("Vehículo", "other")
    assert both.target(0).labels.tolist() == [0, 1]
    mapped = open_dataset(f"{root}?category_from=region_attributes.Clases&category=other&map=car=Vehículo")
    assert (len(mapped.target(0)), mapped.ignored) == (1, {"other": 1})
    assert both.identity() != open_dataset(f"{root}?category=balloon").identity()


def test_parts_of_one_object_are_one_object(via_set):
    """Regions of one class that share `part_of`; `iscrowd` is COCO's."""
    parts = [via_region("rect", {"category": "car", "part_of": "1"}, x=x, y=1, width=5, height=5) for x in (1, 20)]
    crowd = via_region(attributes={"category": "car", "iscrowd": "1"})
    target = open_dataset(via_set(via_image(regions=[*parts, crowd]))).target(0)
    np.testing.assert_array_equal(target.boxes, [[1, 1, 25, 6], [4, 2, 14, 12]])
    np.testing.assert_array_equal(target.areas_px, [50, 100])
    np.testing.assert_array_equal(target.crowd, [False, True])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({}, r"via\.json: expected at least one image, found an empty export; export the annotations again"),
        ({"_via_img_metadata": {}}, r"via\.json: expected at least one image, found an empty export"),
        (
            '{"a.png123": {"filename": "a.png", "regions": [',
            r"via\.json: expected VIA JSON, found Expecting value: line 1",
        ),
        (
            '{"a.png1": {"filename": "a.png", "regions": []}, "a.png1": {"filename": "a.png", "regions": []}}',
            r"via\.json: expected each key of an object once, found 'a\.png1' twice; rename or remove one",
        ),
        (
            via_image(regions=[SQUARE]) | {"a.png9": via_image()["a.png123"]},
            r"expected each image once, found a\.png twice, in a\.png123 and a\.png9; join their annotations or remove",
        ),
        (
            via_image(regions=[SQUARE, via_region(attributes={"colour": "red"})]),
            r"at region_attributes\.kind in its 2 annotations, .* there is region_attributes\.Clases \(Vehículo\), r",
        ),
        (
            via_image(regions=[via_region()]),
            r"found it in none; there is no attribute at all; choose .* or give all one class with --category NAME",
        ),
        (via_image("gone.png", [SQUARE]), r"via\.json: expected image gone\.png beside it or in images/, found none"),
        (
            {"a": {"filename": 3, "regions": []}},
            r"image 'a': expected its file's name in filename, found 3; fill it in",
        ),
        ({"a": {"filename": "a.png", "regions": 3}}, r"image a\.png: expected regions as a list or an object, found 3"),
        ({"type": "FeatureCollection", "features": []}, r"expected VIA JSON, found GeoJSON, whose coordinates are no"),
    ],
)
def test_what_cannot_be_opened_is_a_sentence(via_set, content, expected):
    """File, expected, found, and what to do."""
    with pytest.raises(DataError, match=expected):
        open_dataset(via_set(content), format="via", category_from="region_attributes.kind")


@pytest.mark.parametrize(
    ("region", "expected"),
    [
        (
            via_region(attributes={}),
            r"image a\.png, region 1: expected a class at region_attributes\.Clases, found noth",
        ),
        ({"region_attributes": CAR}, r"region 1: expected shape_attributes, found None; correct the region"),
        (via_region("point", CAR, cx=3, cy=4), r"region 1: expected a shape with an inside, found a point"),
        (
            via_region(attributes=CAR, all_points_x=[4, 9, 4], all_points_y=[2, 3, 2]),
            r"region 1: expected a polygon of at least 3 different points, found 2 among 3 points \(4, 2\) \(9, 3\)",
        ),
        (
            via_region("rect", CAR, x=30, y=2, width=20, height=5),
            r"region 1: expected a box inside the image of 40 × 20 pixels, found the corners 30, 2, 50, 7 .* clip it",
        ),
        (
            {**SQUARE, "region_attributes": ["car"]},
            r"region 1: expected a class at region_attributes\.Clases, found noth",
        ),
        (3, r"region 1: expected a class at region_attributes\.Clases, found nothing"),
    ],
)
def test_a_bad_region_is_a_sentence(via_set, region, expected):
    """It names file, image and region, and shows in the check before a run."""
    with pytest.raises(DataError, match=r"via\.json, .*" + expected):
        _opened(via_set(via_image(regions=[SQUARE, region]))).check()


_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
_SHAPE = st.dictionaries(
    st.sampled_from(
        ["all_points_x", "all_points_y", "x", "y", "width", "height", "cx", "cy", "r", "rx", "ry", "theta"]
    ),
    st.lists(st.floats(0, 20) | _VALUE, max_size=4) | st.floats(0, 20) | _VALUE,
)
_NAMED_SHAPE = st.builds(
    lambda name, fields: {**fields, "name": name},
    st.sampled_from(["polygon", "polyline", "rect", "circle", "ellipse", "point"]) | _VALUE,
    _SHAPE,
)
_REGION = st.fixed_dictionaries(
    {},
    optional={"shape_attributes": _NAMED_SHAPE | _VALUE, "region_attributes": st.just({"category": "car"}) | _VALUE},
)


@given(st.lists(_REGION | _VALUE, max_size=3) | st.dictionaries(st.text(max_size=3), _REGION, max_size=3) | _VALUE)
def test_no_region_breaks_the_reader(tmp_path_factory, regions):
    """Annotations, or a sentence that names the file; the converter leaves out what the reader refuses."""
    root = tmp_path_factory.getbasetemp() / "any-via"
    if not root.exists():
        root.mkdir()
        Image.new("RGB", (40, 20)).save(root / "a.png")
    content = {**via_image()["a.png123"], "regions": regions}
    (root / "via.json").write_text(json.dumps({"a.png123": content}))
    try:
        data = open_dataset(root, format="via", category="car")
        data.masks = True
        data.check()
    except DataError as error:
        assert "via.json" in str(error)  # noqa: PT017  # not everything is wrong
    if isinstance(regions, list | dict):
        out = tmp_path_factory.mktemp("out")
        data = open_dataset(root, format="via", category="car")
        convert(data, "coco", out, skip_invalid=True, allow_unlabelled=True, images="none")
        open_dataset(out).check()
