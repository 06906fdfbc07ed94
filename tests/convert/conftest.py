"""Small data sets to convert, and a look at what came out."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pycocotools import mask as oracle

from detq.convert import convert
from detq.datasets import open_dataset
from tests.datasets.conftest import coco_set, save_image, text_set  # noqa: F401  # fixtures for these tests too

SIZES = {"a.png": (40, 20), "b.png": (30, 50)}


def via_region(name="polygon", attributes=None, **shape):
    """A region as VIA writes it: a square of 10 px at 4, 2 if nothing else is said."""
    if name == "polygon" and not shape:
        shape = {"all_points_x": [4, 14, 14, 4], "all_points_y": [2, 2, 12, 12]}
    return {"shape_attributes": {"name": name, **shape}, "region_attributes": attributes or {}}


def via_image(filename="a.png", regions=(), **more):
    """An image as VIA exports it, under its key."""
    image = {"filename": filename, "size": 123, "regions": list(regions), "file_attributes": {}, **more}
    return {f"{filename}123": image}


@pytest.fixture
def via_set(tmp_path):
    """Make a folder of a.png and b.png with `via.json`, given its content, or what a.png's regions are."""

    def make(content, *, regions=None):
        root = tmp_path / "via"
        for name, size in SIZES.items():
            save_image(root / name, size)
        content = via_image(regions=regions) if regions is not None else content
        text = content if isinstance(content, str | bytes) else json.dumps(content, ensure_ascii=False)
        (root / "via.json").write_bytes(text if isinstance(text, bytes) else text.encode())
        return root

    return make


@pytest.fixture
def to_coco(tmp_path):
    """Convert a data set to COCO; return its JSON and the summary."""

    def run(source, *, split=None, images="copy", skip_invalid=False, **options):
        out = tmp_path / "out"
        summary = convert(
            open_dataset(source, **options),
            "coco",
            out,
            split=split,
            images=images,
            skip_invalid=skip_invalid,
            allow_unlabelled=options.get("allow_unlabelled", False),
        )
        return json.loads((out / "annotations.json").read_text("utf-8")) if split is None else None, summary

    return run


def oracle_mask(segmentation, size):
    """A COCO segmentation as pycocotools decodes it."""
    width, height = size
    runs = segmentation
    if isinstance(segmentation, list):
        runs = oracle.merge(oracle.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        runs = oracle.frPyObjects(segmentation, height, width)
    return np.asarray(oracle.decode(runs), bool)
