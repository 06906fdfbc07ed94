"""A data set in memory, between the format that it came from and the one that it goes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detq.datasets.annotations import Annotation

__all__ = ["Category", "Collection", "ImageRecord"]


@dataclass(frozen=True)
class Category:
    """A class of the result.

    Attributes:
        number: its COCO category id.
        name: its name, unique.
        extra: what else COCO says about it, such as the supercategory.
    """

    number: int
    name: str
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ImageRecord:
    """An image with its annotations.

    Attributes:
        name: its path in the result, with `/`; unique, relative and without `..`.
        path: its file in the source.
        size: (width, height) of the upright image in pixels.
        number: its COCO image id.
        annotations: each with a box, an area and a number, inside the image.
        extra: what else the source says about it.
    """

    name: str
    path: Path
    size: tuple[int, int]
    number: int
    annotations: Sequence[Annotation]
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Collection:
    """A data set's images and categories.

    Attributes:
        images: in the order of their names.
        categories: in the order of the labels: annotation label `k` is `categories[k]`.
        extra: what else COCO says about the set, such as info and licenses.
    """

    images: Sequence[ImageRecord]
    categories: Sequence[Category]
    extra: Mapping[str, Any] = field(default_factory=dict)
