"""Small data sets of real files, made by Pillow."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def save_image(path: Path, size=(40, 20), **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 120, 30)).save(path, **options)
    return path


@pytest.fixture
def text_set(tmp_path):
    """Make a folder of `images` and `labels`: `text_set({"a": "0 0.5 0.5 0.2 0.2"})`; None leaves a file out."""

    def make(labels, size=(40, 20), folder="set"):
        root = tmp_path / folder
        (root / "labels").mkdir(parents=True)
        (root / "images").mkdir()
        for name, text in labels.items():
            save_image(root / "images" / f"{name}.png", size)
            if text is not None:
                (root / "labels" / f"{name}.txt").write_text(text, encoding="utf-8")
        return root

    return make


def coco_content(**changes):
    """A COCO file of two images, one of them with a car and a crowd of persons."""
    content = {
        "images": [
            {"id": 7, "file_name": "b.png", "width": 40, "height": 20},
            {"id": 3, "file_name": "a.png", "width": 40, "height": 20},
        ],
        "categories": [{"id": 3, "name": "car"}, {"id": 1, "name": "person"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 3, "bbox": [4, 2, 10, 8], "area": 50.0, "iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 1, "bbox": [0, 0, 5, 5], "iscrowd": 1},
        ],
    }
    return {**content, **changes}


@pytest.fixture
def coco_set(tmp_path):
    """Make a folder with `_annotations.coco.json` and its images; keyword arguments replace its lists."""

    def make(size=(40, 20), **changes):
        root = tmp_path / "coco"
        for name in ("a.png", "b.png"):
            save_image(root / name, size)
        content = coco_content(**changes)
        (root / "_annotations.coco.json").write_text(json.dumps(content), encoding="utf-8")
        return root

    return make


@pytest.fixture
def half_white(tmp_path):
    """Save 10 × 6 pixels whose left part, 4 × 3 pixels at the top, is white; return the path."""

    def make(name, **options):
        pixels = np.zeros((6, 10, 3), np.uint8)
        pixels[:3, :4] = 255
        path = tmp_path / name
        Image.fromarray(pixels).save(path, **options)
        return path

    return make
