"""Pascal VOC files as a data set."""

from __future__ import annotations

import numpy as np
import pytest

from detq.datasets import open_dataset
from detq.errors import DataError
from tests.datasets.conftest import save_image

CAR = "<object><name>car</name><difficult>1</difficult><bndbox>{}</bndbox></object>"
CORNERS = "<xmin>5</xmin><ymin>3</ymin><xmax>14</xmax><ymax>12</ymax>"


def _file(*objects, name="a.png", size="<size><width>40</width><height>20</height></size>"):
    return f"<annotation><filename>{name}</filename>{size}{''.join(objects)}</annotation>"


@pytest.fixture
def voc_set(tmp_path):
    """Make VOC's own layout: JPEGImages/a.png, 40 × 20, and Annotations/a.xml."""

    def make(text, file="Annotations/a.xml"):
        save_image(tmp_path / "JPEGImages/a.png")
        save_image(tmp_path / "SegmentationClass/a.png")
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(text if isinstance(text, bytes) else text.encode())
        return tmp_path

    return make


def test_corners_count_from_one_and_include_the_last_pixel(voc_set):
    """A box from 1 to W spans the image (VOC2012 development kit)."""
    data = open_dataset(voc_set(_file(CAR.format(CORNERS))))
    assert (data.classes, data.image_id(0)) == (("car",), "JPEGImages/a.png")
    np.testing.assert_array_equal(data.target(0).boxes, [[4, 2, 14, 12]])
    assert not data.has_masks
    (found,) = data.annotations(0)
    assert found.extra == {"attributes": {"difficult": "1"}}


def test_a_set_that_counts_from_zero_is_read_so(voc_set):
    """One minimum of 0 says it for all."""
    zero = CAR.format("<xmin>0</xmin><ymin>3</ymin><xmax>14</xmax><ymax>12</ymax>")
    np.testing.assert_array_equal(
        open_dataset(voc_set(_file(CAR.format(CORNERS), zero))).target(0).boxes, [[5, 3, 14, 12], [0, 3, 14, 12]]
    )


def test_polygons_that_tools_add_are_kept(voc_set):
    """x1, y1, x2, …"""
    points = "".join(f"<x{n}>{x}</x{n}><y{n}>{y}</y{n}>" for n, (x, y) in enumerate([(4, 2), (14, 2), (14, 12)], 1))
    text = _file(f"<object><name>car</name><bndbox>{CORNERS}</bndbox><polygon>{points}</polygon></object>")
    data = open_dataset(voc_set(text))
    data.masks = True
    assert data.target(0).areas_px.tolist() == [50]
    broken = text.replace("<x2>14</x2>", "<x2>far</x2>")
    with pytest.raises(DataError, match=r"object 1: expected finite numbers for points, found None"):
        open_dataset(voc_set(broken)).check()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<annotation><object>", r"a\.xml: expected Pascal VOC XML, found no element found|found .*; export the annot"),
        ("", r"a\.xml: expected Pascal VOC XML, found an empty file; export the annotations again"),
        ("<html/>", r"a\.xml: expected Pascal VOC XML with the element annotation, found 'html'; export the"),
        (
            _file(CAR.format("<xmin>5</xmin>")),
            r"object 1: expected bndbox with the numbers xmin, ymin, xmax and ymax, fou",
        ),
        (_file(CAR.format(CORNERS.replace("5", "five"))), r"object 1: expected bndbox with the numbers"),
        (_file("<object><name/></object>"), r"expected a class at name in its 1 annotations, found it in none"),
        (_file(size="<size><width>8</width><height>20</height></size>"), r"the file's 40 × 20 pixels, found width 8"),
        (
            _file(size="<size><width>w</width><height>20</height></size>"),
            r"a\.xml: expected whole numbers for size, found",
        ),
        (_file(name="gone.png").replace("a.xml", "b"), r"found"),
        (
            '<!DOCTYPE a [<!ENTITY b "x">]><annotation>&c;</annotation>',
            r"expected Pascal VOC XML, found undefined entity",
        ),
    ],
)
def test_bad_files_are_sentences(voc_set, text, expected):
    """File, expected, found, and what to do."""
    root = voc_set(text)
    if "gone.png" in text:
        (root / "JPEGImages/a.png").unlink()
        expected = r"image .*gone\.png does not exist; restore it"
    with pytest.raises(DataError, match=expected):
        open_dataset(root, format="voc").check()


def test_a_file_names_the_image_or_shares_its_name(voc_set):
    """Renamed files keep what the XML says."""
    assert open_dataset(voc_set(_file(CAR.format(CORNERS), name="before.jpg"))).image_id(0) == "JPEGImages/a.png"
    assert open_dataset(voc_set(_file(CAR.format(CORNERS), name=""))).image_id(0) == "JPEGImages/a.png"
