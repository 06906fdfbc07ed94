"""Light and weather: what a scene's colours are multiplied with, mixed with and covered by."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from detq.datasets.synthetic.dice import Dice

__all__ = ["KINDS", "Colour", "Conditions", "mix", "sample_conditions", "transmission"]

Colour = tuple[float, float, float]
Metres = TypeVar("Metres", float, NDArray[np.float64])

#: Kinds of weather and light, and how common they are.
KINDS: tuple[tuple[str, float], ...] = (
    ("day", 24),
    ("overcast", 18),
    ("dusk", 10),
    ("night", 14),
    ("fog", 13),
    ("rain", 10),
    ("snow", 7),
    ("dust", 4),
)


@dataclass(frozen=True)
class Conditions:
    """Light and weather of one scene. Colours are RGB from 0 to 255, lights are factors per channel.

    Attributes:
        kind: a name in `KINDS`.
        ambient, sun: light from the sky and from the sun.
        sun_direction: unit vector to the sun.
        shadow: how dark sun shadows are, 0 to 1.
        sky_top, sky_bottom: the sky's gradient.
        haze: what distant things fade to.
        density: of the haze, per metre.
        lit: probability that a moving vehicle has its lamps on.
        night: 1 at night, 0 by day.
        wet, white: how wet, how snowed over the ground is, 0 to 1.
        falling: rain or snow in the air, 0 to 1.
    """

    kind: str
    ambient: Colour
    sun: Colour
    sun_direction: tuple[float, float, float]
    shadow: float
    sky_top: Colour
    sky_bottom: Colour
    haze: Colour
    density: float
    lit: float
    night: float = 0.0
    wet: float = 0.0
    white: float = 0.0
    falling: float = 0.0


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """Return `a` with `share` of it replaced by `b`."""
    return a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share


def transmission(conditions: Conditions, distance_m: Metres) -> Metres:
    """Return the share of light that haze lets through over a distance: about exp(-density · distance).

    A truncated series instead of exp, since labels depend on it and exp differs in the last bit between machines.
    """
    x = conditions.density * distance_m
    return 1.0 / (1.0 + x * (1.0 + x / 2 * (1.0 + x / 3 * (1.0 + x / 4))))


def sample_conditions(dice: Dice) -> Conditions:
    """Draw the weather and light of a scene."""
    kind = dice.weighted(KINDS)
    across, along, up = dice.uniform(-1, 1), dice.uniform(-1, 1), dice.uniform(0.35, 1.2)
    length = math.sqrt(across * across + along * along + up * up)
    sun = (across / length, along / length, up / length)
    return _MAKERS[kind](dice, sun)


def _grey(dice: Dice, low: float, high: float, warmth: float = 8.0) -> Colour:
    level, shift = dice.uniform(low, high), dice.uniform(-warmth, warmth)
    return level + shift, level, level - shift


def _day(dice: Dice, sun: tuple[float, float, float]) -> Conditions:
    bright, warm = dice.uniform(0.75, 1.1), dice.uniform(-0.04, 0.08)
    ambient = (0.42 * bright, 0.45 * bright, 0.50 * bright)
    light = ((0.72 + warm) * bright, 0.70 * bright, (0.66 - warm) * bright)
    bottom = dice.jitter((196, 212, 228), 22)
    top = dice.pick(((92, 140, 206), (120, 165, 215), (70, 118, 190), (160, 185, 215)))
    shadow = dice.uniform(0.3, 0.6)
    return Conditions("day", ambient, light, sun, shadow, top, bottom, bottom, dice.uniform(0.0003, 0.0025), 0.15)


def _flat(dice: Dice, sun: tuple[float, float, float], kind: str, density: float, haze: Colour) -> Conditions:
    level = dice.uniform(0.6, 0.95)
    ambient = (level * haze[0] / 215, level * haze[1] / 215, level * haze[2] / 215)
    light = (0.16 * level, 0.16 * level, 0.16 * level)
    top = mix(haze, (120, 126, 138), dice.uniform(0.1, 0.6))
    return Conditions(kind, ambient, light, sun, 0.0, top, haze, haze, density, dice.uniform(0.2, 0.9))


def _overcast(dice: Dice, sun: tuple[float, float, float]) -> Conditions:
    return _flat(dice, sun, "overcast", dice.uniform(0.001, 0.006), _grey(dice, 165, 232))


def _fog(dice: Dice, sun: tuple[float, float, float]) -> Conditions:
    return _flat(dice, sun, "fog", dice.uniform(0.01, 0.05), _grey(dice, 130, 225, 12))


def _dust(dice: Dice, sun: tuple[float, float, float]) -> Conditions:
    haze = dice.jitter(dice.pick(((206, 132, 58), (222, 166, 70), (186, 150, 112), (200, 172, 140))), 18)
    return _flat(dice, sun, "dust", dice.uniform(0.008, 0.035), haze)


def _rain(dice: Dice, sun: tuple[float, float, float]) -> Conditions:
    base = _flat(dice, sun, "rain", dice.uniform(0.004, 0.016), _grey(dice, 105, 190))
    return _with(base, wet=dice.uniform(0.4, 1.0), falling=dice.uniform(0.15, 1.0))


def _snow(dice: Dice, sun: tuple[float, float, float]) -> Conditions:
    base = _flat(dice, sun, "snow", dice.uniform(0.004, 0.022), _grey(dice, 175, 235, 6))
    return _with(base, white=dice.uniform(0.3, 1.0), falling=dice.uniform(0.0, 1.0), wet=dice.uniform(0.0, 0.4))


def _dusk(dice: Dice, sun: tuple[float, float, float]) -> Conditions:
    level = dice.uniform(0.3, 0.6)
    bottom = dice.jitter(dice.pick(((238, 168, 112), (226, 150, 142), (168, 164, 184), (120, 132, 168))), 20)
    top = dice.jitter((66, 78, 120), 20)
    ambient = (level * 0.92, level * 0.95, level * 1.12)
    light = (level * 0.9, level * 0.62, level * 0.42)
    low_sun = (sun[0], sun[1], 0.2)
    density = dice.uniform(0.001, 0.008)
    return Conditions(
        "dusk", ambient, light, low_sun, 0.2, top, bottom, mix(bottom, top, 0.4), density, 0.85, night=0.4
    )


def _night(dice: Dice, sun: tuple[float, float, float]) -> Conditions:
    level = dice.uniform(0.24, 0.50)
    tint = dice.pick(((1.25, 1.0, 0.68), (0.9, 1.0, 1.2), (1.1, 1.02, 0.9)))
    ambient = (level * tint[0], level * tint[1], level * tint[2])
    haze = (26 * tint[0], 27 * tint[1], 30 * tint[2])
    rain = dice.chance(0.3)
    return Conditions(
        "night",
        ambient,
        (0.03, 0.03, 0.04),
        sun,
        0.0,
        (8, 10, 20),
        haze,
        haze,
        dice.uniform(0.001, 0.010),
        0.97,
        night=1.0,
        wet=dice.uniform(0.3, 1.0) if rain else 0.0,
        falling=dice.uniform(0.1, 0.7) if rain else 0.0,
    )


def _with(base: Conditions, *, wet: float, falling: float, white: float = 0.0) -> Conditions:
    return replace(base, wet=wet, falling=falling, white=white)


_MAKERS = {
    "day": _day,
    "overcast": _overcast,
    "dusk": _dusk,
    "night": _night,
    "fog": _fog,
    "rain": _rain,
    "snow": _snow,
    "dust": _dust,
}
