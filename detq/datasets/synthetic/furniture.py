"""What stands beside the road: poles, lamps, signs, gantries, guard rails, trees, houses."""

from __future__ import annotations

import functools

from detq.datasets.synthetic.dice import Dice
from detq.datasets.synthetic.mesh import Builder, Material, Mesh, patch

__all__ = ["gantry_mesh", "house_mesh", "lamp_mesh", "rail_mesh", "sign_mesh", "tree_mesh"]

M = Material


@functools.cache
def lamp_mesh(arm: int) -> Mesh:
    """Return a street lamp whose arm points left (-1), right (1), or a bare mast (0)."""
    builder = Builder()
    builder.box((-0.10, -0.10, 0.0), (0.10, 0.10, 8.5), M.PAINT)
    if arm:
        reach = sorted((0.0, arm * 2.2))
        builder.box((reach[0], -0.06, 8.4), (reach[1], 0.06, 8.52), M.PAINT)
        head = sorted((arm * 1.7, arm * 2.5))
        builder.box((head[0], -0.15, 8.3), (head[1], 0.15, 8.45), M.LIT_WINDOW)
    return builder.build()


@functools.cache
def sign_mesh(shape: int) -> Mesh:
    """Return a round sign (0), a direction board (1), a billboard (2) or traffic lights (3)."""
    builder = Builder()
    if shape == 0:
        builder.box((-0.05, -0.05, 0.0), (0.05, 0.05, 2.4), M.TRIM)
        _disk(builder, 0.40, M.PAINT, 0.00)
        _disk(builder, 0.29, M.PLATE, 0.01)
        return builder.build()
    width, low, high = ((0, 0, 0), (2.6, 2.2, 3.9), (5.5, 2.5, 5.3), (0.34, 2.5, 3.5))[shape]
    for x in (-width * 0.3, width * 0.3) if shape != 3 else (0.0,):
        builder.box((x - 0.07, -0.04, 0.0), (x + 0.07, 0.04, low), M.TRIM)
    front, rear, *_ = builder.box((-width / 2, -0.06, low), (width / 2, 0.06, high), M.PAINT if shape != 3 else M.TRIM)
    inside = (0.0, 0.0, (low + high) / 2)
    for side in (front, rear):
        if shape == 3:
            builder.face(patch(side, 0.2, 0.8, 0.68, 0.95), M.TAIL_LAMP, inside)
            continue
        builder.face(patch(side, 0.08, 0.62, 0.60, 0.80), M.PLATE, inside)
        builder.face(patch(side, 0.08, 0.45, 0.22, 0.42), M.PLATE, inside)
        builder.face(patch(side, 0.70, 0.92, 0.18, 0.82), M.SECOND, inside)
    return builder.build()


def _disk(builder: Builder, radius: float, material: Material, lift: float) -> None:
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
    for side in (-1, 1):
        first = builder.count
        corners = [(a * radius, side * (0.06 + lift), 2.4 + b * radius) for a, b in ring]
        builder.face(corners, material, (0.0, 0.0, 2.4))
        builder.part(first)


@functools.cache
def gantry_mesh(width: int) -> Mesh:
    """Return a sign gantry over a road `width` metres wide."""
    builder = Builder()
    for x in (-width / 2, width / 2):
        builder.box((x - 0.2, -0.2, 0.0), (x + 0.2, 0.2, 7.2), M.TRIM)
    builder.box((-width / 2, -0.2, 6.3), (width / 2, 0.2, 7.0), M.TRIM)
    for share in (0.14, 0.45, 0.74):
        x = (share - 0.5) * width
        front, rear, *_ = builder.box((x, -0.35, 5.7), (x + width * 0.2, 0.3, 7.9), M.PAINT)
        for side in (front, rear):
            builder.face(patch(side, 0.1, 0.8, 0.6, 0.8), M.PLATE, (x + 1, 0.0, 6.5))
            builder.face(patch(side, 0.1, 0.6, 0.25, 0.45), M.PLATE, (x + 1, 0.0, 6.5))
    return builder.build()


@functools.cache
def rail_mesh(concrete: int) -> Mesh:
    """Return a metre of guard rail (0) or concrete wall (1) along y, to be stretched."""
    low, high = ((0.42, 0.76), (0.0, 0.82))[concrete]
    builder = Builder()
    builder.box((-0.12, -0.5, low), (0.12, 0.5, high), M.PAINT)
    return builder.build()


@functools.cache
def tree_mesh(variant: int) -> Mesh:
    """Return one of twelve trees and bushes."""
    dice = Dice(0x7EE, variant)
    builder = Builder()
    tall, wide = dice.uniform(3.0, 9.0), dice.uniform(1.4, 3.2)
    bush = variant % 4 == 3
    if bush:
        tall = dice.uniform(1.0, 1.8)
    else:
        _card(builder, [(-0.18, 0.0), (0.18, 0.0), (0.12, tall * 0.6), (-0.12, tall * 0.6)], M.TRIM)
    for _ in range(8):
        z = tall * dice.uniform(0.35 if bush else 0.45, 0.85)
        x = dice.uniform(-0.6, 0.6) * wide
        radius = wide * dice.uniform(0.28, 0.5) * (0.6 if bush else 1.0)
        ring = _blob(dice, x, max(z, radius * 0.8), radius)
        _card(builder, ring, dice.pick((M.PAINT, M.SECOND, M.THIRD)))
    return builder.build(flat=True)


def _blob(dice: Dice, x: float, z: float, radius: float) -> list[tuple[float, float]]:
    quarter = ((1.0, 0.0), (0.8, 0.6), (0.3, 0.95), (-0.3, 0.95), (-0.8, 0.6))
    ring = [*quarter, *((-a, -b) for a, b in quarter)]
    return [(x + a * radius * dice.uniform(0.85, 1.1), z + b * radius * dice.uniform(0.75, 0.95)) for a, b in ring]


def _card(builder: Builder, corners: list[tuple[float, float]], material: Material) -> None:
    first = builder.count
    builder.face([(x, 0.0, z) for x, z in corners], material)
    builder.part(first)


@functools.cache
def house_mesh(variant: int) -> Mesh:
    """Return one of twelve buildings with rows of windows."""
    dice = Dice(0xB01D, variant)
    width, length, height = dice.uniform(8, 14), dice.uniform(9, 22), dice.uniform(6, 30)
    builder = Builder()
    sides = builder.box((-width / 2, -length / 2, 0.0), (width / 2, length / 2, height), M.PAINT, top=M.TRIM)
    floors = max(2, min(int(height / 3.2), 7))
    inside = (0.0, 0.0, height / 2)
    for number, side in enumerate(sides):
        bays = max(2, min(int((width if number < 2 else length) / 3.4), 5))
        for floor in range(floors):
            for bay in range(bays):
                across, up = bay / bays, floor / floors
                hole = patch(side, across + 0.3 / bays, across + 0.72 / bays, up + 0.3 / floors, up + 0.75 / floors)
                builder.face(hole, M.LIT_WINDOW if dice.chance(0.3) else M.GLASS, inside)
    return builder.build()
