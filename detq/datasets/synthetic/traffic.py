"""What else is on the road and is not a car: lorries, buses, motorcycles, people, containers."""

from __future__ import annotations

import functools

from detq.datasets.synthetic.mesh import Builder, Material, Mesh, Point, Quad, patch

__all__ = ["box_mesh", "bus_mesh", "cyclist_mesh", "lorry_mesh", "person_mesh"]

M = Material


def _wheels(builder: Builder, half: float, places: tuple[float, ...], radius: float) -> None:
    ring = (
        (1.0, 0.0),
        (0.71, 0.71),
        (0.0, 1.0),
        (-0.71, 0.71),
        (-1.0, 0.0),
        (-0.71, -0.71),
        (0.0, -1.0),
        (0.71, -0.71),
    )
    for x in (-half, half):
        for y in places:
            for share, out, material in ((1.0, 1.004, M.TYRE), (0.55, 1.008, M.RIM)):
                first = builder.count
                corners = [(x * out, y + a * radius * share, radius + b * radius * share) for a, b in ring]
                builder.face(corners, material, (0.0, y, radius))
                if material == M.TYRE:
                    builder.part(first)


def _lamps(builder: Builder, front: Quad, rear: Quad, low: float, high: float) -> None:
    inside = (0.0, 0.0, 1.0)
    for left, right in ((0.04, 0.20), (0.80, 0.96)):
        builder.face(patch(front, left, right, low, high), M.HEADLAMP, inside)
        builder.face(patch(rear, left, right - 0.04, low, high * 0.9), M.TAIL_LAMP, inside)
    builder.face(patch(rear, 0.4, 0.6, low, high * 0.8), M.PLATE, inside)
    builder.face(patch(front, 0.4, 0.6, low * 0.5, high * 0.7), M.PLATE, inside)


@functools.cache
def lorry_mesh(variant: int) -> Mesh:
    """Return a box lorry (0), articulated lorry (1), tipper (2) or tanker-like low-roof lorry (3)."""
    length, height = ((7.5, 3.3), (14.0, 3.9), (7.0, 2.7), (9.0, 3.0))[variant]
    half, end = 1.22, length / 2
    builder = Builder()
    _, bumper, *_ = builder.box((-half * 0.9, -end, 0.5), (half * 0.9, end - 0.3, 1.05), M.TRIM)
    front, _, left, right = builder.box((-half * 0.97, end - 1.9, 0.45), (half * 0.97, end, 2.75), M.PAINT)
    inside = (0.0, end - 1.0, 1.5)
    builder.face(patch(front, 0.06, 0.94, 0.52, 0.86), M.GLASS, inside)
    builder.face(patch(front, 0.22, 0.78, 0.16, 0.42), M.TRIM, inside)
    builder.face(patch(left, 0.10, 0.72, 0.52, 0.86), M.GLASS, inside)
    builder.face(patch(right, 0.28, 0.90, 0.52, 0.86), M.GLASS, inside)
    _lamps(builder, front, bumper, 0.05, 0.16)
    _wheels(builder, half * 0.98, (end - 1.1, -end + 1.2, -end + 2.3), 0.5)
    _, back, side_l, side_r = builder.box((-half, -end, 1.05), (half, end - 2.1, height), M.SECOND)
    hold = (0.0, -1.0, 2.0)
    for side in (side_l, side_r):
        builder.face(patch(side, 0.15, 0.80, 0.30, 0.75), M.THIRD, hold)
        for share in (0.25, 0.5, 0.75):
            builder.face(patch(side, share, share + 0.004, 0.0, 1.0), M.TRIM, hold, fine=True)
    builder.face(patch(back, 0.49, 0.51, 0.03, 0.97), M.TRIM, hold)
    builder.face(patch(back, 0.08, 0.92, 0.40, 0.75), M.THIRD, hold, fine=True)
    return builder.build(skirt=True)


@functools.cache
def bus_mesh(variant: int) -> Mesh:
    """Return a city bus (0) or coach (1)."""
    length, height = ((11.5, 3.1), (12.8, 3.6))[variant]
    half, end = 1.26, length / 2
    builder = Builder()
    front, rear, left, right = builder.box((-half, -end, 0.35), (half, end, height), M.PAINT, top=M.SECOND)
    inside = (0.0, 0.0, 1.6)
    builder.face(patch(front, 0.05, 0.95, 0.28, 0.78), M.GLASS, inside)
    builder.face(patch(front, 0.18, 0.82, 0.84, 0.96), M.INDICATOR, inside)
    builder.face(patch(rear, 0.12, 0.88, 0.52, 0.85), M.GLASS, inside)
    for side in (left, right):
        builder.face(patch(side, 0.0, 1.0, 0.0, 0.16), M.SECOND, inside)
        for window in range(7):
            start = 0.03 + window * 0.135
            builder.face(patch(side, start, start + 0.122, 0.42, 0.85), M.GLASS, inside)
    _lamps(builder, front, rear, 0.07, 0.16)
    _wheels(builder, half, (end - 2.6, -end + 2.9), 0.48)
    return builder.build(skirt=True)


