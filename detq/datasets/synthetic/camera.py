"""The camera: from metres in the world to pixels of a 1280 × 720 reference frame.

World axes: x to the right of the road, y along it, away from the camera, z up; metres; the ground is z = 0. Everything
here is additions, multiplications, divisions and square roots of float64, which IEEE 754 defines to the last bit: the
corners of an object, and so its mask and box, come out the same on every machine.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["REFERENCE", "Camera", "Doubles", "aim", "clip_near"]

REFERENCE = (1280, 720)
Doubles = NDArray[np.float64]
Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera.

    Attributes:
        position: where it hangs, metres.
        focal_px: focal length in pixels of the reference frame.
        right, up, forward: its axes in the world, unit vectors.
    """

    position: Vector
    focal_px: float
    right: Vector
    up: Vector
    forward: Vector

    @functools.cached_property
    def _place(self) -> Doubles:
        return np.asarray(self.position)[:, None]

    @functools.cached_property
    def _axes(self) -> Doubles:
        """x, y and z of all three axes, `(3, 3, 1)`."""
        return np.asarray([self.right, self.up, self.forward]).T[:, :, None]

    def to_camera(self, points: Doubles) -> Doubles:
        """Turn world points `(N, 3)` into camera coordinates `(N, 3)`: right, up, depth; metres."""
        x, y, z = points.T - self._place
        seen = self._axes[0] * x
        seen += self._axes[1] * y
        seen += self._axes[2] * z
        return np.asarray(seen.T)

    def to_pixels(self, points: Doubles) -> Doubles:
        """Project camera coordinates `(N, 3)` to reference pixels `(N, 2)`; the depths must be positive."""
        pixels = points.T[:2] * (self.focal_px / points[:, 2])
        pixels[0] += REFERENCE[0] / 2
        np.subtract(REFERENCE[1] / 2, pixels[1], out=pixels[1])
        return pixels.T

    def glimpse(self, x: float, y: float, radius_m: float) -> float | None:
        """Return how large a ball on the ground looks, in reference pixels; None where it is out of sight.

        A cheap check before a body is placed.
        """
        dx, dy, dz = x - self.position[0], y - self.position[1], -self.position[2]
        across, upward, depth = (
            axis[0] * dx + axis[1] * dy + axis[2] * dz for axis in (self.right, self.up, self.forward)
        )
        if depth < radius_m / 2:
            return None
        scale = self.focal_px / depth
        out_x = abs(across) * scale > REFERENCE[0] / 2 + radius_m * scale
        out_y = abs(upward) * scale > REFERENCE[1] / 2 + radius_m * scale
        return None if out_x or out_y else 2 * radius_m * scale

    def distance(self, x: float, y: float) -> float:
        """Return how many metres a point of the ground is away."""
        dx, dy, dz = x - self.position[0], y - self.position[1], self.position[2]
        return math.sqrt(dx * dx + dy * dy + dz * dz)

    def distances(self, x: Doubles, y: Doubles) -> Doubles:
        """Return how many metres each of many points of the ground is away."""
        dx, dy, dz = x - self.position[0], y - self.position[1], self.position[2]
        return np.asarray(np.sqrt(dx * dx + dy * dy + dz * dz))


def _unit(slope: float) -> tuple[float, float]:
    """Return the cosine and sine of the angle whose tangent is `slope`."""
    cosine = 1.0 / math.sqrt(1.0 + slope * slope)
    return cosine, slope * cosine


def aim(position: Vector, focal_px: float, horizon_px: float, yaw: float, roll: float) -> Camera:
    """Hang a camera.

    Args:
        position: where, metres.
        focal_px: focal length in reference pixels.
        horizon_px: the row of the reference frame that the horizon crosses in its middle.
        yaw: tangent of the angle to the road, positive to the right.
        roll: tangent of the tilt.
    """
    cos_yaw, sin_yaw = _unit(yaw)
    cos_pitch, sin_pitch = _unit((REFERENCE[1] / 2 - horizon_px) / focal_px)
    cos_roll, sin_roll = _unit(roll)
    forward = (sin_yaw * cos_pitch, cos_yaw * cos_pitch, -sin_pitch)
    flat_right = (cos_yaw, -sin_yaw, 0.0)
    flat_up = (sin_yaw * sin_pitch, cos_yaw * sin_pitch, cos_pitch)
    pairs = tuple(zip(flat_right, flat_up, strict=True))
    right = tuple(r * cos_roll + u * sin_roll for r, u in pairs)
    up = tuple(u * cos_roll - r * sin_roll for r, u in pairs)
    return Camera(position, focal_px, (right[0], right[1], right[2]), (up[0], up[1], up[2]), forward)


def clip_near(corners: list[list[float]], near_m: float) -> list[list[float]]:
    """Cut off the part of a convex polygon in camera coordinates that is nearer than `near_m`."""
    kept: list[list[float]] = []
    for before, here in zip(corners[-1:] + corners[:-1], corners, strict=True):
        if (before[2] >= near_m) != (here[2] >= near_m):
            share = (near_m - before[2]) / (here[2] - before[2])
            kept.append([b + (h - b) * share for b, h in zip(before, here, strict=True)])
        if here[2] >= near_m:
            kept.append(here)
    return kept
