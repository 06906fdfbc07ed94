"""A canvas of twice the picture's size, on which everything is painted before it is shrunk: smooth edges, cheaply."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from detq.datasets.synthetic.camera import REFERENCE, Camera, Doubles, clip_near
from detq.datasets.synthetic.conditions import Colour

__all__ = ["Canvas", "levels"]

_OVERSAMPLING = 2
_NEAR_M = 0.5
_LIMIT = 4e6


def levels(colour: Sequence[float]) -> tuple[int, ...]:
    """Round a colour to whole levels from 0 to 255."""
    return tuple([0 if level < 0 else 255 if level > 255 else int(level + 0.5) for level in colour])


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

    def corners(self, pixels: Doubles) -> list[float]:
        """Turn reference pixels `(N, 2)` into the canvas's whole pixels, all in one list: x, y, x, y."""
        flat: list[float] = self._whole_pixels(pixels).reshape(-1).tolist()
        return flat

    def _whole_pixels(self, pixels: Doubles) -> Doubles:
        # Pillow paints the pixels that whole coordinates name, hence the half pixel.
        scaled = pixels * self._scale
        scaled -= 0.5
        # np.clip costs as much as all the rest.
        np.maximum(scaled, -_LIMIT, out=scaled)
        np.minimum(scaled, _LIMIT, out=scaled)
        scaled += 0.5
        np.floor(scaled, out=scaled)
        return np.asarray(scaled)

    def polygon(self, pixels: Doubles, colour: Colour, alpha: float = 1.0) -> None:
        """Paint a polygon given in reference pixels."""
        if alpha >= 1.0:
            self.opaque.polygon(self.corners(pixels), levels(colour))
        else:
            self.blended.polygon(self.corners(pixels), (*levels(colour), int(alpha * 255)))

    def ground(self, camera: Camera, quads: Doubles, colours: Sequence[Sequence[float]] | Doubles) -> None:
        """Paint polygons that lie in the world, in this order.

        Args:
            camera: who looks at them.
            quads: `(N, K, 3)`, corners in metres.
            colours: `(N, 3)`, RGB, or, to mix with what is below, `(N, 4)`, RGB and alpha; 0 to 255.
        """
        count, corners, _ = quads.shape
        seen = camera.to_camera(quads.reshape(-1, 3))
        ahead = (seen[:, 2] >= _NEAR_M).reshape(count, corners)
        whole = np.asarray(ahead.all(axis=1))
        # What is partly behind the camera is cut first. All of it is behind: nothing to paint.
        seen[~np.repeat(whole, corners)] = 1.0
        drawn = self._whole_pixels(camera.to_pixels(seen)).reshape(count, corners, 2)
        inside = (drawn.max(axis=1) >= 0).all(axis=1) & (drawn.min(axis=1) < self.image.size).all(axis=1)
        flat = drawn.reshape(count, -1).tolist()
        shown = np.flatnonzero(np.where(whole, inside, ahead.any(axis=1)))
        tones = (np.clip(colours, 0, 255) + 0.5).astype(np.int64)[shown]
        brush = (self.opaque if tones.shape[1] == 3 else self.blended).polygon
        for number, uncut, tone in zip(shown.tolist(), whole[shown].tolist(), tones.tolist(), strict=True):
            polygon = flat[number] if uncut else self.corners(_cut(camera, quads[number]))
            if len(polygon) > 4:
                brush(polygon, tuple(tone))

    def shrink(self) -> Image.Image:
        """Return the picture at the size asked for."""
        return self.image.reduce(_OVERSAMPLING)


def _cut(camera: Camera, corners: Doubles) -> Doubles:
    kept = clip_near(camera.to_camera(corners).tolist(), _NEAR_M)
    return camera.to_pixels(np.asarray(kept)) if kept else np.zeros((0, 2))