@functools.cache
def box_mesh(length: float, width: float, height: float) -> Mesh:
    """Return a container, cabinet or hut: car colours without a car's shape."""
    builder = Builder()
    sides = builder.box((-width / 2, -length / 2, 0.0), (width / 2, length / 2, height), M.PAINT, top=M.SECOND)
    for number, side in enumerate(sides):
        material = M.THIRD if number % 2 else M.TRIM
        builder.face(patch(side, 0.12, 0.88, 0.55, 0.80), material, (0.0, 0.0, height / 2))
        for share in (0.25, 0.5, 0.75):
            builder.face(patch(side, share, share + 0.01, 0.0, 1.0), M.TRIM, (0.0, 0.0, height / 2), fine=True)
    return builder.build()


def _card(builder: Builder, corners: list[tuple[float, float]], material: Material, *, part: bool = True) -> None:
    first = builder.count
    points: list[Point] = [(x, 0.0, z) for x, z in corners]
    builder.face(points, material)
    if part:
        builder.part(first)


def _oval(x: float, z: float, wide: float, tall: float) -> list[tuple[float, float]]:
    ring = (
        (1.0, 0.0),
        (0.71, 0.71),
        (0.0, 1.0),
        (-0.71, 0.71),
        (-1.0, 0.0),
        (-0.71, -0.71),
        (0.0, -1.0),
        (0.71, -0.71),
    )
    return [(x + a * wide, z + b * tall) for a, b in ring]


@functools.cache
def person_mesh(step: int) -> Mesh:
    """Return somebody on foot in one of four poses."""
    stride = (0.05, 0.16, 0.26, -0.12)[step]
    builder = Builder()
    for sign, material in ((-1, M.SECOND), (1, M.SECOND)):
        foot = sign * stride
        _card(
            builder,
            [(foot - 0.08, 0.0), (foot + 0.10, 0.0), (sign * 0.06 + 0.10, 0.90), (sign * 0.06 - 0.10, 0.90)],
            material,
        )
    for sign in (-1, 1):
        hand = sign * (0.26 + abs(stride) / 2)
        _card(
            builder,
            [(hand - 0.06, 0.82), (hand + 0.06, 0.82), (sign * 0.20 + 0.05, 1.45), (sign * 0.20 - 0.05, 1.45)],
            M.PAINT,
        )
    _card(builder, [(-0.20, 0.85), (0.20, 0.85), (0.24, 1.42), (0.10, 1.52), (-0.10, 1.52), (-0.24, 1.42)], M.PAINT)
    _card(builder, _oval(0.0, 1.63, 0.10, 0.13), M.THIRD)
    return builder.build(flat=True)


@functools.cache
def cyclist_mesh(motor: int) -> Mesh:
    """Return a bicycle (0) or motorcycle (1) with its rider, from the front or the rear."""
    wide = (0.06, 0.16)[motor]
    builder = Builder()
    _card(builder, _oval(0.0, 0.34, wide, 0.34), M.TYRE)
    if motor:
        _card(builder, [(-0.28, 0.45), (0.28, 0.45), (0.22, 0.95), (-0.22, 0.95)], M.SECOND)
        _card(builder, _oval(0.0, 0.86, 0.10, 0.09), M.TAIL_LAMP, part=False)
    _card(builder, [(-0.40, 0.98), (0.40, 0.98), (0.40, 1.04), (-0.40, 1.04)], M.TRIM)
    for sign in (-1, 1):
        _card(
            builder,
            [
                (sign * 0.18 - 0.09, 0.35),
                (sign * 0.18 + 0.09, 0.35),
                (sign * 0.14 + 0.1, 1.0),
                (sign * 0.14 - 0.1, 1.0),
            ],
            M.SECOND,
        )
    _card(builder, [(-0.20, 0.90), (0.20, 0.90), (0.27, 1.40), (0.10, 1.52), (-0.10, 1.52), (-0.27, 1.40)], M.PAINT)
    _card(builder, _oval(0.0, 1.64, 0.13, 0.15), M.TRIM if motor else M.THIRD)
    return builder.build(flat=True)
