"""A detector and images that are quick enough to run the whole experiment many times: bright squares on black."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

TINY_DETECTOR = '''
import torch
from torch import nn


class Tiny(nn.Module):
    """Finds the bright square of an image: its box by its columns and rows, its score by a linear layer."""

    classes = ("car",)

    def __init__(self):
        super().__init__()
        self.score = nn.Linear(64, 1)
        nn.init.constant_(self.score.weight, 0.05)
        nn.init.constant_(self.score.bias, 2.0)

    def forward(self, images):
        return [self.find(image) for image in images]

    def find(self, image):
        pooled = nn.functional.adaptive_avg_pool2d(image[None].mean(1, keepdim=True), 8).flatten(1)
        score = torch.sigmoid(self.score(pooled))[0]
        rows, columns = (image.mean(0) > 0.5).nonzero(as_tuple=True)
        if not len(rows):
            return {"boxes": torch.zeros(0, 4), "scores": torch.zeros(0), "labels": torch.zeros(0, dtype=torch.int64)}
        box = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()
        return {"boxes": box[None], "scores": score, "labels": torch.ones(1, dtype=torch.int64)}


def build():
    return Tiny()
'''


def write_squares(folder: Path, count: int) -> Path:
    """Write images with a bright square each, and its box as `car x1 y1 x2 y2`; every fifth image has none."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    for number in range(count):
        image = np.zeros((48, 64, 3), np.uint8)
        label = ""
        if number % 5:
            x, y, side = (int(value) for value in rng.integers(4, 24, 3))
            image[y : y + side, x : x + side] = 255
            label = f"car {x} {y} {x + side} {y + side}\n"
        Image.fromarray(image).save(folder / f"square-{number:04d}.png")
        (folder / f"square-{number:04d}.txt").write_text(label, encoding="utf-8")
    return folder


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """The current folder, with `tiny.py` in it, which `--model tiny:build` finds."""
    (tmp_path / "tiny.py").write_text(TINY_DETECTOR, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("tiny", None)


@pytest.fixture
def squares(workplace):
    """Forty labelled images in `squares`."""
    return write_squares(workplace / "squares", 40)
