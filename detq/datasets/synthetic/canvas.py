"""A canvas of twice the picture's size, on which everything is painted before it is shrunk: smooth edges, cheaply."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from detq.datasets.synthetic.camera import REFERENCE, Camera, Doubles, clip_near

__all__ = ["Canvas", "cut_up", "levels"]

Sides = NDArray[np.int64]
_OVERSAMPLING = 2
_NEAR_M = 0.5
_LIMIT = 4e6


def levels(colours: Sequence[Sequence[float]] | Doubles) -> list[tuple[int, ...]]:
    """Round colours to whole levels from 0 to 255."""
    whole = (np.clip(colours, 0, 255) + 0.5).astype(np.int64)
    return list(zip(*whole.T.tolist(), strict=True))


def cut_up(corners: Doubles, sides: Iterable[int]) -> Iterator[list[float]]:
    """Cut corners `(V, 2)` into polygons with so many of them, for Pillow each is x, y, x, y in one list."""
    flat, start = _flat(corners), 0
    for count in sides:
        yield flat[start : start + 2 * count]
        start += 2 * count


def _flat(corners: Doubles) -> list[float]:
    values: list[float] = corners.reshape(-1).tolist()
    return values


class Canvas:
    """Something to paint on in reference pixels.

    Attributes:
        image: the RGB picture, twice as large as asked for.
        speck: an area, in square reference pixels, that is too small to see.
        opaque, blended: brushes that replace and that mix by the colour's alpha.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self._scale = np.asarray([_OVERSAMPLING * size[0] / REFERENCE[0], _OVERSAMPLING * size[1] / REFERENCE[1]])
        self.speck = 2.0 / float(self._scale[0] * self._scale[1])
        self.image = Image.new("RGB", (size[0] * _OVERSAMPLING, size[1] * _OVERSAMPLING))
        self.opaque = ImageDraw.Draw(self.image)
        self.blended = ImageDraw.Draw(self.image, "RGBA")

    def whole_pixels(self, pixels: Doubles) -> Doubles:
        """Turn reference pixels `(N, 2)` into the canvas's whole pixels."""
        # Pillow paints the pixels that whole coordinates name, hence the half pixel.
        scaled = pixels * self._scale
        scaled -= 0.5
        # np.clip costs as much as all the rest.
        np.maximum(scaled, -_LIMIT, out=scaled)
        np.minimum(scaled, _LIMIT, out=scaled)
        scaled += 0.5
        np.floor(scaled, out=scaled)
        return np.asarray(scaled)

    def in_frame(self, drawn: Doubles, sides: Sides) -> NDArray[np.bool_]:
        """Tell which polygons with so many corners, `(N,)`, all in whole pixels, may reach into the picture."""
        (x, y), (width, height) = drawn.T, self.image.size
        # What has all corners on one side of the picture is out of it.
        beyond = np.stack([x < 0, x >= width, y < 0, y >= height])
        return np.asarray(~np.logical_and.reduceat(beyond, np.cumsum(sides) - sides, axis=1).any(axis=0))

    def polygons(self, pixels: Doubles, sides: Sequence[int], colours: Sequence[tuple[int, ...]]) -> None:
        """Paint polygons given in reference pixels, in this order.

        Args:
            pixels: `(V, 2)`, the corners of all polygons, which is much cheaper than one by one.
            sides: how many corners each polygon has.
            colours: the levels of each, RGB, or, to mix with what is below, RGB and alpha.
        """
        brush = (self.opaque if len(colours[0]) == 3 else self.blended).polygon
        for polygon, colour in zip(cut_up(self.whole_pixels(pixels), sides), colours, strict=True):
            brush(polygon, colour)

    def ground(
        self, camera: Camera, corners: Doubles, sides: Sequence[int], colours: Sequence[Sequence[float]] | Doubles
    ) -> None:
        """Paint polygons that lie in the world, in this order.

        Args:
            camera: who looks at them.
            corners: `(V, 3)`, those of all polygons, metres.
            sides: how many corners each polygon has.
            colours: `(N, 3)`, RGB, or, to mix with what is below, `(N, 4)`, RGB and alpha; 0 to 255.
        """
        if not sides:
            return
        counts = np.asarray(sides)
        first = np.cumsum(counts) - counts
        seen = camera.to_camera(corners)
        ahead = seen[:, 2] >= _NEAR_M
        whole, partly = np.logical_and.reduceat(ahead, first), np.logical_or.reduceat(ahead, first)
        # What is partly behind the camera is cut first. All of it is behind: nothing to paint.
        seen[~np.repeat(whole, counts)] = 1.0
        drawn = self.whole_pixels(camera.to_pixels(seen))
        shown = np.where(whole, self.in_frame(drawn, counts), partly)
        tones = levels(colours)
        brush = (self.opaque if len(tones[0]) == 3 else self.blended).polygon
        polygons = zip(cut_up(drawn, sides), tones, whole.tolist(), first.tolist(), sides, strict=True)
        for polygon, tone, uncut, start, count in itertools.compress(polygons, shown.tolist()):
            corners_of = polygon if uncut else self._cut(camera, corners[start : start + count])
            if len(corners_of) > 4:
                brush(corners_of, tone)

    def _cut(self, camera: Camera, corners: Doubles) -> list[float]:
        kept = clip_near(camera.to_camera(corners).tolist(), _NEAR_M)
        return _flat(self.whole_pixels(camera.to_pixels(np.asarray(kept)))) if kept else []

    def shrink(self) -> Image.Image:
        """Return the picture at the size asked for."""
        return self.image.reduce(_OVERSAMPLING)
