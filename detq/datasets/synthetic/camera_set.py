"""The data set: scenes rendered when they are asked for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from urllib.parse import parse_qsl

import numpy as np
from PIL import Image

from detq.datasets.base import Dataset, Progress
from detq.datasets.synthetic.bodies import paint_bodies, paint_shadows
from detq.datasets.synthetic.camera import REFERENCE
from detq.datasets.synthetic.canvas import Canvas
from detq.datasets.synthetic.dice import Dice
from detq.datasets.synthetic.ground import paint_background
from detq.datasets.synthetic.layout import PROBE_PX, Scene, compose, find_owners
from detq.datasets.synthetic.raster import Owners, find_pixels
from detq.datasets.synthetic.sensor import add_glow, add_texture, expose, falling, optics
from detq.errors import DataError
from detq.types import GroundTruth, Sample

__all__ = ["TrafficCamera", "parse_synthetic", "traffic_camera"]

_PIXELS = 2
_VERSION = "traffic/1"


@dataclass(frozen=True, eq=False)
class _Labelled:
    owners: Owners
    target: GroundTruth


class TrafficCamera(Dataset):
    """Rendered scenes as a traffic camera sees them, with a box (and a mask) for every visible car.

    Cars are passenger cars: saloons, hatchbacks, estates, SUVs, MPVs, coupés, pickups. Lorries, buses, motorcycles,
    bicycles, people and containers are there too, and are not labelled. A mask is the visible pixels of a car; its box
    is tight around them. A car of which less than 20 % or less than 14 px (of a 1280 × 720 frame, in the longer
    side) can be seen, or more than 88 % is lost in fog, is not in the picture at all, so that every car that one can
    see has a label.

    Scene `i` is determined by `(seed, i)` alone: not by `n`, nor by the order in which scenes are asked for. Another
    size shows the same scene, larger or smaller.

    Attributes:
        seed, size: as given; size is (width, height) in pixels.
    """

    classes = ("car",)

    def __init__(self, n: int, seed: int, size: tuple[int, int] = REFERENCE) -> None:
        if n < 1 or seed < 0:
            raise DataError(f"synthetic:traffic needs n of at least 1 and a seed of at least 0, got n={n} seed={seed}")
        if not all(32 <= side <= 8192 for side in size):
            raise DataError(f"synthetic:traffic needs a size from 32x32 to 8192x8192, got size={size[0]}x{size[1]}")
        self._count = n
        self.seed = seed
        self.size_px = (int(size[0]), int(size[1]))
        self.name = f"synthetic:traffic?n={n}&seed={seed}&size={size[0]}x{size[1]}"

    def __len__(self) -> int:
        return self._count

    def image_id(self, index: int) -> str:
        """Return the scene's name, such as "traffic-7-000012"."""
        return f"traffic-{self.seed}-{self._checked(index):06d}"

    def _checked(self, index: int) -> int:
        if not 0 <= index < self._count:
            raise IndexError(f"{self.name} has scenes 0 to {self._count - 1}, got {index}")
        return index

    def size(self, index: int) -> tuple[int, int]:
        """Return the (width, height) of every scene in pixels."""
        self._checked(index)
        return self.size_px

    def load(self, index: int) -> Sample:
        """Render a scene."""
        scene = compose(self.seed, self._checked(index))
        labelled = self._label(scene)
        return Sample(self.image_id(index), _render(scene, self.size_px, labelled.owners), labelled.target)

    def target(self, index: int) -> GroundTruth:
        """Return a scene's annotations without painting it."""
        return self._label(compose(self.seed, self._checked(index))).target

    @property
    def has_masks(self) -> bool:
        """They are drawn with the scene."""
        return True

    def check(self, progress: Progress | None = None) -> None:
        """Return at once: what is rendered has no files that could be wrong."""

    def identity(self) -> str:
        """Return a hash of everything that determines the set."""
        text = f"{_VERSION} {self.classes} {self.name}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _label(self, scene: Scene) -> _Labelled:
        cars = [actor for actor in scene.actors if actor.kind == "car"]
        owners = scene.probe if self.size_px == PROBE_PX else find_owners(scene.actors, self.size_px)
        found = [(n, find_pixels(owners, n, actor.bounds)) for n, actor in enumerate(cars, 1)]
        seen = [(number, *pixels) for number, pixels in found if pixels is not None]
        masks = np.asarray([owners == number for number, _, _ in seen], np.bool_) if self.masks else None
        target = GroundTruth(
            np.asarray([box for _, box, _ in seen], np.float32),
            np.zeros(len(seen), np.int64),
            areas_px=np.asarray([area for _, _, area in seen], np.float64),
            masks=None if masks is None else masks.reshape(len(seen), *owners.shape),
        )
        return _Labelled(owners, target)


def _render(scene: Scene, size: tuple[int, int], owners: Owners) -> np.ndarray:
    """Paint a scene and photograph it."""
    dice = Dice(_PIXELS, *scene.entropy)
    canvas = Canvas(size)
    paint_background(canvas, scene, dice)
    paint_shadows(canvas, scene)
    glows = paint_bodies(canvas, scene)
    planes = add_texture(canvas.shrink(), scene, owners, dice)
    if any(glows):
        add_glow(planes, scene, glows, dice)
    image = Image.merge("RGB", [Image.fromarray(plane) for plane in planes])
    if scene.conditions.falling:
        falling(image, scene, dice)
    return expose(optics(image, scene, dice), scene, dice)


def traffic_camera(n: int, seed: int, size: tuple[int, int] = REFERENCE) -> TrafficCamera:
    """Return `n` traffic-camera scenes.

    Args:
        n: how many; scenes are rendered when they are asked for.
        seed: which ones; see `SEEDS` for what to use which seed for.
        size: (width, height) in pixels.

    Raises:
        DataError: a number out of range.
    """
    return TrafficCamera(n, seed, size)


def parse_synthetic(text: str) -> TrafficCamera:
    """Return the set that a text such as "synthetic:traffic?n=200&seed=7&size=1280x720" names.

    Raises:
        DataError: another name, an unknown key, or a value that cannot be read; the message says what is possible.
    """
    name, _, query = text.removeprefix("synthetic:").partition("?")
    if name != "traffic":
        raise DataError(f"unknown synthetic data set {text!r}: the only choice is synthetic:traffic?n=200&seed=7")
    values = {"n": "100", "seed": "0", "size": f"{REFERENCE[0]}x{REFERENCE[1]}"}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in values:
            raise DataError(f"{text}: unknown key {key!r}; choices are {', '.join(values)}, as in n=200&seed=7")
        values[key] = value
    width, _, height = values["size"].partition("x")
    return TrafficCamera(
        _whole(text, "n", values["n"]),
        _whole(text, "seed", values["seed"]),
        (_whole(text, "size", width), _whole(text, "size", height)),
    )


def _whole(text: str, key: str, value: str) -> int:
    if not value.isascii() or not value.isdigit() or len(value) > 12:
        example = "1280x720" if key == "size" else "7"
        raise DataError(f"{text}: {key} must be a whole number, as in {key}={example}, got {value!r}")
    return int(value)
