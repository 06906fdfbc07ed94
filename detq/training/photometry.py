"""Changes of an image's colours that leave its geometry alone: pure functions on uint8 `(height, width, 3)` images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageFilter

__all__ = ["add_noise", "blur", "colour_matrix", "recolour"]

Image = NDArray[np.uint8]
Matrix = NDArray[np.float64]

# ITU-R BT.601 luma, as Pillow's own conversion to gray.
_LUMA = np.asarray([0.299, 0.587, 0.114])
_MIDDLE_GRAY = 128.0


def colour_matrix(*, brightness: float, contrast: float, saturation: float, hue: float) -> Matrix:
    """Return the affine colour transform, `(3, 4)`, that applies all four at once.

    Args:
        brightness: factor of all channels; 1 changes nothing.
        contrast: factor of the distance to middle gray; 1 changes nothing.
        saturation: factor of the distance to the pixel's own gray; 1 changes nothing, 0 gives gray.
        hue: rotation about the gray axis in radians; 0 changes nothing.
    """
    gray = np.tile(_LUMA, (3, 1))
    saturate = saturation * np.eye(3) + (1 - saturation) * gray
    linear = contrast * brightness * (saturate @ _rotation_about_gray(hue))
    offset = np.full((3, 1), (1 - contrast) * _MIDDLE_GRAY)
    return np.concatenate([linear, offset], axis=1)


def _rotation_about_gray(angle: float) -> Matrix:
    # Rodrigues' formula for the unit axis (1, 1, 1) / √3.
    cross = np.asarray([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)
    outer = np.full((3, 3), 1 / 3)
    rotation: Matrix = np.cos(angle) * np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * outer
    return rotation


def recolour(image: Image, matrix: Matrix) -> Image:
    """Return the image with each pixel (r, g, b) replaced by `matrix @ (r, g, b, 1)`, clipped to [0, 255]."""
    # Pillow does this in one pass over bytes, several times faster than NumPy in float32.
    return np.asarray(Pillow.fromarray(np.ascontiguousarray(image)).convert("RGB", tuple(matrix.ravel().tolist())))


def blur(image: Image, radius: float) -> Image:
    """Return the image blurred by about a Gaussian of `radius` pixels."""
    return np.asarray(Pillow.fromarray(np.ascontiguousarray(image)).filter(ImageFilter.GaussianBlur(radius)))


def add_noise(image: Image, sigma: float, rng: np.random.Generator) -> Image:
    """Return the image with Gaussian noise of standard deviation `sigma` (of 255) on each value."""
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    return np.clip(image + sigma * noise, 0, 255).astype(np.uint8)
