"""Who is in a scene: bodies with their colours, ready to be placed."""

from __future__ import annotations

import numpy as np

from detq.datasets.synthetic.actors import Body, Pose
from detq.datasets.synthetic.camera import Camera, Doubles
from detq.datasets.synthetic.cars import CAR_SHAPES, PAINTS, VARIANTS, car_mesh
from detq.datasets.synthetic.conditions import Colour, Conditions, mix
from detq.datasets.synthetic.dice import Dice
from detq.datasets.synthetic.furniture import gantry_mesh, house_mesh, lamp_mesh, rail_mesh, sign_mesh, tree_mesh
from detq.datasets.synthetic.mesh import Material, Mesh
from detq.datasets.synthetic.roads import Road, car_pose
from detq.datasets.synthetic.traffic import box_mesh, bus_mesh, cyclist_mesh, lorry_mesh, person_mesh

__all__ = ["STREET", "cast_car", "cast_other", "cast_street"]

M = Material
STREET = frozenset({"house", "tree", "lamp", "sign", "rail", "gantry"})
"""The kinds that `cast_street` draws."""
_KINDS = tuple((name, shape.weight) for name, shape in CAR_SHAPES.items())
_BASE: dict[Material, Colour] = {
    M.PAINT: (150, 150, 150),
    M.SECOND: (150, 150, 150),
    M.GLASS: (34, 40, 46),
    M.TRIM: (30, 31, 33),
    M.TYRE: (24, 24, 25),
    M.RIM: (126, 128, 132),
    M.HEADLAMP: (205, 210, 214),
    M.TAIL_LAMP: (132, 20, 20),
    M.INDICATOR: (214, 128, 24),
    M.PLATE: (222, 222, 210),
    M.CHROME: (196, 198, 202),
    M.THIRD: (120, 90, 70),
    M.LIT_WINDOW: (38, 44, 50),
}
_TABLE = np.asarray([_BASE[material] for material in M], np.float64)
_SNOW: Colour = (236, 240, 246)


def _colours(paint: Colour, second: Colour | None = None, third: Colour | None = None, **other: Colour) -> Doubles:
    table = _TABLE.copy()
    table[M.PAINT] = paint
    table[M.SECOND] = second or paint
    if third:
        table[M.THIRD] = third
    for key, colour in other.items():
        table[Material[key]] = colour
    return table


def cast_car(dice: Dice, pose: Pose, camera: Camera, conditions: Conditions, *, moving: bool) -> Body | None:
    """Draw a car at `pose`, or nothing where the camera does not look."""
    if camera.glimpse(pose.x, pose.y, 2.6) is None:
        return None
    mesh = car_mesh(dice.weighted(_KINDS), dice.integer(0, VARIANTS - 1))
    paint = dice.jitter(dice.weighted(PAINTS), 16)
    size = dice.uniform(0.94, 1.05)
    stretch = (size * dice.uniform(0.97, 1.03), size * dice.uniform(0.95, 1.05), size * dice.uniform(0.96, 1.05))
    snowed = conditions.white * (dice.uniform(0.0, 0.6) if moving else dice.uniform(0.3, 1.0))
    roof = mix(paint if dice.chance(0.85) else (28, 28, 30), _SNOW, snowed)
    dirt = mix(paint, (128, 118, 104), dice.uniform(0, 0.35) * dice.unit())
    glass = dice.jitter((36, 42, 48), 16)
    plate = dice.pick(((222, 222, 212), (222, 222, 212), (226, 190, 40), (40, 60, 140), (70, 120, 80)))
    rim = dice.jitter((126, 128, 132), 50)
    colours = _colours(
        mix(dirt, _SNOW, snowed * 0.35), roof, GLASS=mix(glass, _SNOW, snowed * 0.3), PLATE=plate, RIM=rim
    )
    lit = moving and dice.chance(conditions.lit)
    return Body("car", mesh, Pose(pose.x, pose.y, pose.ahead, stretch), colours, lit)


def cast_other(dice: Dice, road: Road, conditions: Conditions) -> Body:
    """Draw somebody else in traffic: a lorry, a bus, a motorcycle, somebody on foot, a container."""
    kind = dice.weighted((("lorry", 3.0), ("bus", 1.2), ("cyclist", 2.0), ("person", 3.0), ("box", 1.6)))
    pose, moving = car_pose(dice, road, 12.0, 90.0)
    paint, second = _vivid(dice), _vivid(dice)
    lit = moving and dice.chance(conditions.lit)
    mesh: Mesh
    if kind == "lorry":
        mesh = lorry_mesh(dice.integer(0, 3))
        cargo = dice.jitter(dice.pick(((226, 226, 224), (226, 226, 224), (150, 152, 154), second)), 14)
        return Body(kind, mesh, pose, _colours(paint, cargo, _vivid(dice)), lit)
    if kind == "bus":
        return Body(kind, bus_mesh(dice.integer(0, 1)), pose, _colours(paint, second), lit)
    skin = dice.pick(((196, 152, 122), (142, 98, 72), (92, 62, 46)))
    if kind == "cyclist":
        mesh = cyclist_mesh(dice.integer(0, 1))
        return Body(kind, mesh, pose, _colours(paint, dice.jitter((60, 60, 64), 30), skin))
    edge = dice.sign() * (road.right + dice.uniform(0.4, 2.5))
    beside = Pose(road.centre(pose.y) + edge, pose.y, pose.ahead)
    if kind == "person":
        at = beside if dice.chance(0.7) else pose
        return Body(kind, person_mesh(dice.integer(0, 3)), at, _colours(paint, dice.jitter((50, 54, 70), 30), skin))
    mesh = box_mesh(*dice.pick(((6.1, 2.4, 2.6), (1.2, 0.9, 1.3), (2.2, 1.6, 1.5), (3.6, 2.0, 1.7))))
    at = Pose(beside.x + (1.5 if edge > 0 else -1.5), beside.y, beside.ahead)
    return Body(kind, mesh, at, _colours(paint, second, _vivid(dice)))


