"""Painting bodies: faces with shading, haze and snow, their shadows, and where their lamps shine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detq.datasets.synthetic.actors import SMALL_PX, Actor
from detq.datasets.synthetic.camera import Camera, Doubles, convex_hull
from detq.datasets.synthetic.canvas import Canvas
from detq.datasets.synthetic.conditions import Colour, Conditions, mix, transmission
from detq.datasets.synthetic.layout import Scene
from detq.datasets.synthetic.mesh import Material

__all__ = ["Glow", "paint_bodies", "paint_shadows"]

M = Material
Glow = tuple[float, float, float, Colour]
"""A lamp that shines at the camera: u, v and radius in reference pixels, and its colour."""

_MIRRORING = np.zeros(len(M))
_MIRRORING[[M.PAINT, M.SECOND, M.GLASS, M.CHROME]] = (0.10, 0.10, 0.30, 0.3)
_HEAVY = {"car", "lorry", "bus", "box"}


def paint_shadows(canvas: Canvas, scene: Scene) -> None:
    """Darken the ground below and beside bodies."""
    conditions = scene.conditions
    heavy = [actor for actor in scene.actors if actor.kind in _HEAVY]
    if heavy:
        _contacts(canvas, scene, heavy)
    for actor in scene.actors:
        if conditions.shadow and actor.kind not in {"house", "rail", "gantry"}:
            strength = conditions.shadow * transmission(conditions, actor.distance)
            _cast(canvas, scene.camera, actor, conditions, strength)


def _contacts(canvas: Canvas, scene: Scene, actors: list[Actor]) -> None:
    """Paint the shade below bodies, darker in the middle."""
    flat = np.zeros((len(actors), 4, 3))
    flat[:, :, :2] = [actor.plot.corners for actor in actors]
    middle = flat.mean(axis=1, keepdims=True)
    visible = [transmission(scene.conditions, actor.distance) for actor in actors]
    for grow, alpha in ((1.16, 0.28), (1.04, 0.5)):
        shades = [(8.0, 9.0, 12.0, 255 * alpha * share) for share in visible]
        canvas.ground(scene.camera, middle + (flat - middle) * grow, shades)


def _cast(canvas: Canvas, camera: Camera, actor: Actor, conditions: Conditions, alpha: float) -> None:
    x, y, z = conditions.sun_direction
    flat = actor.world.copy()
    flat[:, 0] -= flat[:, 2] * (x / z)
    flat[:, 1] -= flat[:, 2] * (y / z)
    flat[:, 2] = 0
    seen = camera.to_camera(flat)
    if seen[:, 2].min() < 1.0:
        return
    pixels = camera.to_pixels(seen)
    if actor.mesh.skirt:
        canvas.polygon(convex_hull(pixels[np.concatenate(actor.mesh.hulls)]), (12.0, 14.0, 22.0), alpha)
        return
    for part in actor.mesh.hulls:
        canvas.polygon(pixels[part] if actor.mesh.flat else convex_hull(pixels[part]), (12.0, 14.0, 22.0), alpha)


def paint_bodies(canvas: Canvas, scene: Scene) -> list[list[Glow]]:
    """Paint all bodies, far ones first; return the lamps of each that shine at the camera."""
    if not scene.actors:
        return []
    # Where faces are, which of them show and in what colour is computed for all bodies at once, which is much cheaper.
    points = canvas.corners(np.concatenate([actor.pixels for actor in scene.actors]))
    faces = [len(actor.mesh.materials) for actor in scene.actors]
    shown, colours = _facing(canvas, scene, faces), _shade(scene, faces)
    glows, first_face, first_point = [], 0, 0
    for actor, count in zip(scene.actors, faces, strict=True):
        facing = shown[first_face : first_face + count]
        _paint(
            canvas,
            scene,
            actor,
            points[first_point : first_point + len(actor.pixels)],
            (facing, colours[first_face : first_face + count]),
        )
        glows.append(_glows(actor, facing, scene.camera) if actor.lit else [])
        first_face += count
        first_point += len(actor.pixels)
    return glows


def _paint(
    canvas: Canvas,
    scene: Scene,
    actor: Actor,
    points: list[tuple[int, int]],
    look: tuple[NDArray[np.bool_], list[tuple[int, ...]]],
) -> None:
    facing, colours = look
    if actor.mesh.skirt:
        visible = transmission(scene.conditions, actor.distance)
        light = scene.conditions.ambient
        # Only the first part, the lower body, has gaps between its faces.
        shade = mix(scene.conditions.haze, (10 * light[0], 10 * light[1], 10 * light[2]), visible)
        canvas.polygon(actor.hulls[0], shade)
    polygon, faces = canvas.opaque.polygon, actor.mesh.faces
    for number in np.flatnonzero(facing).tolist():
        polygon([points[corner] for corner in faces[number]], colours[number])


def _facing(canvas: Canvas, scene: Scene, faces: list[int]) -> NDArray[np.bool_]:
    """Tell which faces look at the camera and are large enough to see."""
    actors = scene.actors
    probes = np.concatenate([actor.pixels[actor.mesh.probes] for actor in actors])
    a, b, c = probes[:, 0], probes[:, 1], probes[:, 2]
    turn = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    flat = np.repeat([actor.mesh.flat for actor in actors], faces)
    area = np.where(flat, np.abs(turn), -turn)
    lamp = np.isin(np.concatenate([actor.mesh.materials for actor in actors]), (M.HEADLAMP, M.TAIL_LAMP))
    fine = np.concatenate([actor.mesh.fine for actor in actors])
    small = np.repeat([actor.extent < SMALL_PX for actor in actors], faces)
    # Faces that look away are hidden by others; those that cover next to no pixel only cost time, but lamps shine far.
    return np.asarray(np.where(lamp, area > 0, (area > canvas.speck) & ~(fine & small)))


def _shade(scene: Scene, faces: list[int]) -> list[tuple[int, ...]]:
    """Return the colour of each face: light on its paint, the sky mirrored in it, haze before it."""
    actors, conditions = scene.actors, scene.conditions
    materials = np.concatenate([actor.mesh.materials for actor in actors])
    colour = np.concatenate([actor.colours[actor.mesh.materials] for actor in actors])
    normals = _normals(np.concatenate([actor.world[actor.mesh.probes] for actor in actors]))
    flat = np.repeat([actor.mesh.flat for actor in actors], faces)
    sun = np.where(flat, 0.45, np.maximum((normals * np.asarray(conditions.sun_direction)).sum(axis=1), 0.0))
    up = np.where(flat, 0.9, 0.66 + 0.34 * normals[:, 2])
    colour *= up[:, None] * np.asarray(conditions.ambient) + sun[:, None] * np.asarray(conditions.sun)
    mirrored = _MIRRORING[materials] * (0.45 + 0.55 * np.maximum(normals[:, 2], 0.0)) * ~flat
    colour += (np.asarray(conditions.sky_bottom) - colour) * mirrored[:, None]
    lit = np.repeat([actor.lit for actor in actors], faces)
    colour[lit & (materials == M.HEADLAMP)] = (255, 250, 226)
    colour[lit & (materials == M.TAIL_LAMP)] = (226, 36, 28)
    if conditions.night:
        shining = np.repeat([actor.kind in {"lamp", "house"} for actor in actors], faces) & (materials == M.LIT_WINDOW)
        colour[shining] = np.repeat([actor.colours[M.LIT_WINDOW] for actor in actors], faces, axis=0)[shining]
    visible = np.repeat([transmission(conditions, actor.distance) for actor in actors], faces)
    colour = np.asarray(conditions.haze) + (colour - np.asarray(conditions.haze)) * visible[:, None]
    return [tuple(levels) for levels in np.clip(colour + 0.5, 0, 255).astype(np.int64).tolist()]


def _normals(probes: Doubles) -> Doubles:
    p, q = probes[:, 1] - probes[:, 0], probes[:, 2] - probes[:, 0]
    cross = np.empty_like(p)
    for axis, (j, k) in enumerate(((1, 2), (2, 0), (0, 1))):
        cross[:, axis] = p[:, j] * q[:, k] - p[:, k] * q[:, j]
    length = np.sqrt((cross * cross).sum(axis=1, keepdims=True))
    return np.asarray(cross / np.maximum(length, 1e-12))


def _glows(actor: Actor, facing: NDArray[np.bool_], camera: Camera) -> list[Glow]:
    found: list[Glow] = []
    for material, colour, metres in (
        (M.HEADLAMP, (255.0, 244.0, 214.0), 0.20),
        (M.TAIL_LAMP, (255.0, 34.0, 22.0), 0.13),
    ):
        for number in np.flatnonzero(facing & (actor.mesh.materials == material)).tolist():
            u, v = actor.pixels[list(actor.mesh.faces[number])].mean(axis=0).tolist()
            found.append((u, v, max(metres * camera.focal_px / actor.distance, 1.2), colour))
    return found
