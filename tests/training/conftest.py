"""A data set small enough to train on in a test."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def squares(tmp_path_factory):
    """Twelve 96 × 72 photos of noise with up to three bright squares, one photo without any, in YOLO's format."""
    folder = tmp_path_factory.mktemp("squares")
    rng = np.random.default_rng(7)
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    for number in range(12):
        pixels = rng.integers(0, 90, (72, 96, 3), dtype=np.uint8)
        lines = []
        for _ in range(number % 4):
            side, x, y = (int(rng.integers(low, high)) for low, high in ((12, 30), (0, 66), (0, 42)))
            pixels[y : y + side, x : x + side] = rng.integers(150, 255, 3)
            lines.append(f"0 {(x + side / 2) / 96} {(y + side / 2) / 72} {side / 96} {side / 72}")
        Image.fromarray(pixels).save(folder / "images" / f"{number:02}.png")
        (folder / "labels" / f"{number:02}.txt").write_text("\n".join(lines), encoding="utf-8")
    return folder