def _vivid(dice: Dice) -> Colour:
    return dice.jitter(
        dice.pick(((200, 40, 40), (40, 80, 160), (230, 180, 40), (60, 130, 80), (225, 225, 225), (50, 52, 58))), 24
    )


def cast_street(dice: Dice, road: Road) -> list[Body]:
    """Draw what stands beside the road: houses, trees, lamps, signs, rails, a gantry."""
    found: list[Body] = []
    edge = road.right + 0.5
    if road.kind in {"street", "junction", "car park"} or dice.chance(0.15):
        found += [_house(dice, road, side, 12.0 + 17.0 * n) for n in range(6) for side in (-1, 1) if dice.chance(0.75)]
    trees = dice.integer(0, 12)
    for _ in range(trees):
        y = dice.uniform(8, 130)
        x = road.centre(y) + dice.sign() * (edge + dice.uniform(1.5, 5.0 if road.verge == "pavement" else 30.0))
        found.append(_tree(dice, x, y))
    found += _lamps(dice, road)
    for _ in range(dice.integer(0, 4)):
        y = dice.uniform(10, 80)
        x = road.centre(y) + dice.sign() * (edge + dice.uniform(0.2, 1.5))
        size = dice.uniform(0.8, 1.2)
        colours = _colours(_vivid(dice), _vivid(dice))
        found.append(Body("sign", sign_mesh(dice.integer(0, 3)), Pose(x, y, stretch=(size, size, size)), colours))
    if road.kind == "highway":
        found += _rails(dice, road)
        if dice.chance(0.3):
            y = dice.uniform(35, 110)
            board = dice.pick(((30, 90, 60), (30, 70, 150), (40, 44, 48)))
            mesh = gantry_mesh(int(2 * edge + 3))
            colours = _colours(board, TRIM=(120, 122, 124))
            found.append(Body("gantry", mesh, Pose(road.centre(y), y, road.along(y)), colours))
    return found


def _house(dice: Dice, road: Road, side: int, y: float) -> Body:
    x = road.centre(y) + side * (road.right + dice.uniform(9, 13))
    wall = dice.jitter(
        dice.pick(((168, 150, 132), (142, 98, 80), (190, 186, 178), (120, 122, 128), (206, 192, 160))), 20
    )
    lit = mix((70, 76, 84), (235, 190, 110), dice.unit())
    colours = _colours(wall, TRIM=(92, 90, 90), LIT_WINDOW=lit)
    return Body("house", house_mesh(dice.integer(0, 11)), Pose(x, y), colours)


def _tree(dice: Dice, x: float, y: float) -> Body:
    leaf = dice.pick(((58, 78, 42), (72, 92, 46), (46, 62, 40), (110, 96, 52), (84, 76, 66)))
    tones = [dice.jitter(mix(leaf, (20, 26, 20), shade), 8) for shade in (0.0, 0.25, 0.5)]
    size = dice.uniform(0.8, 1.4)
    pose = Pose(x, y, stretch=(size * dice.sign(), 1.0, size))
    return Body("tree", tree_mesh(dice.integer(0, 11)), pose, _colours(*tones, TRIM=(62, 50, 42)))


def _lamps(dice: Dice, road: Road) -> list[Body]:
    if not dice.chance(0.65):
        return []
    first, gap, edge = dice.uniform(4, 25), dice.uniform(22, 40), road.right + 0.7
    sides = dice.pick(((-1,), (1,), (-1, 1)))
    colours = _colours(dice.jitter((128, 130, 132), 40), LIT_WINDOW=(210, 210, 200))
    return [
        Body("lamp", lamp_mesh(-side), Pose(road.centre(y) + side * edge, y), colours)
        for y in (first + gap * n for n in range(4))
        for side in sides
    ]


def _rails(dice: Dice, road: Road) -> list[Body]:
    places = [(-road.right - 0.4, 0.8), (road.right + 0.4, 0.8), (0.0, 0.75 if road.median > 0.5 else 0.0)]
    concrete = int(dice.chance(0.35))
    colours = _colours(dice.jitter((150, 152, 154), 25))
    rails: list[Body] = []
    for offset, likely in places:
        if not dice.chance(likely):
            continue
        y = 3.0
        while y < 170:
            length = 4.0 + y * 0.3
            middle = y + length / 2
            ahead = road.along(middle)
            pose = Pose(road.centre(middle) + offset, middle, ahead, (1.0, length / ahead[1] - 0.25, 1.0))
            rails.append(Body("rail", rail_mesh(concrete), pose, colours))
            y += length
    return rails
