"""From COCO to each format and back: what the format carries comes back, and what it does not is in the summary."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as oracle

from detq.convert import TARGETS, convert
from detq.datasets import open_dataset
from tests.convert.conftest import oracle_mask
from tests.datasets.conftest import save_image

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning:pycocotools")

NAMES = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=6) | st.sampled_from(
    ["car, red", "naïve café", "车辆", "7", "a.b", "null", "- x: [y]", "#1"]
)


def _polygon(size):
    # By a prime: no point lies on the verge of a pixel, where the ninth decimal would decide.
    step = st.integers(0, 997)
    point = st.tuples(step.map(lambda k: k * size[0] / 997), step.map(lambda k: k * size[1] / 997))
    return st.lists(point, min_size=3, max_size=6, unique=True).map(
        lambda xy: [value for point in xy for value in point]
    )


def _runs(size):
    pixels = st.lists(st.booleans(), min_size=size[0] * size[1], max_size=size[0] * size[1])

    def encode(values):
        mask = np.asarray(values, np.uint8).reshape(size[1], size[0])
        runs = oracle.encode(np.asfortranarray(mask))
        return {"size": runs["size"], "counts": runs["counts"].decode()}

    return pixels.map(encode)


@st.composite
def _annotation(draw, image_id, size, category_ids):
    # A smaller box covers no pixel, and as a rect or rectangle it would have to.
    x1, y1 = (draw(st.floats(0, side - 2, width=32)) for side in size)
    x2, y2 = (draw(st.floats(low + 2, side)) for low, side in zip((x1, y1), size, strict=True))
    shape = draw(st.just([]) | st.lists(_polygon(size), min_size=1, max_size=2) | _runs(size))
    extra = draw(st.just({}) | st.just({"attributes": {"occluded": "yes", "lane": 3}}))
    crowd = draw(st.integers(0, 1)) if isinstance(shape, dict) else 0
    return {
        "image_id": image_id,
        "category_id": draw(st.sampled_from(category_ids)),
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "segmentation": shape,
        "iscrowd": crowd,
        **extra,
    }


SMALL = {"a.png": (9, 7), "sub/b.png": (8, 9)}


@st.composite
def coco_files(draw):
    """COCO content of two small images: every kind of shape, odd names, ids with gaps."""
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    ids = draw(st.lists(st.integers(0, 99), min_size=len(names), max_size=len(names), unique=True))
    images = [
        {"id": 10 * number, "file_name": name, "width": size[0], "height": size[1]}
        for number, (name, size) in enumerate(SMALL.items())
    ]
    annotations = [
        annotation
        for image, size in zip(images, SMALL.values(), strict=True)
        for annotation in draw(st.lists(_annotation(image["id"], size, ids), max_size=3))
    ]
    for number, annotation in enumerate(annotations):
        annotation["id"] = 3 * number
    categories = [{"id": number, "name": name} for number, name in zip(ids, names, strict=True)]
    return {"images": images, "annotations": annotations, "categories": categories}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    for name, size in SMALL.items():
        save_image(root / name, size)
    return root


def _read(folder):
    """The annotations of a COCO folder by image: what does not depend on ids and order."""
    content = json.loads((folder / "annotations.json").read_text("utf-8"))
    names = {category["id"]: category["name"] for category in content["categories"]}
    files = {image["id"]: image["file_name"] for image in content["images"]}
    found = {name: [] for name in files.values()}
    for annotation in content["annotations"]:
        found[files[annotation["image_id"]]].append({**annotation, "name": names[annotation["category_id"]]})
    return found, names


def _there_and_back(content, images, to, make):
    """COCO normalised, and the same after it went to another format and back."""
    (images / "annotations.json").write_text(json.dumps(content))
    folders = [make() for _ in range(3)]
    convert(open_dataset(images), "coco", folders[0], allow_unlabelled=True)
    summary = convert(open_dataset(folders[0]), to, folders[1], allow_unlabelled=True)
    convert(open_dataset(folders[1], format=to), "coco", folders[2], allow_unlabelled=True)
    return _read(folders[0]), _read(folders[2]), summary


def _mask(annotation, size):
    return oracle_mask(annotation["segmentation"], size)


@pytest.mark.parametrize("to", [spec.name for spec in TARGETS])
@settings(max_examples=25)
@given(content=coco_files())
def test_what_went_there_comes_back(to, images, tmp_path_factory, content):
    """Classes, boxes, areas, crowds, attributes and masks; YOLO up to its eight decimals and without the last three."""
    (before, names), (after, names_after), summary = _there_and_back(
        content, images, to, lambda: tmp_path_factory.mktemp("out")
    )
    exact = to != "yolo"
    used = {a["name"] for found in before.values() for a in found}
    assert set(names_after.values()) == (set(names.values()) if to in ("coco", "yolo") else used)
    assert before.keys() == after.keys()
    dropped = 0
    for name, size in SMALL.items():
        expected = [a for a in before[name] if exact or not a["iscrowd"]]
        dropped += len(before[name]) - len(expected)
        assert len(expected) == len(after[name])
        for first, second in zip(expected, after[name], strict=True):
            assert first["name"] == second["name"]
            parts = len(first["segmentation"]) if isinstance(first["segmentation"], list) else 0
            if exact or parts < 2:  # YOLO's one polygon for parts that overlap goes along their pixels
                assert second["bbox"] == pytest.approx(first["bbox"], abs=1e-9 if exact else 1e-6)
            if parts == 1 or (parts and exact):
                assert second["area"] == pytest.approx(first["area"], abs=1e-6 if exact else 1e-4, rel=0.02)
            if exact:
                assert first["iscrowd"] == second["iscrowd"]
                assert first.get("attributes") == second.get("attributes")
            _same_shape(first, second, size, exact=exact)
    assert summary.annotations.read - summary.annotations.written == dropped
    attributes = any("attributes" in a for found in before.values() for a in found if exact or not a["iscrowd"])
    assert ("annotations.attributes.occluded" in summary.not_carried) == (attributes and not exact)


def _same_shape(first, second, size, *, exact):
    if isinstance(first["segmentation"], dict):
        np.testing.assert_array_equal(_mask(first, size), _mask(second, size))
    elif len(first["segmentation"]) == 1:
        np.testing.assert_allclose(first["segmentation"], second["segmentation"], atol=0 if exact else 1e-6)
    elif first["segmentation"] and exact:
        assert first["segmentation"] == second["segmentation"]
    elif first["segmentation"]:
        assert (_mask(first, size) != _mask(second, size)).sum() <= 2  # eight decimals, on the verge of a pixel
    elif not first["segmentation"] and second["segmentation"]:  # a box came back as a polygon of four corners
        (corners,) = second["segmentation"]
        x, y, width, height = first["bbox"]
        assert corners[:2] + corners[4:6] == pytest.approx([x, y, x + width, y + height], abs=1e-9)


@settings(max_examples=25)
@given(content=coco_files())
def test_what_is_normal_stays_as_it_is(images, tmp_path_factory, content):
    """Converting COCO to COCO twice changes nothing the second time, byte by byte."""
    (images / "annotations.json").write_text(json.dumps(content))
    first, second = tmp_path_factory.mktemp("out"), tmp_path_factory.mktemp("out")
    convert(open_dataset(images), "coco", first, allow_unlabelled=True)
    summary = convert(open_dataset(first), "coco", second, allow_unlabelled=True)
    assert (first / "annotations.json").read_bytes() == (second / "annotations.json").read_bytes()
    assert not summary.dropped
    assert not summary.changed
