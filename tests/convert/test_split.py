"""Dividing a data set by image."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from detq.convert.collection import ImageRecord
from detq.convert.split import split_images

NAMES = st.lists(st.text("abc/", min_size=1, max_size=5), min_size=2, max_size=20, unique=True)


def _images(names):
    return [ImageRecord(name, Path(name), (4, 3), number, ()) for number, name in enumerate(names)]


@given(NAMES, st.floats(0.01, 0.99), st.integers(0, 9), st.randoms())
def test_every_image_is_in_one_part_whatever_the_order(names, share, seed, shuffler):
    """As near to the share as whole images allow, at least one in each; the seed and the names alone decide."""
    parts = split_images(_images(names), share, seed)
    found = {part: [image.name for image in images] for part, images in parts.items()}
    assert sorted(found["train"] + found["valid"]) == sorted(names)
    assert len(found["train"]) == min(max(round(share * len(names)), 1), len(names) - 1)
    shuffled = list(names)
    shuffler.shuffle(shuffled)
    again = split_images(_images(shuffled), share, seed)
    assert {image.name for image in again["train"]} == set(found["train"])
