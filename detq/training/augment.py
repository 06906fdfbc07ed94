"""Random augmentation of one training image; all randomness comes from the generator that is passed in."""

from __future__ import annotations

import math

import numpy as np

from detq.training.geometry import Example, Image, crop, drop_degenerate, flip, pad
from detq.training.photometry import add_noise, blur, colour_matrix, recolour
from detq.types import GroundTruth

__all__ = ["DESCRIPTION", "augment", "batch_short_side", "sample_rng"]

DESCRIPTION = (
    "horizontal flip (0.5)",
    "crop to 40-100 % of the sides, aspect within ±20 %, dropping boxes that keep less than 30 % of their area (0.45)",
    "zoom out to 1-1.6 times the canvas (0.2)",
    "brightness and contrast ±35 %, saturation 40-150 %, hue ±0.15 rad (0.8); gray (0.05)",
    "Gaussian blur up to 1.6 px (0.1)",
    "Gaussian noise up to 12 of 255 (0.1)",
    "short side drawn for each batch",
)
"""What `augment` and the loop do, with probabilities, for the model card."""

_CROP_TRIES = 8
# Distinct streams for what is drawn for a sample and for a batch.
_SAMPLE, _BATCH = 0, 1


def sample_rng(seed: int, epoch: int, position: int) -> np.random.Generator:
    """Return the generator of the image at `position` of `epoch`: it depends on these three numbers alone.

    So neither the number of worker processes nor an interruption changes what an image looks like.
    """
    return np.random.default_rng([_SAMPLE, seed, epoch, position])


def batch_short_side(seed: int, step: int, sizes: tuple[int, ...]) -> int:
    """Return the short side in pixels that the images of `step` are resized to, one of `sizes`."""
    return int(sizes[np.random.default_rng([_BATCH, seed, step]).integers(len(sizes))])


def augment(image: Image, truth: GroundTruth, rng: np.random.Generator) -> Example:
    """Return a random variation of a training image.

    Args:
        image: uint8 `(height, width, 3)`, RGB.
        truth: its objects.
        rng: the only source of randomness.

    Returns:
        An image of any size and the objects that are left in it, none degenerate.
    """
    image, truth = _resize_scene(image, drop_degenerate(truth), rng)
    if rng.random() < 0.5:
        image, truth = flip(image, truth)
    return _change_colours(image, rng), truth


def _resize_scene(image: Image, truth: GroundTruth, rng: np.random.Generator) -> Example:
    draw = rng.random()
    if draw < 0.45:
        return _random_crop(image, truth, rng)
    if draw < 0.65:
        return _zoom_out(image, truth, rng)
    return image, truth


def _random_crop(image: Image, truth: GroundTruth, rng: np.random.Generator) -> Example:
    """Crop to a window that keeps an object, if there are any; after a few failed tries, do not crop."""
    height, width = image.shape[:2]
    for _ in range(_CROP_TRIES):
        # Narrow windows would waste time: a batch is padded to its largest width and its largest height.
        scale, stretch = rng.uniform(0.4, 1.0), math.sqrt(rng.uniform(1 / 1.2, 1.2))
        w = min(width, math.ceil(width * scale * stretch))
        h = min(height, math.ceil(height * scale / stretch))
        left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
        result = crop(image, truth, (left, top, left + w, top + h))
        if len(result[1]) or not len(truth):
            return result
    return image, truth


def _zoom_out(image: Image, truth: GroundTruth, rng: np.random.Generator) -> Example:
    height, width = image.shape[:2]
    factor = rng.uniform(1.0, 1.6)
    size = (math.ceil(width * factor), math.ceil(height * factor))
    corner = (int(rng.integers(size[0] - width + 1)), int(rng.integers(size[1] - height + 1)))
    return pad(image, truth, size, corner)


def _change_colours(image: Image, rng: np.random.Generator) -> Image:
    if rng.random() < 0.8:
        gray = rng.random() < 0.05 / 0.8
        matrix = colour_matrix(
            brightness=rng.uniform(0.65, 1.35),
            contrast=rng.uniform(0.65, 1.35),
            saturation=0.0 if gray else rng.uniform(0.4, 1.5),
            hue=rng.uniform(-0.15, 0.15),
        )
        image = recolour(image, matrix)
    if rng.random() < 0.1:
        image = blur(image, rng.uniform(0.4, 1.6))
    if rng.random() < 0.1:
        image = add_noise(image, rng.uniform(2.0, 12.0), rng)
    return image
