"""What a benchmark session was asked for: `[tool.detq]` of the project's pyproject.toml and the command line."""

from __future__ import annotations

import contextlib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from detq.engine.calibration import CalibrationChoice, missing
from detq.errors import DetqError, UnknownNameError, unknown_name
from detq.gate.tolerances import Tolerances, tolerances_from
from detq.models.weights import parse_weights
from detq.models.zoo import MODELS, PACKAGED_MODELS, find_model
from detq.variants import Variant, find_variant, variants_of

__all__ = [
    "IMAGES_TIMED",
    "IMAGES_UNTIMED",
    "Project",
    "Settings",
    "choose_models",
    "project_or_default",
    "read_project",
]

PYPROJECT = "pyproject.toml"
MODEL = "model"

IMAGES_TIMED = 64
"""Images of a timed run: ten minutes for the packaged models with every recipe on two cores."""

BUDGET_S = 180.0
"""Seconds of measuring, after which no further round is begun for what is undecided."""

IMAGES_UNTIMED = 4
"""Images where the benchmarks only double as tests."""

CALIBRATION_UNTIMED = 8
"""Images that calibrate there: rendering and running the usual number takes half a minute."""

SAMPLE = "fasterrcnn_mobilenet_v3_large_320_fpn-mixed_int8"
"""Of what is slow to build the one that untimed sessions build: the packaged model that compiles in the least time,
with stages in bf16 and in int8."""


@dataclass(frozen=True)
class Project:
    """`[tool.detq]` of a pyproject.toml.

    Attributes:
        benchmarks: folder of the benchmarks; detq's plugin acts only where a session runs something in it. Baselines
            live in its subfolder `baselines`.
        models: what to measure by default, in the file also a single `model`; None for the packaged models.
        data: what `open_dataset` understands; None for detq's synthetic benchmark frames.
        weights: like `--weights` of `detq run`; None for each model's own default.
        classes: names of the labels, for weights that bring none.
        calibration: images for static int8; None for rendered frames, which only the packaged weights know.
        gate: how much worse a figure may get.
    """

    benchmarks: Path
    models: tuple[str, ...] | None = None
    data: str | None = None
    weights: str | None = None
    classes: tuple[str, ...] | None = None
    calibration: str | None = None
    gate: Tolerances = field(default_factory=Tolerances)

    @property
    def baselines(self) -> Path:
        """The folder of baselines."""
        return self.benchmarks / "baselines"


@dataclass(frozen=True)
class Settings:
    """What to measure, and how.

    Attributes:
        project: the project's own settings.
        models: names.
        every_model: nobody chose the models.
        images: how many, from the first.
        threads: torch's intra-op threads.
        weights: see `Project`.
        timing: times count; otherwise the benchmarks only double as tests.
        gate: judge the run against the baseline.
        update: write the baseline.
        report: folder for pictures, table and JSON, or None.
        record: the command that records the baseline of this selection.
        strict: what is inconclusive fails, too.
        gate_reports: files for the verdict.
        budget_s: seconds of measuring, after which no further round is begun for what is undecided.
        more_rounds: whether an update records as many rounds as the budget allows, instead of one.
    """

    project: Project
    models: tuple[str, ...]
    every_model: bool
    images: int
    threads: int
    weights: str | None
    timing: bool
    gate: bool
    update: bool
    report: Path | None
    record: str
    strict: bool = False
    gate_reports: tuple[Path, ...] = ()
    budget_s: float = BUDGET_S
    more_rounds: bool = False

    @property
    def variants(self) -> tuple[Variant, ...]:
        """All variants of the chosen models, each model's fp32 first."""
        return tuple(variant for model in self.models for variant in variants_of(model))

    @property
    def calibration(self) -> CalibrationChoice:
        """What static int8 takes its ranges from."""
        choice = CalibrationChoice(self.project.calibration)
        return choice if self.timing else replace(choice, images=CALIBRATION_UNTIMED)

    def left_out(self, variant: Variant) -> str | None:
        """Return why a variant does not run in this session, or None if it does.

        Building a model for all recipes takes minutes where nothing is cached. As tests, the benchmarks run the recipes
        that suit any detector, and `SAMPLE`; when times count, or the models were chosen, all run. Static int8 needs
        images to calibrate with.
        """
        source = parse_weights(self.weights or self.project.weights, variant.model_spec)
        if variant.recipe_spec.calibrates and not self.calibration.suits(source.kind):
            return f"{missing([variant.recipe])}, or [tool.detq] calibration"
        if self.timing or not self.every_model or variant.id == SAMPLE:
            return None
        if not variant.model_spec.packaged or variant.recipe_spec.any_detector:
            return None
        return f"untimed, of what is slow to build only {SAMPLE} runs; --benchmark-enable or --detq-models runs it all"


