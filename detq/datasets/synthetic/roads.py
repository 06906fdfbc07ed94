"""Roads: where lanes run, where one may park, and where the camera hangs above them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from detq.datasets.synthetic.actors import Pose
from detq.datasets.synthetic.camera import Camera, aim
from detq.datasets.synthetic.conditions import Metres
from detq.datasets.synthetic.dice import Dice

__all__ = ["KINDS", "Road", "car_pose", "sample_camera", "sample_road"]

#: Kinds of roads, and how common they are.
KINDS: tuple[tuple[str, float], ...] = (
    ("highway", 40),
    ("street", 24),
    ("junction", 16),
    ("onboard", 13),
    ("car park", 7),
)


@dataclass(frozen=True)
class Road:
    """A road along y, as offsets from its centre line in metres.

    Attributes:
        kind: a name in `KINDS`.
        bend: the centre line is x = bend · y².
        lanes: middle and direction (1 away from the camera, -1 towards it) of each lane.
        lane_width: metres.
        left, right: the edges of the carriageway.
        median: half the width of the strip between the directions, 0 for a painted line.
        verge: "grass", "pavement", "dirt".
        parking: offset of parked cars beside the kerbs, or 0 for none.
        crossing: y of the crossing road's middle, or 0 for none.
    """

    kind: str
    bend: float
    lanes: tuple[tuple[float, int], ...]
    lane_width: float
    left: float
    right: float
    median: float
    verge: str
    parking: float
    crossing: float

    def centre(self, y: Metres) -> Metres:
        """Return x of the centre line at `y`."""
        return self.bend * y * abs(y)

    def along(self, y: float) -> tuple[float, float]:
        """Return the road's direction at `y`, a unit vector."""
        slope = 2 * self.bend * abs(y)
        cosine = 1.0 / math.sqrt(1.0 + slope * slope)
        return slope * cosine, cosine


def sample_road(dice: Dice) -> Road:
    """Draw a road."""
    kind = dice.weighted(KINDS)
    highway = kind == "highway" or (kind == "onboard" and dice.chance(0.5))
    count = dice.integer(2, 4) if highway else dice.integer(1, 2)
    width = dice.uniform(3.3, 3.8) if highway else dice.uniform(2.9, 3.4)
    median = dice.uniform(0.6, 4.0) if highway else dice.pick((0.0, 0.0, 0.8))
    away_on_right = dice.sign()
    lanes = []
    for side in (-1, 1):
        lanes += [(side * (median + width * (n + 0.5)), side * away_on_right) for n in range(count)]
    if highway and dice.chance(0.25):
        lanes = [(offset, lanes[0][1]) for offset, _ in lanes]
    edge = median + width * count + (dice.uniform(0.6, 2.8) if highway else 0.3)
    parking = edge + 1.0 if kind in {"street", "junction", "onboard"} and not highway and dice.chance(0.75) else 0.0
    return Road(
        kind,
        dice.uniform(-1, 1) * (0.0006 if highway else 0.0003) * (kind != "car park"),
        tuple(lanes),
        width,
        -edge - (2.1 if parking else 0.0),
        edge + (2.1 if parking else 0.0),
        median,
        dice.pick(("grass", "grass", "dirt")) if highway else dice.pick(("pavement", "pavement", "grass")),
        parking,
        dice.uniform(18, 42) if kind == "junction" else 0.0,
    )


def sample_camera(dice: Dice, road: Road) -> Camera:
    """Hang a camera above a road, beside it, or put it behind a windscreen."""
    roll = dice.uniform(-0.02, 0.02)
    if road.kind == "onboard":
        offset = dice.pick([lane for lane, _ in road.lanes])
        position = (offset + dice.uniform(-0.4, 0.4), 0.0, dice.uniform(1.3, 2.3))
        return aim(position, dice.uniform(750, 1500), dice.uniform(230, 400), dice.uniform(-0.12, 0.12), roll)
    height = {"highway": (4.0, 12.0), "car park": (3.5, 9.0)}.get(road.kind, (2.6, 8.0))
    reach = road.right + 3.0
    position = (dice.uniform(-reach, reach), 0.0, dice.uniform(*height))
    target_y = dice.uniform(25, 70)
    target_x = road.centre(target_y) + dice.uniform(-0.5, 0.5) * reach
    yaw = (target_x - position[0]) / target_y + dice.uniform(-0.12, 0.12)
    horizon = dice.uniform(-40, 270)
    return aim(position, dice.uniform(800, 2100), horizon, yaw, roll)


def car_pose(dice: Dice, road: Road, near: float, far: float) -> tuple[Pose, bool]:
    """Draw a place for a vehicle: where, and whether it is moving (not parked)."""
    if road.kind == "car park":
        return _bay(dice, near, far), False
    if road.crossing and dice.chance(0.35):
        return _crossing(dice, road), True
    if road.parking and dice.chance(0.35):
        side, y = dice.sign(), near + 6.0 * dice.integer(0, max(int((far - near) / 9), 1)) + dice.uniform(-0.4, 0.4)
        ahead = road.along(y)
        back = dice.sign()
        return Pose(road.centre(y) + side * road.parking, y, (back * ahead[0], back * ahead[1])), False
    offset, direction = dice.pick(road.lanes)
    y = _depth(dice, near, far)
    ahead = road.along(y)
    lean = dice.uniform(-0.03, 0.03)
    shift = dice.uniform(-0.45, 0.45)
    x = road.centre(y) + offset + shift
    return Pose(x, y, _turned((direction * ahead[0], direction * ahead[1]), lean)), True


def _depth(dice: Dice, near: float, far: float) -> float:
    """Draw a distance: evenly along the road, or evenly down the picture."""
    share = dice.unit()
    if dice.chance(0.5):
        return near + (far - near) * share
    return 1.0 / (1.0 / near + (1.0 / far - 1.0 / near) * share)


def _crossing(dice: Dice, road: Road) -> Pose:
    direction = dice.sign()
    y = road.crossing + direction * 1.9 + dice.uniform(-0.4, 0.4)
    return Pose(
        road.centre(road.crossing) + dice.uniform(-32, 32),
        y,
        _turned((float(direction), 0.0), dice.uniform(-0.15, 0.15)),
    )


def _bay(dice: Dice, near: float, far: float) -> Pose:
    rows = max(int((far - near) / 9), 1)
    row = dice.integer(0, min(rows, 6))
    y = near + 2.0 + (row // 2) * 16.5 + (row % 2) * 5.4
    x = dice.integer(-9, 9) * 2.75
    return Pose(x, y + dice.uniform(-0.4, 0.4), _turned((0.0, float(dice.sign())), dice.uniform(-0.08, 0.08)))


def _turned(ahead: tuple[float, float], slope: float) -> tuple[float, float]:
    cosine = 1.0 / math.sqrt(1.0 + slope * slope)
    sine = slope * cosine
    return ahead[0] * cosine + ahead[1] * sine, ahead[1] * cosine - ahead[0] * sine
