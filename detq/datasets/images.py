"""Reading image files: 8-bit RGB, upright, or a sentence that says why not.

Labelling tools and browsers show a photo upright, as its EXIF orientation says, so that is the frame which labels are
taken to be in, and the only one that the rest of detq ever sees.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from detq.errors import DataError

__all__ = ["IMAGE_SUFFIXES", "TRANSPOSES", "frame_sizes", "image_size", "read_image"]

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""Files with these suffixes (in any case) are images."""

# Others, such as EPS, would start a program, whatever the file's suffix says.
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")

TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what turns the stored pixels upright; 5 to 8 swap width and height."""

_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, KeyError, IndexError, TypeError, AttributeError, struct.error)


def read_image(path: Path) -> NDArray[np.uint8]:
    """Return an image as uint8 `(height, width, 3)`, RGB, upright.

    Gray becomes three equal channels; 16-bit gray is scaled by 255 / 65535 and rounded; CMYK is converted; transparent
    pixels are laid on black; of several frames the first counts.

    Raises:
        DataError: the file is missing, empty, truncated, no image, or of a pixel type that has no 8-bit meaning.
    """
    with _opened(path) as image:
        orientation = _orientation(image)
        image.load()
        pixels = _rgb(image, path)
        # Pillow turns TIFFs by itself when it loads them.
        if orientation in TRANSPOSES and not isinstance(image, TiffImagePlugin.TiffImageFile):
            pixels = pixels.transpose(TRANSPOSES[orientation])
        return np.array(pixels, dtype=np.uint8)


def image_size(path: Path) -> tuple[int, int]:
    """Return the (width, height) of the upright image in pixels, from the file's header alone.

    Raises:
        DataError: the file is missing, empty, or its header is no image's.
    """
    return frame_sizes(path)[0]


def frame_sizes(path: Path) -> tuple[tuple[int, int], tuple[int, int], int]:
    """Return the upright (width, height), the stored one before EXIF rotation, and the EXIF orientation (1 to 8)."""
    with _opened(path) as image:
        orientation = _orientation(image)
        stored = image.size
        if isinstance(image, TiffImagePlugin.TiffImageFile):  # its `size` is upright or stored, by Pillow's version
            stored = (int(image.tag_v2[256]), int(image.tag_v2[257]))
    return (stored[::-1] if orientation >= 5 else stored), stored, orientation


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with _open(path) as image:
            yield image
    except FileNotFoundError:
        raise DataError(f"image {path} does not exist; restore it, or remove it from the data set") from None
    except IsADirectoryError:
        raise DataError(f"image {path}: expected a file, found a folder; name the images in it") from None
    except UnidentifiedImageError:
        raise DataError(_not_an_image(path)) from None
    except Image.DecompressionBombError as error:
        raise DataError(f"image {path} is too large to be a photo: {error}; scale it down") from None
    except _DAMAGED as error:
        raise DataError(
            f"image {path} is damaged or truncated: expected a complete image, found: {error or type(error).__name__}; "
            "copy it again or remove it together with its labels"
        ) from None


def _open(path: Path) -> Image.Image:
    with warnings.catch_warnings():
        # A hundred million pixels are a large photo; what is twice as large, Pillow refuses.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(path, formats=_FORMATS)


def _not_an_image(path: Path) -> str:
    with path.open("rb") as stream:
        start = stream.read(12)
    found = f"bytes that start with {start!r}" if start else "an empty file (0 bytes)"
    return (
        f"image {path}: expected a JPEG, PNG, BMP, WebP or TIFF file, found {found}; "
        "copy it again or remove it together with its labels"
    )


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation from the header, 1 where there is none or it is damaged."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        value = image.tag_v2.get(274, 1)
    else:
        value = _exif_orientation(image.info.get("exif", b""))
    return int(value) if value in range(1, 9) else 1


def _exif_orientation(exif: bytes) -> int:
    # Not `Image.getexif`: on a PNG it decodes the whole image, and on damaged EXIF it warns.
    block = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}I", block, 4)
        (count,) = struct.unpack_from(f"{order}H", block, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(f"{order}HH", block, entry)
            if tag == 274 and kind == 3:
                return int(struct.unpack_from(f"{order}H", block, entry + 8)[0])
    except struct.error:
        return 1
    return 1


def _rgb(image: Image.Image, path: Path) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I") or image.mode == "F":
        return _from_16_bit(image, path).convert("RGB")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        seen = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), seen).convert("RGB")
    return image.convert("RGB")


def _from_16_bit(image: Image.Image, path: Path) -> Image.Image:
    # Pillow's own conversion clips at 255 instead of scaling.
    values = np.asarray(image)
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > 65535:
        raise DataError(
            f"image {path}: expected 8 or 16 bits a channel, found pixels of type {values.dtype} "
            f"from {values.min()} to {values.max()}; convert it to 8-bit"
        )
    return Image.fromarray(((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8))
