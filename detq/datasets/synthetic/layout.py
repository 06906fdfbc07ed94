"""A scene: road, camera, weather, and who stands where. Determined by the seed and the scene's number alone."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from detq.datasets.synthetic.actors import Actor, Body, far_to_near, free, outlined, overlap, place
from detq.datasets.synthetic.camera import REFERENCE, Camera
from detq.datasets.synthetic.casting import STREET, cast_car, cast_other, cast_street
from detq.datasets.synthetic.conditions import Conditions, sample_conditions, transmission
from detq.datasets.synthetic.dice import Dice
from detq.datasets.synthetic.raster import Box, Owners, Spans, find_pixels, find_spans
from detq.datasets.synthetic.roads import Road, car_pose, sample_camera, sample_road

__all__ = ["MIN_SIDE_PX", "MIN_TRANSMISSION", "MIN_VISIBLE", "PROBE_PX", "Scene", "compose", "find_owners"]

MIN_SIDE_PX = 14
MIN_VISIBLE = 0.2
MIN_TRANSMISSION = 0.12
_MOST_CARS = 24
_MAX_SIDE_PX = 1400
_MAX_CAR_PX = 420
_EMPTY = 0.035
_LAYOUT = 1
PROBE_PX = (640, 360)
OTHERS = 255


@dataclass(frozen=True, eq=False)
class Scene:
    """Everything that determines a picture but its size.

    Attributes:
        road, camera, conditions: see there.
        actors: from far to near, in the order to paint them.
        entropy: the seed and number that it was made from.
        probe: who is seen where in a frame of `PROBE_PX`, as `find_owners` numbers them.
    """

    road: Road
    camera: Camera
    conditions: Conditions
    actors: tuple[Actor, ...]
    entropy: tuple[int, int]
    probe: Owners


def compose(seed: int, index: int) -> Scene:
    """Return scene `index` of the set with this `seed`."""
    dice = Dice(_LAYOUT, seed, index)
    conditions = sample_conditions(dice)
    road = sample_road(dice)
    camera = sample_camera(dice, road)
    wanted = 0 if dice.chance(_EMPTY) else dice.integer(1, 4) if dice.chance(0.15) else dice.integer(5, _MOST_CARS)
    actors = _populate(dice, wanted, (road, camera, conditions))
    ordered = outlined(far_to_near(actors, camera))
    spans = find_spans([actor.hulls for actor in ordered], PROBE_PX)
    probe = spans.owners(_numbers(ordered))
    kept = _seen_well(ordered, spans, probe)
    actors = list(itertools.compress(ordered, kept))
    if len(actors) < len(ordered):
        numbers = iter(_numbers(actors))
        probe = spans.owners([next(numbers) if keep else None for keep in kept])
    return Scene(road, camera, conditions, tuple(actors), (seed, index), probe)


def find_owners(actors: Sequence[Actor], size: tuple[int, int]) -> Owners:
    """Return who is seen at each pixel: cars are numbered from 1, far ones first, other bodies are all `OTHERS`."""
    return find_spans([actor.hulls for actor in actors], size).owners(_numbers(actors))


def _numbers(actors: Sequence[Actor]) -> list[int]:
    cars = itertools.count(1)
    return [next(cars) if actor.kind == "car" else OTHERS for actor in actors]


def _populate(dice: Dice, wanted: int, stage: tuple[Road, Camera, Conditions]) -> list[Actor]:
    """Put up what stands beside the road, then other traffic, then as many cars as are wanted and find room."""
    road, camera, conditions = stage
    bodies: list[Body | None] = [*cast_street(dice, road)]
    bodies += [cast_other(dice, road, conditions) for _ in range(dice.integer(0, 6))]
    near, far = _reach(camera)
    actors: list[Actor] = []
    tries = 4 * wanted
    while bodies or (wanted and tries):
        # Were all of these cars kept, no other would be drawn: as many can be placed at once.
        count = min(wanted, tries)
        poses = (car_pose(dice, road, near, far) for _ in range(count))
        bodies += [cast_car(dice, pose, camera, conditions, moving=moving) for pose, moving in poses]
        for actor in place(camera, bodies):
            if _fits(actor, conditions, actors):
                actors.append(actor)
                wanted -= actor.kind == "car"
        tries -= count
        bodies = []
    return actors


def _fits(actor: Actor, conditions: Conditions, others: list[Actor]) -> bool:
    """Tell whether there is room for somebody, who, in traffic, must not be too large or too hard to see."""
    if actor.kind == "car" and actor.extent >= _MAX_CAR_PX:
        return False
    return (actor.kind in STREET or _visible(actor, conditions)) and free(actor.plot, others)


def _reach(camera: Camera) -> tuple[float, float]:
    """Return how near and how far along the road cars are worth placing: in the frame, and not too small."""
    drop = (REFERENCE[1] / 2 + 60) / camera.focal_px
    down = -(camera.forward[2] - drop * camera.up[2])
    along = max(camera.forward[1] - drop * camera.up[1], 0.2)
    near = max(camera.position[2] * along / max(down, 0.05), 4.5)
    return near, max(camera.focal_px * 1.8 / (MIN_SIDE_PX + 1), near + 20)


def _visible(actor: Actor, conditions: Conditions) -> bool:
    """Tell whether an actor, were nobody in front of it, could be seen well enough."""
    if not MIN_SIDE_PX <= actor.extent < _MAX_SIDE_PX or actor.share_in_frame < MIN_VISIBLE:
        return False
    return transmission(conditions, actor.distance) >= MIN_TRANSMISSION


def _seen_well(ordered: list[Actor], spans: Spans, owners: Owners) -> list[bool]:
    """Tell whom to keep: not cars of which too little can be seen, so that all visible ones are fairly labelled."""
    return [
        actor.kind != "car" or _enough(ordered, at, find_pixels(owners, number, actor.bounds), spans)
        for at, (actor, number) in enumerate(zip(ordered, _numbers(ordered), strict=True))
    ]


def _enough(ordered: list[Actor], at: int, found: tuple[Box, int] | None, spans: Spans) -> bool:
    """Tell whether a car whose visible pixels were found is seen well enough to ask a detector for it."""
    if found is None:
        return False
    actor, nearer = ordered[at], ordered[at + 1 :]
    (x1, y1, x2, y2), count = found
    if max(x2 - x1, y2 - y1) * REFERENCE[0] < MIN_SIDE_PX * PROBE_PX[0]:
        return False
    if actor.share_in_frame == 1 and not any(overlap(actor.bounds, other.bounds) for other in nearer):
        return True
    share = max(actor.share_in_frame, 1e-9)
    # Counting is dear and seldom needed: most cars show enough for all of the box around them.
    if count >= MIN_VISIBLE * _room(actor.bounds) / share:
        return True
    whole = spans.count(at) / share
    return count >= MIN_VISIBLE * whole


def _room(bounds: tuple[float, float, float, float]) -> float:
    """Return more pixels of the probe than what has these bounds can cover."""
    x1, y1, x2, y2 = bounds
    return (max((x2 - x1) * PROBE_PX[0] / REFERENCE[0], 0) + 2) * (max((y2 - y1) * PROBE_PX[1] / REFERENCE[1], 0) + 2)
