"""Sky, horizon, ground, road surface and markings: everything that is behind or below the bodies."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from detq.datasets.synthetic.camera import REFERENCE, Camera, Doubles
from detq.datasets.synthetic.canvas import Canvas, levels
from detq.datasets.synthetic.conditions import Colour, Conditions, mix, transmission
from detq.datasets.synthetic.dice import Dice
from detq.datasets.synthetic.layout import Scene
from detq.datasets.synthetic.roads import Road

__all__ = ["lit_ground", "paint_background"]

_VERGES: dict[str, tuple[Colour, ...]] = {
    "grass": ((92, 112, 62), (112, 122, 72), (84, 96, 66), (132, 124, 84)),
    "pavement": ((150, 146, 140), (128, 126, 124), (164, 156, 148)),
    "dirt": ((148, 126, 100), (122, 108, 92), (166, 148, 122)),
}
Shape = list[list[float]]
_SNOW: Colour = (228, 232, 240)
_TRACKS_M = 75


def lit_ground(conditions: Conditions, colour: Colour, distance: float) -> Colour:
    """Return what a ground colour looks like under this light from this far away."""
    return mix(conditions.haze, _lit(conditions, colour), transmission(conditions, distance))


def _lit(conditions: Conditions, colour: Colour) -> Colour:
    sun_z = conditions.sun_direction[2]
    (a0, a1, a2), (s0, s1, s2) = conditions.ambient, conditions.sun
    dry = 1.0 - 0.3 * conditions.wet
    return (
        colour[0] * (a0 + s0 * sun_z) * dry,
        colour[1] * (a1 + s1 * sun_z) * dry,
        colour[2] * (a2 + s2 * sun_z) * dry,
    )


def paint_background(canvas: Canvas, scene: Scene, dice: Dice) -> None:
    """Paint everything behind and below the bodies."""
    _sky(canvas, scene)
    _horizon(canvas, scene, dice)
    edges = _depths(scene.camera)
    _surface(canvas, scene, dice, edges)
    if scene.road.kind == "car park":
        _bays(canvas, scene)
    else:
        _markings(canvas, scene, dice, edges)
    _patches(canvas, scene, dice)


def _sky(canvas: Canvas, scene: Scene) -> None:
    """Paint the sky in bands, down to just below the horizon: the ground covers the rest."""
    width, height = canvas.image.size
    camera, conditions = scene.camera, scene.conditions
    horizon = REFERENCE[1] / 2 + camera.focal_px * camera.forward[2] / camera.up[2]
    end = int(min(max((horizon + 40) / REFERENCE[1], 0.02), 1.0) * height)
    step = max(height // 240, 1)
    tops = range(0, end, step)
    tones = levels([mix(conditions.sky_top, conditions.sky_bottom, top / end) for top in tops])
    for top, tone in zip(tops, tones, strict=True):
        # Pasting a colour is several times as fast as drawing a rectangle.
        canvas.image.paste(tone, (0, top, width, top + step))


def _horizon(canvas: Canvas, scene: Scene, dice: Dice) -> None:
    """Hills, woods or a skyline far away."""
    far = 700.0
    haze, conditions = scene.conditions.haze, scene.conditions
    shapes: list[Shape] = []
    tones: list[Colour] = []
    for layer in range(dice.integer(0, 3)):
        woods = dice.chance(0.5)
        base: Colour = dice.jitter((74, 88, 70) if woods else (96, 104, 112), 18)
        tones.append(mix(lit_ground(conditions, base, 0.0), haze, 0.55 - 0.12 * layer))
        height, ridge = dice.uniform(10, 50), []
        for n in range(41):
            height = min(max(height + dice.uniform(-14, 14), 4.0), 80.0)
            ridge.append([n * 120.0 - 2400.0, far, height])
        shapes.append([*ridge, [2400.0, far, -4.0], [-2400.0, far, -4.0]])
    if dice.chance(0.45):
        _skyline(scene, dice, far, shapes, tones)
    _paint(canvas, scene, shapes, tones)


def _skyline(scene: Scene, dice: Dice, far: float, shapes: list[Shape], tones: list[Colour]) -> None:
    """Add houses and what is lit of their windows to the shapes and their colours."""
    for _ in range(dice.integer(6, 28)):
        x, wide, tall = dice.uniform(-600, 600), dice.uniform(14, 50), dice.uniform(20, 190) * dice.unit() + 12
        shapes.append(_wall(x, x + wide, far, tall))
        base = lit_ground(scene.conditions, dice.jitter((122, 122, 126), 30), 0.0)
        tones.append(mix(base, scene.conditions.haze, dice.uniform(0.35, 0.75)))
        if scene.conditions.night > 0.5:
            for _ in range(4):
                left, low = x + wide * dice.uniform(0.1, 0.8), tall * dice.uniform(0.1, 0.8)
                shapes.append(_wall(left, left + 3, far, low + 3, low))
                tones.append((190, 160, 100))


def _paint(canvas: Canvas, scene: Scene, shapes: list[Shape], tones: Sequence[Sequence[float]]) -> None:
    """Paint shapes with any number of corners, all at once, which is much cheaper than one by one."""
    if shapes:
        corners = np.asarray(list(itertools.chain.from_iterable(shapes)), np.float64)
        canvas.ground(scene.camera, corners, [len(shape) for shape in shapes], tones)


def _wall(left: float, right: float, y: float, top: float, bottom: float = -4.0) -> Shape:
    return [[left, y, bottom], [right, y, bottom], [right, y, top], [left, y, top]]


def _depths(camera: Camera) -> list[float]:
    """Return the borders of the strips that the ground is painted in, far ones first, from the picture's lower edge."""
    y, edges = min(_ground_y(camera, side) for side in (-1, 1)) - 1.0, []
    while y < 1200:
        edges.append(y)
        y += 1.8 + max(y, 0.0) * 0.22
    return edges[::-1]


