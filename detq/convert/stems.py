"""Formats with one file an image, named after the image: two images must not share one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from detq.convert.collection import ImageRecord
from detq.errors import DataError

__all__ = ["no_shared_stems"]


def no_shared_stems(images: Sequence[ImageRecord], suffix: str) -> None:
    """Refuse images whose annotation files would have one name, such as a.jpg and a.png.

    Raises:
        DataError: the first two.
    """
    owners: dict[str, str] = {}
    for image in images:
        name = str(PurePosixPath(image.name).with_suffix(suffix))
        first = owners.setdefault(name, image.name)
        if first != image.name:
            raise DataError(
                f"expected one image for each {suffix} file, found {name} to be that of {first} and of {image.name}; "
                "rename one of them, or convert to COCO or VIA"
            )
