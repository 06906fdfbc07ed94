"""Noise tiles, made once, that give surfaces, clouds and sensors their grain."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from detq.datasets.synthetic.camera import REFERENCE, Camera
from detq.datasets.synthetic.enlarge import bands

__all__ = ["blob_tile", "grain", "ground_texture"]

_TILE = 512
_GRAZING = np.float32(-0.002)
Levels = NDArray[np.int16]
Floats = NDArray[np.float32]


def _random_bytes(stream: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    count = int(np.prod(shape))
    words = np.random.PCG64(np.random.SeedSequence((0x7E47, stream))).random_raw(count // 8 + 1)
    return words.astype("<u8", copy=False).view(np.uint8)[:count].reshape(shape)


@functools.cache
def blob_tile(stream: int, octaves: tuple[tuple[int, int, float], ...]) -> NDArray[np.int16]:
    """Return smooth noise, int16 `(512, 512)`, about ±110 around 0.

    Args:
        stream: which one.
        octaves: (cells across, cells down, weight) of each layer.
    """
    total = np.zeros((_TILE, _TILE))
    for number, (across, down, weight) in enumerate(octaves):
        cells = Image.fromarray(_random_bytes(stream * 16 + number, (down, across)))
        total += weight * np.asarray(cells.resize((_TILE, _TILE), Image.Resampling.BICUBIC), np.float64)
    total -= total.mean()
    scaled = np.asarray(total * (42.0 / total.std()) + 0.5)
    return np.asarray(np.clip(scaled, -110, 110), np.int16)


@functools.cache
def grain() -> NDArray[np.int8]:
    """Return sensor noise, int8 `(1024, 1536, 3)`: mostly grey, a little coloured, mean 0, standard deviation 32."""
    layers = [_normal(stream, (1024, 1536)) for stream in range(4)]
    coloured = [(layers[0] + layer // 3).clip(-127, 127).astype(np.int8) for layer in layers[1:]]
    return np.stack(coloured, axis=2)


def _normal(stream: int, shape: tuple[int, int]) -> NDArray[np.int16]:
    """Return the sum of four random bytes a pixel, about normal, standard deviation 30."""
    total = np.zeros(shape, np.int16)
    for part in range(4):
        total += _random_bytes(0x100 + stream * 4 + part, shape)
    total -= 510
    total *= 26
    total >>= 7
    return total


def ground_texture(
    camera: Camera, size: tuple[int, int], shift: tuple[int, int]
) -> Iterator[tuple[slice, Levels, Floats, NDArray[np.bool_]]]:
    """Project a noise tile onto the ground.

    Args:
        camera: who looks at it.
        size: (width, height) of the picture.
        shift: where on the tile the world's origin is.

    Yields:
        bands of rows that show ground: which ones, the tile's values, int16 `(rows, width)`, how strongly to apply
        them, float32, fading with the distance, and where there is ground, bool.
    """
    # Float32 is enough: this is texture, no label depends on it.
    one = np.float32(1.0 / camera.focal_px)
    u = (np.arange(size[0], dtype=np.float32) + np.float32(0.5)) * np.float32(REFERENCE[0] / size[0]) - REFERENCE[0] / 2
    v = REFERENCE[1] / 2 - (np.arange(size[1], dtype=np.float32) + np.float32(0.5)) * np.float32(REFERENCE[1] / size[1])
    across, upward = u * one, (v * one)[:, None]
    ahead = [np.float32(camera.forward[k]) + across * np.float32(camera.right[k]) for k in range(3)]
    aloft = [upward * np.float32(camera.up[k]) for k in range(3)]
    tile = blob_tile(3, ((512, 256, 0.55), (128, 64, 0.3), (48, 16, 0.4), (24, 6, 0.5))).reshape(-1)
    # The lower a row, the more ground.
    sky = int(np.count_nonzero(aloft[2][:, 0] + ahead[2].min() >= _GRAZING))
    for band in bands(size[1] - sky, size[0]):
        rows = slice(band.start + sky, band.stop + sky)
        x, y, z = (ahead[k] + aloft[k][rows] for k in range(3))
        reach = np.float32(camera.position[2]) / np.maximum(-z, np.float32(1e-3))
        np.minimum(reach, np.float32(500.0), out=reach)
        y *= reach
        y *= 6
        place = y.astype(np.int32)
        place += shift[1]
        place &= _TILE - 1
        place *= _TILE
        x *= reach
        x += np.float32(camera.position[0])
        x *= 26
        column = x.astype(np.int32)
        column += shift[0]
        column &= _TILE - 1
        place += column
        strength = np.divide(24, np.add(reach, 24, out=reach), out=reach)
        yield rows, tile.take(place), strength, z < _GRAZING