def read_project(root: Path) -> Project | None:
    """Return the settings in `root`/pyproject.toml, or None where `[tool.detq]` names no folder of benchmarks.

    Raises:
        DetqError: an unknown key, or a value of the wrong kind.
    """
    try:
        table = _table(root)
    except (OSError, tomllib.TOMLDecodeError):
        return None  # pytest itself says what is wrong with the file
    return _project(table, root) if "benchmarks" in table else None


def project_or_default(root: Path) -> Project:
    """Return the settings in `root`/pyproject.toml, and the defaults where there is no `[tool.detq]` or no such file.

    Raises:
        DetqError: the file is no TOML, an unknown key, or a value of the wrong kind; or it is a folder above, of the
            same repository, that has settings.
    """
    path = root / PYPROJECT
    if not path.is_file() and (above := _settings_above(root)):
        raise DetqError(
            f"expected to be started in {above}, whose {PYPROJECT} has [tool.detq], not in {root}, where nothing of it "
            "is in force; go there"
        )
    try:
        table = _table(root) if path.is_file() else {}
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise DetqError(f"{path}: expected TOML, it cannot be read: {error}") from None
    return _project({"benchmarks": "benchmarks", **table}, root)


def _settings_above(root: Path) -> Path | None:
    """Return the nearest folder above, up to the top of the repository, with `[tool.detq]`."""
    for folder in root.absolute().parents:
        if (folder / PYPROJECT).is_file():
            with contextlib.suppress(OSError, tomllib.TOMLDecodeError):
                return folder if _table(folder) else None
        if (folder / ".git").exists():
            break
    return None


def _table(root: Path) -> Mapping[str, Any]:
    with (root / PYPROJECT).open("rb") as stream:
        found: Mapping[str, Any] = tomllib.load(stream).get("tool", {}).get("detq", {})
    return found


def _project(table: Mapping[str, Any], root: Path) -> Project:
    where = f"{PYPROJECT} [tool.detq]"
    known = [item.name for item in fields(Project)]
    for name, value in table.items():
        if name not in {*known, MODEL}:
            raise unknown_name(f"{where} key", name, [*known, MODEL])
        expected = {"models": list, "classes": list, "gate": dict}.get(name, str)
        if not isinstance(value, expected):
            raise DetqError(f"{where} {name}: expected a {_KINDS[expected]}, got {value!r}")
    models = _models(table, where)
    gate = tolerances_from(table.get("gate", {}))
    own = {find_variant(name).model for name in gate.variants if ":" in name} if models else set()
    for name in sorted(own - set(models or ())):
        raise unknown_name("[tool.detq.gate.variants] model", name, models or ())
    return Project(
        benchmarks=root / table["benchmarks"],
        models=models,
        data=table.get("data"),
        weights=table.get("weights"),
        classes=tuple(map(str, table["classes"])) if "classes" in table else None,
        calibration=table.get("calibration"),
        gate=gate,
    )


def _models(table: Mapping[str, Any], where: str) -> tuple[str, ...] | None:
    """Return what `models`, or the single `model`, names.

    Raises:
        DetqError: both are there.
    """
    if MODEL in table and "models" in table:
        raise DetqError(f"{where}: expected model or models, got both; put {table[MODEL]!r} into the list")
    names = [table[MODEL]] if MODEL in table else table.get("models")
    return None if names is None else tuple(map(str, names))


_KINDS: Mapping[type, str] = {str: "string", list: "list of strings", dict: "table"}


def choose_models(text: str | None, project: Project) -> tuple[str, ...]:
    """Return the models that `--detq-models` means: the project's or the packaged ones by default, `all`, or names.

    `all` are those that come with weights, packaged or torchvision's, and the project's.

    Raises:
        UnknownNameError: no such model; the message offers close matches.
    """
    if text is None:
        return project.models or PACKAGED_MODELS
    if text.strip() == "all":
        return tuple(dict.fromkeys([*_with_weights(), *(project.models or ())]))
    names = dict.fromkeys(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise UnknownNameError(f"--detq-models {text!r}: expected `all` or names separated by commas")
    return tuple(find_model(name).name for name in names)


def _with_weights() -> Iterable[str]:
    return (model.name for model in MODELS if model.packaged or model.coco_weights is not None)


def known_models(models: Iterable[str]) -> frozenset[str]:
    """Return every model that exists: the zoo's, and those of this session."""
    return frozenset([*(model.name for model in MODELS), *models])
