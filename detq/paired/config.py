"""What `detq gate --base` was asked to do."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from detq.engine.calibration import CalibrationChoice
from detq.errors import DetqError
from detq.gate.tolerances import Tolerances
from detq.models.zoo import DEFAULT_MODEL, PACKAGED_MODELS, find_model

__all__ = ["GateConfig", "absolute_data", "may_have_masks", "models_of", "seconds_of"]

PACKAGED = "packaged"

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h)?")
_UNITS = {None: 1, "s": 1, "m": 60, "min": 60, "h": 3600}


@dataclass(frozen=True)
class GateConfig:
    """One run of the paired gate.

    Attributes:
        base: the commit to compare with.
        folder: where the head's code is.
        base_python: interpreter of the base's processes.
        models: of the list, or a user's own `package.module:build`.
        recipes: what to judge beside fp32; all that either commit has by default.
        data: what `open_dataset` opens; None for rendered frames that no model was trained on.
        images: how many of them, from the first.
        weights: as in `build_predictor`.
        classes: as in `build_predictor`.
        class_map: as in `open_dataset`.
        unlabelled: there are no labels: only the fp32 detections kept tell about accuracy.
        calibration: images for static int8.
        budget_s: seconds of measuring, all variants together.
        timeout_s: seconds that a process may take for one answer, such as building a variant.
        threads: of torch's operators.
        seed: decides every random choice.
        tolerances: how much worse a figure may get.
    """

    base: str
    folder: Path
    base_python: str = sys.executable
    models: tuple[str, ...] = (DEFAULT_MODEL,)
    recipes: tuple[str, ...] | None = None
    data: str | None = None
    images: int = 32
    weights: str | None = None
    classes: tuple[str, ...] | None = None
    class_map: str | None = None
    unlabelled: bool = False
    calibration: str | None = None
    budget_s: float = 180.0
    timeout_s: float = 900.0
    threads: int = 1
    seed: int = 0
    tolerances: Tolerances = field(default_factory=Tolerances)

    def __post_init__(self) -> None:
        if self.images < 1:
            raise DetqError(f"--images {self.images}: expected 1 or more")

    @property
    def own_modules(self) -> tuple[str, ...]:
        """The modules that users' own models come from."""
        return tuple(dict.fromkeys(name.partition(":")[0] for name in self.models if ":" in name))

    @property
    def all_own(self) -> bool:
        """Whether no model comes with detq."""
        return all(":" in name for name in self.models)

    def calibrates(self, kind: str) -> bool:
        """Return whether there are images to calibrate static int8 with, for weights of a kind."""
        return CalibrationChoice(self.calibration).suits(kind)


def may_have_masks(model: str) -> bool:
    """Return whether a model finds masks, or is a user's own, which says so only once it is built."""
    spec = find_model(model)
    return spec.has_masks or spec.own


def models_of(names: Sequence[str]) -> tuple[str, ...]:
    """Return the models that names mean: `packaged` stands for all that come with weights. Repetitions count once.

    Raises:
        UnknownNameError: no such model; the message offers close matches.
    """
    every = [name for given in names for name in (PACKAGED_MODELS if given == PACKAGED else [find_model(given).name])]
    return tuple(dict.fromkeys(every))


def seconds_of(text: str, option: str = "--budget") -> float:
    """Return the seconds in `40s`, `3m`, `1.5h` or `90`.

    >>> seconds_of("3m"), seconds_of("40 s"), seconds_of("90")
    (180.0, 40.0, 90.0)

    Raises:
        DetqError: it is something else, or nothing.
    """
    match = _DURATION.fullmatch(text.strip())
    seconds = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if seconds <= 0:
        raise DetqError(f"{option} {text}: expected a time above 0 such as 40s, 3m or 1h")
    return seconds


def absolute_data(text: str | None) -> str | None:
    """Return a path with its folder, so that every process finds it, and anything else as it is.

    Options may follow a data set's path, as in `photos?map=car=1`.
    """
    if text is None:
        return None
    path, mark, options = text.partition("?")
    return f"{Path(path).resolve()}{mark}{options}" if Path(path).exists() else text