def _ground_y(camera: Camera, side: int) -> float:
    """Return y of the ground that a lower corner of the picture shows."""
    across, upward = side * REFERENCE[0] / 2 / camera.focal_px, -REFERENCE[1] / 2 / camera.focal_px
    _, y, z = (f + across * r + upward * u for f, r, u in zip(camera.forward, camera.right, camera.up, strict=True))
    return max(camera.position[2] * y / max(-z, 1e-3), -5.0)


def _strips(road: Road, near: Doubles, far: Doubles, offsets: Sequence[tuple[float, float]]) -> Doubles:
    """Return the corners `(L * N * 4, 3)` of quads that follow the road.

    Between each pair of offsets from it, `(L, 2)`, they lead from each `near` to each `far`, `(N,)`.
    """
    across = np.asarray(offsets, np.float64).reshape(-1, 1, 2)[..., [0, 1, 1, 0]]
    along = np.stack([near, near, far, far], axis=1)
    quads = np.zeros((len(across), *along.shape, 3))
    quads[..., 0] = road.centre(along) + across
    quads[..., 1] = along
    return quads.reshape(-1, 3)


def _tones(scene: Scene, colours: Sequence[Colour], along: Doubles) -> Doubles:
    """Return what ground colours, `(L, 3)`, look like at each place along the road, `(N,)`: `(L * N, 3)`."""
    haze = np.asarray(scene.conditions.haze)
    away = scene.camera.distances(scene.road.centre(along), along)
    lit = np.asarray([_lit(scene.conditions, colour) for colour in colours]).reshape(-1, 1, 3)
    tones = haze + (lit - haze) * transmission(scene.conditions, away)[:, None]
    return np.asarray(tones.reshape(-1, 3))


def _surface(canvas: Canvas, scene: Scene, dice: Dice, edges: list[float]) -> None:
    """Ground, shoulders, carriageway and crossing road, strip by strip from far to near."""
    road, conditions = scene.road, scene.conditions
    white = conditions.white
    verge = mix(dice.jitter(dice.pick(_VERGES[road.verge]), 14), _SNOW, white * 0.9)
    asphalt = dice.jitter(dice.pick(((98, 98, 100), (80, 81, 84), (122, 120, 116), (142, 138, 132))), 10)
    asphalt = mix(asphalt, _SNOW, white * dice.uniform(0.2, 0.85))
    kerb = mix(mix(asphalt, (170, 168, 162), 0.6), _SNOW, white * 0.8)
    wide = 400.0 if road.kind == "car park" else 0.0
    # Side by side, not one on the other: painting large areas takes most of the time.
    left, right = road.left - wide, road.right + wide
    borders = [(-500.0, left - 0.35), (right + 0.35, 500.0), (left - 0.35, left), (right, right + 0.35), (left, right)]
    colours = [verge, verge, kerb, kerb, asphalt]
    if road.median > 0.5:
        borders.append((-road.median + 0.3, road.median - 0.3))
        colours.append(mix(verge, kerb, dice.unit()))
    tracks = mix(asphalt, (60, 60, 62), dice.uniform(0.05, 0.3) + 0.3 * white)
    near, far = np.asarray(edges[1:]), np.asarray(edges[:-1])
    quads, tones = [_strips(road, near, far, borders)], [_tones(scene, colours, (near + far) / 2)]
    if not wide:
        near, far = near[far < _TRACKS_M], far[far < _TRACKS_M]
        ruts = [(lane + s - 0.25, lane + s + 0.25) for lane, _ in road.lanes for s in (-0.75, 0.75)]
        quads.append(_strips(road, near, far, ruts))
        tones.append(_tones(scene, [tracks] * len(ruts), (near + far) / 2))
    if road.crossing:
        y0, y1 = road.crossing - 4.2, road.crossing + 4.2
        quads.append(np.asarray([[-90, y0, 0], [90, y0, 0], [90, y1, 0], [-90, y1, 0]], np.float64))
        tones.append(np.asarray([lit_ground(conditions, asphalt, scene.camera.distance(0.0, road.crossing))]))
    _paint_quads(canvas, scene, quads, tones)


