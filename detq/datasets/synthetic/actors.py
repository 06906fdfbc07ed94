"""Bodies placed in the world: where they stand, what the camera sees of them, and which hides which."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from detq.datasets.synthetic.camera import REFERENCE, Camera, Doubles
from detq.datasets.synthetic.hulls import silhouettes
from detq.datasets.synthetic.mesh import Mesh

__all__ = ["SMALL_PX", "Actor", "Body", "Plot", "Pose", "far_to_near", "free", "outlined", "overlap", "place"]

NEAR_M = 0.6
SMALL_PX = 60
MIN_SEEN_PX = 8
Corners = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Pose:
    """Where a body stands, which way its front looks (a unit vector) and how much it is stretched along its axes."""

    x: float
    y: float
    ahead: tuple[float, float] = (0.0, 1.0)
    stretch: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True, eq=False)
class Body:
    """What is to be placed: `kind`, `mesh`, `colours` and `lit` as in `Actor`, and where."""

    kind: str
    mesh: Mesh
    pose: Pose
    colours: Doubles
    lit: bool = False


@dataclass(frozen=True)
class Plot:
    """The rectangle on the ground that a body takes up.

    Attributes:
        corners: counter-clockwise seen from above, metres.
        middle, radius: of the circle around them.
    """

    corners: Corners
    middle: tuple[float, float]
    radius: float


@dataclass(frozen=True, eq=False)
class Actor:
    """A body in the world as the camera sees it.

    Attributes:
        kind: "car", "lorry", "pole", …
        mesh: its body.
        colours: float64 `(materials, 3)`, RGB from 0 to 255.
        world: float64 `(V, 3)`, its points in the world, metres.
        pixels: float64 `(V, 2)`, the same in reference pixels.
        plot: where it stands.
        distance: from the camera, metres.
        bounds: x1, y1, x2, y2 around it in reference pixels, reaching out of the frame.
        lit: whether its lamps are on.
        hulls: its silhouette, convex polygons in reference pixels; none before `outlined` drew them.
    """

    kind: str
    mesh: Mesh
    colours: Doubles
    world: Doubles
    pixels: Doubles
    plot: Plot
    distance: float
    bounds: tuple[float, float, float, float]
    lit: bool = False
    hulls: tuple[Doubles, ...] = ()

    @property
    def extent(self) -> float:
        """The longer side of its bounds in reference pixels."""
        return max(self.bounds[2] - self.bounds[0], self.bounds[3] - self.bounds[1])

    @property
    def share_in_frame(self) -> float:
        """The share of its bounds that lies in the frame."""
        x1, y1, x2, y2 = self.bounds
        wide = max(min(x2, REFERENCE[0]) - max(x1, 0.0), 0.0)
        tall = max(min(y2, REFERENCE[1]) - max(y1, 0.0), 0.0)
        return wide * tall / max((x2 - x1) * (y2 - y1), 1e-9)


def place(camera: Camera, bodies: Sequence[Body | None]) -> list[Actor]:
    """Put bodies into the world, all at once, which is much cheaper than one by one.

    Left out are those that the camera is too near to, that it does not look at, or that look too small.
    """
    candidates = [body for body in bodies if body is not None and _in_sight(camera, body)]
    if not candidates:
        return []
    aheads = [_towards(camera, body.pose) if body.mesh.flat else body.pose.ahead for body in candidates]
    counts = np.asarray([len(body.mesh.points) for body in candidates])
    ends = np.cumsum(counts)
    starts = ends - counts
    world = _stand(candidates, aheads, counts)
    seen = camera.to_camera(world)
    nearest = np.minimum.reduceat(seen[:, 2], starts)
    # What reaches behind the camera is left out below.
    np.maximum(seen[:, 2], NEAR_M, out=seen[:, 2])
    pixels = camera.to_pixels(seen)
    low, high = np.minimum.reduceat(pixels, starts), np.maximum.reduceat(pixels, starts)
    kept = (nearest >= NEAR_M) & (high > 0).all(axis=1) & (low < REFERENCE).all(axis=1)
    spans = zip(starts.tolist(), ends.tolist(), strict=True)
    places = zip(candidates, aheads, spans, np.concatenate([low, high], axis=1).tolist(), strict=True)
    return [
        Actor(
            body.kind,
            body.mesh,
            body.colours,
            world[start:end],
            pixels[start:end],
            _plot(body.mesh, body.pose, ahead),
            camera.distance(body.pose.x, body.pose.y),
            (x1, y1, x2, y2),
            body.lit,
        )
        for body, ahead, (start, end), (x1, y1, x2, y2) in itertools.compress(places, kept.tolist())
    ]


def _in_sight(camera: Camera, body: Body) -> bool:
    seems = camera.glimpse(body.pose.x, body.pose.y, body.mesh.radius * max(body.pose.stretch))
    return seems is not None and seems >= MIN_SEEN_PX


def _stand(bodies: Sequence[Body], aheads: Sequence[tuple[float, float]], counts: NDArray[np.int64]) -> Doubles:
    """Stretch, turn and move the points of bodies: `(V, 3)`."""
    poses = [(*body.pose.stretch, *ahead, body.pose.x, body.pose.y) for body, ahead in zip(bodies, aheads, strict=True)]
    wide, long, tall, ahead_x, ahead_y, x, y = np.repeat(np.asarray(poses).T, counts, axis=1)
    world = np.concatenate([body.mesh.points.T for body in bodies], axis=1)
    across, along = world[0] * wide, world[1] * long
    world[0] = across * ahead_y + x + along * ahead_x
    world[1] = across * -ahead_x + y + along * ahead_y
    world[2] *= tall
    return world.T


def outlined(actors: Sequence[Actor]) -> list[Actor]:
    """Return the bodies with their silhouettes, drawn all at once, which is much cheaper than one by one."""
    parts = [(actor.pixels, actor.mesh.parts[actor.extent >= SMALL_PX], actor.mesh.flat) for actor in actors]
    return [replace(actor, hulls=tuple(hulls)) for actor, hulls in zip(actors, silhouettes(parts), strict=True)]


def _towards(camera: Camera, pose: Pose) -> tuple[float, float]:
    # A card's face has its corners counter-clockwise seen against its y axis, so that axis points away from the camera.
    dx, dy = pose.x - camera.position[0], pose.y - camera.position[1]
    length = float(np.sqrt(dx * dx + dy * dy)) or 1.0
    return dx / length, dy / length


def _plot(mesh: Mesh, pose: Pose, ahead: tuple[float, float]) -> Plot:
    (left, right), (rear, front), (wide, long, _) = *mesh.reach, pose.stretch
    x0, x1 = sorted((left * wide, right * wide))
    y0, y1 = sorted((rear * long, front * long))
    # Cards have no depth, and a side without a length divides nothing from nothing.
    y0, y1 = y0 - 0.02, y1 + 0.02
    x, y, (across, along) = pose.x, pose.y, ahead
    corners = (
        (x + x0 * along + y0 * across, y - x0 * across + y0 * along),
        (x + x1 * along + y0 * across, y - x1 * across + y0 * along),
        (x + x1 * along + y1 * across, y - x1 * across + y1 * along),
        (x + x0 * along + y1 * across, y - x0 * across + y1 * along),
    )
    (left, low), _, (right, high), _ = corners
    dx, dy = (right - left) / 2, (high - low) / 2
    return Plot(corners, (left + dx, low + dy), math.sqrt(dx * dx + dy * dy))


def _divider(a: Corners, b: Corners) -> tuple[float, float, float] | None:
    """Return a line (normal, offset) along a side of `a` that has all of `b` on its outer side."""
    (bx0, by0), (bx1, by1), (bx2, by2), (bx3, by3) = b
    x0, y0 = a[3]
    for x1, y1 in a:
        nx, ny = y1 - y0, x0 - x1
        offset = nx * x0 + ny * y0
        if (
            nx * bx0 + ny * by0 >= offset
            and nx * bx1 + ny * by1 >= offset
            and nx * bx2 + ny * by2 >= offset
            and nx * bx3 + ny * by3 >= offset
        ):
            return nx, ny, offset
        x0, y0 = x1, y1
    return None


def free(plot: Plot, others: Iterable[Actor]) -> bool:
    """Tell whether nobody stands on a plot."""
    (x, y), radius, corners = plot.middle, plot.radius, plot.corners
    for other in others:
        their = other.plot
        dx, dy, reach = x - their.middle[0], y - their.middle[1], radius + their.radius
        if dx * dx + dy * dy > reach * reach:
            continue
        if _divider(corners, their.corners) is None and _divider(their.corners, corners) is None:
            return False
    return True


def _hides(front: Actor, back: Actor, eye: tuple[float, float]) -> bool | None:
    """Tell whether `front` can hide `back` (True), is behind it (False), or their ground overlaps (None)."""
    for a, b, when_outside in ((front, back, False), (back, front, True)):
        line = _divider(a.plot.corners, b.plot.corners)
        if line is not None:
            outside = line[0] * eye[0] + line[1] * eye[1] >= line[2]
            return when_outside if outside else not when_outside
    return None


def far_to_near(actors: Sequence[Actor], camera: Camera) -> list[Actor]:
    """Sort bodies for painting: whatever can hide another comes after it."""
    ordered = sorted(actors, key=lambda actor: -actor.distance)
    behind: list[list[int]] = [[] for _ in ordered]
    eye = camera.position[:2]
    for i, a in enumerate(ordered):
        for j in range(i + 1, len(ordered)):
            b = ordered[j]
            if not overlap(a.bounds, b.bounds):
                continue
            hides = _hides(b, a, eye)
            if hides is None or hides:
                behind[j].append(i)
            else:
                behind[i].append(j)
    return [ordered[number] for number in _topological(behind)]


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    """Tell whether two boxes overlap."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _topological(behind: list[list[int]]) -> list[int]:
    """Order numbers so that each comes after those behind it; a cycle is broken where it is met."""
    done: list[int] = []
    state = [0] * len(behind)

    def visit(number: int) -> None:
        state[number] = 1
        for other in behind[number]:
            if not state[other]:
                visit(other)
        done.append(number)

    for number in range(len(behind)):
        if not state[number]:
            visit(number)
    return done
