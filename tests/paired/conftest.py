"""A real repository of somebody's own detector, with a commit to compare with."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest
from PIL import Image

DETECTOR = '''
"""Finds the one bright rectangle of an image, and takes a fixed time for it."""

import time

import torch
from torch import nn

SECONDS = 0.004
LEAK = []


class Tiny(nn.Module):
    classes = ("car",)

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.transform, self.backbone = nn.Identity(), nn.Identity()
        self.score = nn.Linear(64, 1)

    def forward(self, images):
        return [self.find(image) for image in images]

    def find(self, image):
        image = self.backbone(self.transform(image))
        time.sleep(SECONDS)
        rows, columns = torch.where(image.amax(0) > 0.5)
        if not len(rows):
            nothing = torch.zeros(0)
            return {"boxes": torch.zeros(0, 4), "scores": nothing, "labels": nothing.long()}
        box = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()
        thumbnail = nn.functional.adaptive_avg_pool2d(image.mean(0, keepdim=True), 8).flatten()
        score = 0.9 + 0.05 * torch.sigmoid(self.score(thumbnail[None])).flatten()
        return {"boxes": box[None], "scores": score, "labels": torch.ones(1, dtype=torch.int64)}


def build():
    return Tiny()
'''
IMAGES = 20


def git(folder, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)  # noqa: S607


@pytest.fixture(scope="session")
def repository(tmp_path_factory):
    """The detector, committed, beside labelled images that git does not know."""
    folder = tmp_path_factory.mktemp("own") / "repository"
    (folder / "images").mkdir(parents=True)
    folder.joinpath("tiny_detector.py").write_text(DETECTOR)
    folder.joinpath(".gitignore").write_text("images\n__pycache__\n")
    git(folder, "init", "--initial-branch", "main")
    git(folder, "add", ".")
    git(folder, "commit", "--message", "a detector")
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        image = np.zeros((64, 96, 3), np.uint8)
        (x, y), (width, height) = rng.integers(0, [50, 30]), rng.integers(10, [40, 30])
        image[y : y + height, x : x + width] = 255
        Image.fromarray(image).save(folder / "images" / f"{number:02}.png")
        (folder / "images" / f"{number:02}.txt").write_text(f"car {x} {y} {x + width} {y + height}\n")
    return folder