def _paint_quads(canvas: Canvas, scene: Scene, quads: list[Doubles], tones: list[Doubles]) -> None:
    corners = np.concatenate(quads)
    canvas.ground(scene.camera, corners, [4] * (len(corners) // 4), np.concatenate(tones))


def _distance(scene: Scene, y: float) -> float:
    return scene.camera.distance(scene.road.centre(y), y)


def _markings(canvas: Canvas, scene: Scene, dice: Dice, edges: list[float]) -> None:
    road, conditions = scene.road, scene.conditions
    if dice.chance(0.12 + 0.6 * conditions.white):
        return
    paint = mix(dice.jitter((216, 214, 206), 16), (110, 110, 110), dice.uniform(0.0, 0.55))
    inner = (206, 170, 60) if dice.chance(0.3) else paint
    solid = [(road.left + 0.4 if not road.parking else road.left + 2.2, paint), (-road.median - 0.05, inner)]
    solid += [(road.right - 0.4 if not road.parking else road.right - 2.2, paint), (road.median + 0.05, inner)]
    near, far = np.asarray(edges[1:]), np.asarray(edges[:-1])
    seen = far < 220
    if road.crossing:
        seen &= (near >= road.crossing + 4.2) | (far <= road.crossing - 4.2)
    quads = [_strips(road, near[seen], far[seen], [(offset - 0.08, offset + 0.08) for offset, _ in solid])]
    tones = [_tones(scene, [colour for _, colour in solid], near[seen])]
    period, dash = dice.pick(((12.0, 6.0), (9.0, 3.0), (12.0, 4.0)))
    starts = dice.uniform(-period, 0) + np.arange(18, dtype=np.float64) * period
    if road.crossing:
        starts = starts[np.abs(starts + dash / 2 - road.crossing) >= 6.5]
    broken = [(offset - 0.08, offset + 0.08) for offset in _dividers(scene)]
    quads.append(_strips(road, starts, starts + dash, broken))
    tones.append(_tones(scene, [paint] * len(broken), starts))
    if road.crossing or dice.chance(0.15):
        y = np.asarray([(road.crossing or 22.0) - 7.5])
        bars = [(x, x + 0.5) for x in np.arange(road.left + 0.4, road.right - 0.4, 1.0).tolist()]
        quads.append(_strips(road, y, y + 2.6, bars))
        tones.append(_tones(scene, [paint] * len(bars), y))
    _paint_quads(canvas, scene, quads, tones)


def _dividers(scene: Scene) -> list[float]:
    """Return the offsets of the broken lines between lanes of one direction."""
    road = scene.road
    offsets = sorted(lane for lane, _ in road.lanes)
    pairs = itertools.pairwise(offsets)
    return [(a + b) / 2 for a, b in pairs if b - a < road.lane_width * 1.2 and abs(a + b) > 0.1]


def _bays(canvas: Canvas, scene: Scene) -> None:
    shapes: list[Shape] = []
    tones = []
    for n in range(-10, 11):
        for y in (10.0, 26.5, 43.0):
            x = (n - 0.5) * 2.75
            shapes.append([[x, y, 0], [x + 0.1, y, 0], [x + 0.1, y + 10.6, 0], [x, y + 10.6, 0]])
            tones.append(lit_ground(scene.conditions, (206, 206, 200), scene.camera.distance(x, y)))
    _paint(canvas, scene, shapes, tones)


def _patches(canvas: Canvas, scene: Scene, dice: Dice) -> None:
    """Repairs, stains and puddles."""
    road, conditions = scene.road, scene.conditions
    shapes: list[Shape] = []
    tones = []
    for _ in range(dice.integer(0, 7)):
        y = dice.uniform(6, 60)
        x = dice.uniform(road.left, road.right - 1.5)
        wide, long = dice.uniform(0.4, 2.5), dice.uniform(1.0, 7.0)
        dark = mix(lit_ground(conditions, (52, 52, 54), _distance(scene, y)), conditions.haze, 0.3 * conditions.wet)
        tone = mix(conditions.sky_bottom, dark, 0.4) if dice.chance(conditions.wet * 0.7) else dark
        outline = (
            [[0, 0.2], [0.3, 0], [0.8, 0.1], [1, 0.4], [0.9, 0.9], [0.5, 1], [0.1, 0.8]]
            if dice.chance(0.5)
            else [[0, 0], [1, 0], [1, 1], [0, 1]]
        )
        shapes.append([[road.centre(y) + x + wide * a, y + long * b, 0.0] for a, b in outline])
        tones.append((*tone, 255 * dice.uniform(0.15, 0.55)))
    _paint(canvas, scene, shapes, tones)
