"""Passenger cars: saloons, hatchbacks, estates, SUVs, MPVs, coupés and pickups as lofted bodies with their details."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass

from detq.datasets.synthetic.mesh import Builder, Material, Mesh, Point, Quad, patch

__all__ = ["CAR_SHAPES", "PAINTS", "VARIANTS", "CarShape", "car_mesh"]

M = Material
VARIANTS = 4

#: Paint colours and how common they are on the road.
PAINTS: tuple[tuple[tuple[int, int, int], float], ...] = (
    ((222, 223, 222), 24),
    ((38, 39, 42), 20),
    ((104, 108, 112), 14),
    ((160, 164, 168), 13),
    ((42, 62, 112), 7),
    ((62, 102, 150), 4),
    ((148, 30, 32), 7),
    ((92, 22, 30), 2),
    ((48, 70, 56), 2),
    ((110, 92, 70), 2),
    ((184, 168, 138), 2),
    ((206, 168, 44), 1.5),
    ((196, 94, 38), 1),
    ((126, 152, 96), 0.5),
)


@dataclass(frozen=True)
class CarShape:
    """A kind of car: its side view, metres, y from the centre to the front.

    Attributes:
        length, width, height: outer size.
        bonnet_z, belt_z, tail_z: height of the bonnet's front edge, the windows' lower edge, the tail.
        cowl_y, roof_front_y, roof_rear_y, deck_y: foot of the windscreen, roof, foot of the rear window.
        wheel_r, clearance: wheel radius and height of the sills.
        weight: how common it is.
    """

    length: float
    width: float
    height: float
    bonnet_z: float
    belt_z: float
    tail_z: float
    cowl_y: float
    roof_front_y: float
    roof_rear_y: float
    deck_y: float
    wheel_r: float
    clearance: float
    weight: float


CAR_SHAPES = {
    "saloon": CarShape(4.65, 1.82, 1.45, 0.72, 0.93, 0.98, 1.05, 0.25, -0.95, -1.62, 0.33, 0.22, 26),
    "hatchback": CarShape(4.05, 1.76, 1.48, 0.74, 0.95, 1.00, 1.05, 0.30, -1.45, -1.90, 0.31, 0.22, 24),
    "estate": CarShape(4.75, 1.83, 1.49, 0.73, 0.95, 1.00, 1.05, 0.25, -1.90, -2.25, 0.33, 0.22, 12),
    "suv": CarShape(4.60, 1.90, 1.72, 0.92, 1.12, 1.12, 1.10, 0.40, -1.75, -2.15, 0.38, 0.32, 24),
    "mpv": CarShape(4.70, 1.86, 1.80, 0.86, 1.06, 1.06, 1.55, 0.60, -1.95, -2.22, 0.34, 0.24, 6),
    "coupe": CarShape(4.45, 1.84, 1.34, 0.66, 0.88, 0.92, 0.85, 0.05, -0.65, -1.75, 0.34, 0.20, 4),
    "pickup": CarShape(5.20, 1.92, 1.78, 0.95, 1.14, 1.12, 1.20, 0.55, -0.55, -0.85, 0.39, 0.34, 4),
}


@functools.cache
def car_mesh(kind: str, variant: int) -> Mesh:
    """Return the body of a `CAR_SHAPES` kind, with one of `VARIANTS` designs of lamps and grille."""
    shape = CAR_SHAPES[kind]
    builder = Builder()
    _lower_body(builder, shape, variant)
    if kind == "pickup":
        _load_bed(builder, shape)
    _greenhouse(builder, shape)
    for side in (-1, 1):
        _mirror(builder, shape, side)
    return builder.build(skirt=True)


def _lower_body(builder: Builder, s: CarShape, variant: int) -> None:
    end, half, low = s.length / 2, s.width / 2, s.clearance
    profile = [
        (end - 0.10, low, 0.86),
        (end, low + 0.22, 0.90),
        (end - 0.12, s.bonnet_z, 0.90),
        (s.cowl_y, s.belt_z, 0.95),
        (s.deck_y, s.belt_z, 0.95),
        (-end + 0.08, s.tail_z, 0.90),
        (-end, low + 0.30, 0.92),
        (-end + 0.10, low, 0.88),
    ]
    inside = (0.0, 0.0, (low + s.belt_z) / 2)
    first = builder.count
    faces: list[Quad] = []
    for (y0, z0, w0), (y1, z1, w1) in itertools.pairwise(profile):
        quad: Quad = ((-half * w0, y0, z0), (half * w0, y0, z0), (half * w1, y1, z1), (-half * w1, y1, z1))
        builder.face(quad, M.PAINT, inside)
        faces.append(quad)
    for side in (-1, 1):
        _flank(builder, s, profile, side)
    reach, wide = end * 0.62 + s.wheel_r * 0.5, half * 0.98
    builder.face([(-wide, reach, 0.0), (wide, reach, 0.0), (wide, -reach, 0.0), (-wide, -reach, 0.0)], M.TYRE, inside)
    builder.part(first)
    _front(builder, faces[0], faces[1], inside, variant)
    _rear(builder, faces[5], faces[6], inside, variant)
    for side in (-1, 1):
        for wheel_y in (end * 0.62, -end * 0.60):
            _wheel(builder, s, side * half * 0.985, wheel_y)


def _flank(builder: Builder, s: CarShape, profile: list[tuple[float, float, float]], side: int) -> None:
    half, low = s.width / 2 * side, s.clearance
    inside = (0.0, 0.0, s.belt_z / 2)
    end, crease = s.length / 2, low + (s.belt_z - low) * 0.62
    front, rear = profile[1], profile[6]
    upper: list[Point] = [(half * w, y, z) for y, z, w in profile[2:6]]
    waist: list[Point] = [(half * front[2], front[0] - 0.03, crease), (half, end * 0.5, crease)]
    waist += [(half, -end * 0.5, crease), (half * rear[2], rear[0] + 0.02, crease)]
    builder.face([*waist, *upper[::-1]], M.PAINT, inside)
    sill: list[Point] = [(half * w, y, z) for y, z, w in (profile[0], profile[1], profile[6], profile[7])]
    builder.face([sill[0], sill[1], *waist, sill[2], sill[3]], M.PAINT, inside)
    strip = ((half * 0.97, end * 0.55, low), (half * 0.97, -end * 0.55, low))
    lift = [(x * 1.035, y, z + 0.10) for x, y, z in strip[::-1]]
    builder.face([*strip, *lift], M.TRIM, inside, fine=True)
    for y in (s.cowl_y - 0.25, (s.cowl_y + s.deck_y) / 2 + 0.05):
        seam = [(half * 1.002, y + d, z) for d, z in ((0.012, low + 0.12), (-0.012, low + 0.12))]
        seam += [(half * 0.96, y + d, s.belt_z) for d in (-0.012, 0.012)]
        builder.face(seam, M.TRIM, inside, fine=True)


def _front(builder: Builder, bumper: Quad, nose: Quad, inside: Point, variant: int) -> None:
    lamps = ((0.02, 0.26, 0.40, 0.92), (0.04, 0.22, 0.25, 0.90), (0.02, 0.32, 0.62, 0.95), (0.05, 0.20, 0.45, 0.98))
    left, right, low, high = lamps[variant]
    for share in ((left, right), (1 - right, 1 - left)):
        builder.face(patch(nose, *share, low, high), M.HEADLAMP, inside)
    grille = ((0.30, 0.70, 0.35, 0.85), (0.24, 0.76, 0.10, 0.80), (0.36, 0.64, 0.05, 0.75), (0.26, 0.74, 0.50, 0.85))
    builder.face(patch(nose, *grille[variant]), M.TRIM, inside)
    if variant % 2:
        builder.face(patch(nose, 0.30, 0.70, 0.42, 0.50), M.CHROME, inside, fine=True)
    builder.face(patch(bumper, 0.14, 0.86, 0.10, 0.62), M.TRIM, inside)
    builder.face(patch(bumper, 0.37, 0.63, 0.45, 0.95), M.PLATE, inside)


def _rear(builder: Builder, tail: Quad, bumper: Quad, inside: Point, variant: int) -> None:
    lamps = ((0.02, 0.24, 0.20, 0.62), (0.02, 0.15, 0.05, 0.75), (0.02, 0.32, 0.20, 0.45), (0.03, 0.20, 0.10, 0.50))
    left, right, low, high = lamps[variant]
    for share in ((left, right), (1 - right, 1 - left)):
        builder.face(patch(tail, *share, low, high), M.TAIL_LAMP, inside)
    builder.face(patch(tail, 0.37, 0.63, 0.42, 0.66), M.PLATE, inside)
    if variant == 2:
        builder.face(patch(tail, 0.34, 0.66, 0.26, 0.34), M.CHROME, inside, fine=True)
    builder.face(patch(bumper, 0.08, 0.92, 0.45, 1.0), M.TRIM, inside)


def _wheel(builder: Builder, s: CarShape, x: float, y: float) -> None:
    quarter = ((1.0, 0.0), (0.81, 0.59), (0.31, 0.95), (-0.31, 0.95), (-0.81, 0.59))
    ring = [*quarter, *((-a, -b) for a, b in quarter)]
    inside = (0.0, y, s.wheel_r)
    arch, tyre, rim = s.wheel_r * 1.17, s.wheel_r, s.wheel_r * 0.62
    disks = ((arch, 1.005, M.TRIM), (tyre, 1.012, M.TYRE), (rim, 1.018, M.RIM))
    for radius, out, material in disks:
        corners = [(x * out, y + a * radius, max(s.wheel_r + b * radius, 0.0)) for a, b in ring]
        builder.face(corners, material, inside)


def _load_bed(builder: Builder, s: CarShape) -> None:
    half, end = s.width / 2 * 0.86, s.length / 2
    z = s.belt_z + 0.005
    corners = [(-half, s.deck_y - 0.1, z), (half, s.deck_y - 0.1, z), (half, -end + 0.2, z), (-half, -end + 0.2, z)]
    builder.face(corners, M.TRIM, (0.0, 0.0, 0.0))


def _greenhouse(builder: Builder, s: CarShape) -> None:
    base, roof, top = s.width / 2 * 0.93, s.width / 2 * 0.72, s.height
    inside = (0.0, (s.cowl_y + s.deck_y) / 2, (s.belt_z + top) / 2)
    z, rim = s.belt_z - 0.01, top - 0.05
    front: Quad = ((base, s.cowl_y, z), (-base, s.cowl_y, z), (-roof, s.roof_front_y, rim), (roof, s.roof_front_y, rim))
    rear: Quad = ((-base, s.deck_y, z), (base, s.deck_y, z), (roof, s.roof_rear_y, rim), (-roof, s.roof_rear_y, rim))
    first = builder.count
    _roof(builder, s, roof, rim, inside)
    for end in (front, rear):
        builder.face(end, M.PAINT, inside)
        builder.face(patch(end, 0.06, 0.94, 0.06, 0.92), M.GLASS, inside)
    for a, b in ((front[1], rear[0]), (rear[1], front[0])):
        high = (front[2], rear[3]) if a[0] < 0 else (rear[2], front[3])
        side: Quad = (a, b, high[1], high[0])
        builder.face(side, M.PAINT, inside)
        for share in ((0.10, 0.47), (0.52, 0.90)):
            builder.face(patch(side, *share, 0.10, 0.88), M.GLASS, inside)
    builder.part(first)


def _roof(builder: Builder, s: CarShape, half: float, rim: float, inside: Point) -> None:
    inner, crown = half * 0.82, s.height
    y0, y1 = s.roof_front_y, s.roof_rear_y
    lid: Quad = (
        (-inner, y1 + 0.12, crown),
        (inner, y1 + 0.12, crown),
        (inner, y0 - 0.15, crown),
        (-inner, y0 - 0.15, crown),
    )
    edge: Quad = ((-half, y1, rim), (half, y1, rim), (half, y0, rim), (-half, y0, rim))
    builder.face(lid, M.SECOND, inside)
    for k in range(4):
        builder.face((edge[k], edge[(k + 1) % 4], lid[(k + 1) % 4], lid[k]), M.PAINT, inside)


def _mirror(builder: Builder, s: CarShape, side: int) -> None:
    x, y, z = side * s.width / 2, s.cowl_y - 0.42, s.belt_z
    low, high = min(x * 0.95, x * 1.09), max(x * 0.95, x * 1.09)
    builder.box((low, y, z), (high, y + 0.10, z + 0.13), M.PAINT, fine=True)
