"""What the studies of simulated int8 share: their arguments, how they open, and the journal that they go on from."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from detq.datasets import open_dataset
from detq.engine.build import unstaged_reason
from detq.engine.calibration import Calibration, CalibrationChoice, missing
from detq.errors import DetqError, QuantizationError, UnsupportedError
from detq.files import write_text
from detq.measure.threads import pinned_threads
from detq.models.weights import LoadedModel, WeightsSource, load_model, parse_weights
from detq.models.zoo import find_model
from detq.out_folder import OutFolder
from detq.runner.view import View, check_limit

__all__ = ["Journal", "Opened", "StudyConfig", "open_study"]

Value = TypeVar("Value")


@dataclass(frozen=True)
class StudyConfig:
    """The arguments that every study has.

    Attributes:
        data: what `open_dataset` opens, labelled; neither what is reported on nor what calibrates.
        out: the folder for results.
        model: a zoo name, or `package.module:callable`.
        weights: see `detq.models.weights.parse_weights`.
        classes: names of the weights' labels where their file brings none.
        class_map: `car=1,2`, see `open_dataset`.
        calibration: images for ranges.
        limit: how many images to use, from the first.
        resume: go on with the study in `out`.
        seed: of random weights.
        threads: of torch.
    """

    data: str
    out: Path
    model: str
    weights: str | None = None
    classes: tuple[str, ...] | None = None
    class_map: str | None = None
    calibration: CalibrationChoice = field(default_factory=CalibrationChoice)
    limit: int | None = None
    resume: bool = False
    seed: int = 0
    threads: int = 1

    def __post_init__(self) -> None:
        check_limit(self.limit)


@dataclass(frozen=True)
class Opened:
    """A study whose arguments were found to be good.

    Attributes:
        config: its arguments.
        folder: for its results.
        source: of the weights.
        loaded: the detector.
        view: the images to judge on.
        calibrations: one for each choice.
    """

    config: StudyConfig
    folder: OutFolder
    source: WeightsSource
    loaded: LoadedModel
    view: View
    calibrations: tuple[Calibration, ...]

    @contextlib.contextmanager
    def running(self, more: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Claim the folder, and hold it and the number of threads; yield the settings, `more` among them.

        Raises:
            OutputError: the folder belongs to a study with other settings, or another process works in it.
        """
        settings: dict[str, Any] = {
            "model": self.config.model,
            "weights": self.source.describe(),
            "weights_sha256": self.source.hash_path(),
            "data": self.view.name,
            "data_identity": self.view.identity(),
            "images": len(self.view),
            **more,
        }
        self.folder.claim(settings)
        with self.folder.locked(), pinned_threads(self.config.threads, keep_memory=True):
            yield settings


def open_study(config: StudyConfig, choices: Sequence[CalibrationChoice], command: str, version: str) -> Opened:
    """Open what a study needs, the cheapest first.

    Args:
        config: the arguments.
        choices: what to calibrate with, one or several.
        command: what the user called, for messages.
        version: of the settings in the folder.

    Raises:
        DetqError: a mistake in the arguments, the data or the weights, images that calibrate are to be judged, or a
            detector without the stages that are studied.
    """
    folder = OutFolder(config.out, "study", config.out / "study.json", version)
    folder.check(resume=config.resume)
    spec = find_model(config.model)
    source = parse_weights(config.weights, spec, config.seed)
    if not config.calibration.suits(source.kind):
        raise QuantizationError(missing([command]))
    calibrations = tuple(choice.draw() for choice in choices)
    data = open_dataset(config.data, class_map=config.class_map)
    loaded = load_model(spec, source, config.classes)
    if reason := unstaged_reason(loaded.module):
        raise UnsupportedError(f"--model {config.model}: {command} studies stages in int8; {reason}")
    view = View(data, loaded.classes, labelled=True, limit=config.limit)
    for calibration in calibrations:
        _check_apart(view, calibration)
    return Opened(config, folder, source, loaded, view, calibrations)


def _check_apart(view: View, calibration: Calibration) -> None:
    """Refuse to judge on images that calibrate.

    Raises:
        DetqError: there are some.
    """
    places = {_place(view.name), _place(calibration.dataset.name)}
    shared = set(view.image_ids()) & set(calibration.describe()["images"])
    if len(places) == 1 and shared:
        raise DetqError(
            f"--data {view.name}: expected images that do not calibrate, found {len(shared)} that do; use another split"
        )


def _place(name: str) -> str:
    location = name.partition("?")[0]
    return location if ":" in location else str(Path(location).resolve())


class Journal(Generic[Value]):
    """Figures that a study has so far, a line each.

    Args:
        path: of the file, or of one to be.
        key: the field that says whose figures a line holds.
        names: of the figures.
        parse: makes a figure of what JSON holds; raises ValueError or TypeError where it is none.
    """

    def __init__(self, path: Path, key: str, names: Sequence[str], parse: Callable[[Any], Value]) -> None:
        self._path, self._key, self._names, self._parse = path, key, tuple(names), parse

    def read(self) -> dict[str, dict[str, Value]]:
        """Return the figures by whose they are; a line that a kill cut short is cut off."""
        text = self._path.read_text(encoding="utf-8") if self._path.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            write_text(self._path, whole)
        found: dict[str, dict[str, Value]] = {}
        for line in whole.splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                entry = json.loads(line)
                found[str(entry[self._key])] = {name: self._parse(entry[name]) for name in self._names}
        return found

    def append(self, whose: str, figures: Mapping[str, Value]) -> None:
        """Add a line."""
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({self._key: whose, **figures}) + "\n")
