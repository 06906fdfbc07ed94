"""Painting bodies: faces with shading, haze and snow, their shadows, and where their lamps shine."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detq.datasets.synthetic.actors import SMALL_PX, Actor
from detq.datasets.synthetic.camera import Camera, Doubles
from detq.datasets.synthetic.canvas import Canvas, cut_up, levels
from detq.datasets.synthetic.conditions import Colour, mix, transmission
from detq.datasets.synthetic.hulls import silhouettes
from detq.datasets.synthetic.layout import Scene
from detq.datasets.synthetic.mesh import Material

__all__ = ["Glow", "paint_bodies", "paint_shadows"]

M = Material
Glow = tuple[float, float, float, Colour]
"""A lamp that shines at the camera: u, v and radius in reference pixels, and its colour."""

_MIRRORING = np.zeros(len(M))
_MIRRORING[[M.PAINT, M.SECOND, M.GLASS, M.CHROME]] = (0.10, 0.10, 0.30, 0.3)
_LAMPS: dict[Material, tuple[Colour, float]] = {
    M.HEADLAMP: ((255.0, 244.0, 214.0), 0.20),
    M.TAIL_LAMP: ((255.0, 34.0, 22.0), 0.13),
}
"""What lamps shine like, and how large they look, metres."""

_HEAVY = {"car", "lorry", "bus", "box"}


def paint_shadows(canvas: Canvas, scene: Scene) -> None:
    """Darken the ground below and beside bodies."""
    conditions = scene.conditions
    heavy = [actor for actor in scene.actors if actor.kind in _HEAVY]
    if heavy:
        _contacts(canvas, scene, heavy)
    cast = [actor for actor in scene.actors if actor.kind not in {"house", "rail", "gantry"}]
    if conditions.shadow and cast:
        _sun_shadows(canvas, scene, cast)


def _contacts(canvas: Canvas, scene: Scene, actors: list[Actor]) -> None:
    """Paint the shade below bodies, darker in the middle."""
    flat = np.zeros((len(actors), 4, 3))
    flat[:, :, :2] = [actor.plot.corners for actor in actors]
    middle = flat.mean(axis=1, keepdims=True)
    visible = [transmission(scene.conditions, actor.distance) for actor in actors]
    grown = ((1.16, 0.28), (1.04, 0.5))
    corners = np.concatenate([middle + (flat - middle) * grow for grow, _ in grown])
    shades = [(8.0, 9.0, 12.0, 255 * alpha * share) for _, alpha in grown for share in visible]
    canvas.ground(scene.camera, corners.reshape(-1, 3), [4] * len(shades), shades)


def _sun_shadows(canvas: Canvas, scene: Scene, actors: list[Actor]) -> None:
    """Paint what bodies keep the sun from, along its rays on the ground."""
    x, y, z = scene.conditions.sun_direction
    flat = np.concatenate([actor.world for actor in actors]).T.copy()
    flat[0] -= flat[2] * (x / z)
    flat[1] -= flat[2] * (y / z)
    flat[2] = 0
    seen = scene.camera.to_camera(flat.T)
    ends = np.cumsum([len(actor.world) for actor in actors])
    # A shadow that reaches the camera is left out.
    clear = np.minimum.reduceat(seen[:, 2], [0, *ends[:-1]]) >= 1.0
    pixels = scene.camera.to_pixels(np.maximum(seen, [-np.inf, -np.inf, 1.0]))
    cast = list(itertools.compress(zip(actors, ends.tolist(), strict=True), clear))
    parts = [(pixels[end - len(actor.world) : end], actor.mesh.shadow, actor.mesh.flat) for actor, end in cast]
    shapes: list[Doubles] = []
    shades: list[tuple[int, ...]] = []
    for (actor, _), shadow in zip(cast, silhouettes(parts), strict=True):
        alpha = scene.conditions.shadow * transmission(scene.conditions, actor.distance)
        shapes += shadow
        shades += [(12, 14, 22, int(alpha * 255))] * len(shadow)
    if shapes:
        canvas.polygons(np.concatenate(shapes), [len(shape) for shape in shapes], shades)


@dataclass(frozen=True, eq=False)
class _Faces:
    """The faces of all bodies of a scene: computing with all of them at once is much cheaper than one by one.

    Attributes:
        counts: how many faces each body has.
        pixels, world: float64 `(V, 2)` and `(V, 3)`, the points of all bodies.
        probes, corners, sides, materials, fine: as in `Mesh`, of all bodies.
    """

    counts: list[int]
    pixels: Doubles
    world: Doubles
    probes: NDArray[np.int64]
    corners: NDArray[np.int64]
    sides: NDArray[np.int64]
    materials: NDArray[np.int64]
    fine: NDArray[np.bool_]

    def spread(self, values: Sequence[Any]) -> NDArray[Any]:
        """Repeat what each body has for each of its faces."""
        return np.repeat(np.asarray(values), self.counts, axis=0)


def _faces(actors: Sequence[Actor]) -> _Faces:
    meshes = [actor.mesh for actor in actors]
    counts = [len(mesh.sides) for mesh in meshes]
    before = np.cumsum([0] + [len(mesh.points) for mesh in meshes[:-1]])
    return _Faces(
        counts,
        np.concatenate([actor.pixels for actor in actors]),
        np.concatenate([actor.world for actor in actors]),
        np.concatenate([mesh.probes for mesh in meshes]) + np.repeat(before, counts)[:, None],
        np.concatenate([mesh.corners for mesh in meshes]) + np.repeat(before, [len(mesh.corners) for mesh in meshes]),
        np.concatenate([mesh.sides for mesh in meshes]),
        np.concatenate([mesh.materials for mesh in meshes]),
        np.concatenate([mesh.fine for mesh in meshes]),
    )


def paint_bodies(canvas: Canvas, scene: Scene) -> list[list[Glow]]:
    """Paint all bodies, far ones first; return the lamps of each that shine at the camera."""
    if not scene.actors:
        return []
    faces = _faces(scene.actors)
    shown = _facing(canvas, scene, faces)
    corners = canvas.whole_pixels(faces.pixels[faces.corners[np.repeat(shown, faces.sides)]])
    inside = canvas.in_frame(corners, faces.sides[shown])
    corners = corners[np.repeat(inside, faces.sides[shown])]
    drawn = shown.copy()
    drawn[shown] = inside
    looks = zip(cut_up(corners, faces.sides[drawn].tolist()), _shade(scene, faces, drawn), strict=True)
    skirts = iter(_skirts(canvas, scene))
    polygon = canvas.opaque.polygon
    glows, first = [], 0
    for actor, count in zip(scene.actors, faces.counts, strict=True):
        if actor.mesh.skirt:
            polygon(*next(skirts))
        for corners_of, colour in itertools.islice(looks, int(np.count_nonzero(drawn[first : first + count]))):
            polygon(corners_of, colour)
        glows.append(_glows(actor, shown[first : first + count], scene.camera) if actor.lit else [])
        first += count
    return glows


def _skirts(canvas: Canvas, scene: Scene) -> list[tuple[list[float], tuple[int, ...]]]:
    """Return the dark that is painted before the bodies that have a skirt: corners in whole pixels, colour."""
    actors = [actor for actor in scene.actors if actor.mesh.skirt]
    if not actors:
        return []
    conditions = scene.conditions
    light = conditions.ambient
    dark = (10 * light[0], 10 * light[1], 10 * light[2])
    # Only the first part, the lower body, has gaps between its faces.
    hulls = [actor.hulls[0] for actor in actors]
    shades = levels([mix(conditions.haze, dark, transmission(conditions, actor.distance)) for actor in actors])
    corners = canvas.whole_pixels(np.concatenate(hulls))
    return list(zip(cut_up(corners, [len(hull) for hull in hulls]), shades, strict=True))


def _facing(canvas: Canvas, scene: Scene, faces: _Faces) -> NDArray[np.bool_]:
    """Tell which faces look at the camera and are large enough to see."""
    actors = scene.actors
    a, b, c = (faces.pixels[faces.probes[:, k]] for k in range(3))
    turn = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    area = np.where(faces.spread([actor.mesh.flat for actor in actors]), np.abs(turn), -turn)
    lamp = (faces.materials == M.HEADLAMP) | (faces.materials == M.TAIL_LAMP)
    small = faces.spread([actor.extent < SMALL_PX for actor in actors])
    # Faces that look away are hidden by others; those that cover next to no pixel only cost time, but lamps shine far.
    return np.asarray(np.where(lamp, area > 0, (area > canvas.speck) & ~(faces.fine & small)))


def _shade(scene: Scene, faces: _Faces, shown: NDArray[np.bool_]) -> list[tuple[int, ...]]:
    """Return the colour of each face that shows: light on its paint, the sky mirrored in it, haze before it."""
    actors, conditions = scene.actors, scene.conditions
    whose, materials = faces.spread(range(len(actors)))[shown], faces.materials[shown]
    colour = np.asarray([actor.colours for actor in actors])[whose, materials]
    normals = _normals(*(faces.world[faces.probes[shown, k]] for k in range(3)))
    flat = np.asarray([actor.mesh.flat for actor in actors])[whose]
    sun = np.where(flat, 0.45, np.maximum((normals * np.asarray(conditions.sun_direction)).sum(axis=1), 0.0))
    up = np.where(flat, 0.9, 0.66 + 0.34 * normals[:, 2])
    colour *= up[:, None] * np.asarray(conditions.ambient) + sun[:, None] * np.asarray(conditions.sun)
    mirrored = _MIRRORING[materials] * (0.45 + 0.55 * np.maximum(normals[:, 2], 0.0)) * ~flat
    colour += (np.asarray(conditions.sky_bottom) - colour) * mirrored[:, None]
    lit = np.asarray([actor.lit for actor in actors])[whose]
    colour[lit & (materials == M.HEADLAMP)] = (255, 250, 226)
    colour[lit & (materials == M.TAIL_LAMP)] = (226, 36, 28)
    if conditions.night:
        shining = np.asarray([actor.kind in {"lamp", "house"} for actor in actors])[whose]
        shining &= materials == M.LIT_WINDOW
        colour[shining] = np.asarray([actor.colours[M.LIT_WINDOW] for actor in actors])[whose[shining]]
    visible = np.asarray([transmission(conditions, actor.distance) for actor in actors])[whose]
    colour = np.asarray(conditions.haze) + (colour - np.asarray(conditions.haze)) * visible[:, None]
    return levels(colour)


def _normals(a: Doubles, b: Doubles, c: Doubles) -> Doubles:
    """Return the unit normals of triangles."""
    p, q = b - a, c - a
    cross = np.empty_like(p)
    for axis, (j, k) in enumerate(((1, 2), (2, 0), (0, 1))):
        cross[:, axis] = p[:, j] * q[:, k] - p[:, k] * q[:, j]
    length = np.sqrt((cross * cross).sum(axis=1, keepdims=True))
    return np.asarray(cross / np.maximum(length, 1e-12))


def _glows(actor: Actor, facing: NDArray[np.bool_], camera: Camera) -> list[Glow]:
    found: list[Glow] = []
    for face, corners in actor.mesh.lamps:
        if facing[face]:
            colour, metres = _LAMPS[M(actor.mesh.materials[face])]
            u, v = (np.add.reduce(actor.pixels[corners]) / len(corners)).tolist()
            found.append((u, v, max(metres * camera.focal_px / actor.distance, 1.2), colour))
    return found
