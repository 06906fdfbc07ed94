"""Bodies made of flat faces, and the builder that they are made with.

Local axes of a body: x to its right, y to its front, z up, metres, the origin on the ground below its centre.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from detq.datasets.synthetic.camera import Doubles

__all__ = ["Builder", "Material", "Mesh", "Parts", "Quad", "patch"]

Point = tuple[float, float, float]
Quad = tuple[Point, Point, Point, Point]
Parts = tuple[NDArray[np.int64], list[int]]


class Material(IntEnum):
    """What a face is made of; each body maps these to colours."""

    PAINT = 0
    SECOND = 1
    GLASS = 2
    TRIM = 3
    TYRE = 4
    RIM = 5
    HEADLAMP = 6
    TAIL_LAMP = 7
    INDICATOR = 8
    PLATE = 9
    CHROME = 10
    THIRD = 11
    LIT_WINDOW = 12


@dataclass(frozen=True, eq=False)
class Mesh:
    """A body.

    Attributes:
        points: float64 `(V, 3)`, metres; in memory all x come first, then all y and z: NumPy likes long rows.
        corners: int64 `(C,)`, the corners of all faces, indices into `points`, counter-clockwise seen from outside.
        sides: int64 `(F,)`, how many corners each face has.
        lamps: the faces that are headlamps, then those that are tail lamps: number and corners.
        probes: int64 `(F, 3)`, three corners of each face that are far apart: they tell which way it looks.
        materials: int64 `(F,)`, `Material` numbers.
        fine: bool `(F,)`: a detail that is left out on small bodies.
        hulls: convex parts, index arrays into `points`; together their projections are the silhouette.
        fine_hulls: whether each of them is such a detail.
        radius: of a ball around the origin that holds all points, metres.
        reach: smallest and largest x, smallest and largest y.
        flat: a card that always faces the camera, both sides alike.
        skirt: whether the silhouette is first painted dark: the shade between the wheels.
    """

    points: Doubles
    corners: NDArray[np.int64]
    sides: NDArray[np.int64]
    lamps: tuple[tuple[int, NDArray[np.int64]], ...]
    probes: NDArray[np.int64]
    materials: NDArray[np.int64]
    fine: NDArray[np.bool_]
    hulls: tuple[NDArray[np.int64], ...]
    fine_hulls: tuple[bool, ...]
    radius: float
    reach: tuple[tuple[float, float], tuple[float, float]]
    flat: bool = False
    skirt: bool = False

    @functools.cached_property
    def parts(self) -> tuple[Parts, Parts]:
        """The points of the convex parts one after the other, and how many each has: without, and with fine ones."""
        coarse = [part for part, fine in zip(self.hulls, self.fine_hulls, strict=True) if not fine]
        return _joined(coarse), _joined(self.hulls)

    @functools.cached_property
    def shadow(self) -> Parts:
        """The parts of its shadow. They darken each other where they overlap, so what has a skirt has only one."""
        return _joined([np.concatenate(self.hulls)] if self.skirt else self.hulls)


def _joined(parts: Sequence[NDArray[np.int64]]) -> Parts:
    return np.concatenate([np.zeros(0, np.int64), *parts]), [len(part) for part in parts]


def patch(quad: Quad, left: float, right: float, low: float, high: float) -> Quad:
    """Return the part of a quad (corners: low left, low right, high right, high left) between these shares of it."""

    def at(across: float, along: float) -> Point:
        x, y, z = (
            (start := a + (b - a) * across) + (d + (c - d) * across - start) * along
            for a, b, c, d in zip(*quad, strict=True)
        )
        return x, y, z

    return at(left, low), at(right, low), at(right, high), at(left, high)


class Builder:
    """Collects faces and convex parts."""

    def __init__(self) -> None:
        # Each point once, however many faces share it.
        self._points: dict[Point, int] = {}
        self._corners: list[int] = []
        self._faces: list[tuple[int, ...]] = []
        self._materials: list[int] = []
        self._fine: list[bool] = []
        self._hulls: list[list[int]] = []
        self._fine_hulls: list[bool] = []

    def face(
        self, corners: Sequence[Point], material: Material, inside: Point | None = None, *, fine: bool = False
    ) -> None:
        """Add a face. `inside` is a point behind it: it decides which side is outside (None keeps the order)."""
        indices = tuple(self._points.setdefault(corner, len(self._points)) for corner in corners)
        self._corners.extend(indices)
        if inside is not None and not _looks_away(corners, inside):
            indices = indices[::-1]
        self._faces.append(indices)
        self._materials.append(material)
        self._fine.append(fine)

    def part(self, first_corner: int) -> None:
        """Declare all corners added since `first_corner` a convex part of the silhouette."""
        self._hulls.append(list(dict.fromkeys(self._corners[first_corner:])))
        self._fine_hulls.append(self._fine[-1])

    @property
    def count(self) -> int:
        """How many corners faces have so far."""
        return len(self._corners)

    def box(
        self, low: Point, high: Point, material: Material, *, top: Material | None = None, fine: bool = False
    ) -> list[Quad]:
        """Add a box as a part of its own; return its front, rear, left and right side for `patch`."""
        (x0, y0, z0), (x1, y1, z1) = low, high
        centre = ((x0 + x1) / 2, (y0 + y1) / 2, (z0 + z1) / 2)
        rear: Quad = ((x0, y0, z0), (x1, y0, z0), (x1, y0, z1), (x0, y0, z1))
        front: Quad = ((x1, y1, z0), (x0, y1, z0), (x0, y1, z1), (x1, y1, z1))
        left: Quad = ((x0, y1, z0), (x0, y0, z0), (x0, y0, z1), (x0, y1, z1))
        right: Quad = ((x1, y0, z0), (x1, y1, z0), (x1, y1, z1), (x1, y0, z1))
        first = self.count
        for side in (front, rear, left, right):
            self.face(side, material, centre, fine=fine)
        self.face(
            ((x0, y0, z1), (x1, y0, z1), (x1, y1, z1), (x0, y1, z1)),
            material if top is None else top,
            centre,
            fine=fine,
        )
        self.part(first)
        return [front, rear, left, right]

    def build(self, *, flat: bool = False, skirt: bool = False) -> Mesh:
        """Return the body."""
        probes = [(f[0], f[len(f) // 3], f[2 * len(f) // 3]) for f in self._faces]
        return Mesh(
            np.asarray(np.asarray(list(self._points), np.float64), order="F"),
            np.concatenate(self._faces).astype(np.int64),
            np.asarray([len(face) for face in self._faces], np.int64),
            tuple(
                (number, np.asarray(self._faces[number]))
                for kind in (Material.HEADLAMP, Material.TAIL_LAMP)
                for number, material in enumerate(self._materials)
                if material == kind
            ),
            np.asarray(probes, np.int64),
            np.asarray(self._materials, np.int64),
            np.asarray(self._fine, np.bool_),
            tuple(np.asarray(hull, np.int64) for hull in self._hulls),
            tuple(self._fine_hulls),
            max(math.sqrt(x * x + y * y + z * z) for x, y, z in self._points),
            (_span(x for x, _, _ in self._points), _span(y for _, y, _ in self._points)),
            flat,
            skirt,
        )


def _span(values: Iterable[float]) -> tuple[float, float]:
    ordered = sorted(values)
    return ordered[0], ordered[-1]


def _looks_away(corners: Sequence[Point], inside: Point) -> bool:
    """Tell whether a face's front side looks away from a point."""
    count = len(corners)
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = corners[0], corners[count // 3], corners[2 * count // 3]
    px, py, pz, qx, qy, qz = bx - ax, by - ay, bz - az, cx - ax, cy - ay, cz - az
    middle = [math.fsum(axis) / count for axis in zip(*corners, strict=True)]
    normal = (py * qz - pz * qy, pz * qx - px * qz, px * qy - py * qx)
    return sum(n * (m - i) for n, m, i in zip(normal, middle, inside, strict=True)) > 0
