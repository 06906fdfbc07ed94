"""Files of whole models as further variants of a run: opened, named, and held against the fp32 that they came from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from detq.errors import ArtifactError, WeightsError
from detq.files import file_sha256
from detq.model_files import load
from detq.models.zoo import DEFAULT_MODEL, MODELS
from detq.predictor import Predictor
from detq.quantization.recipes import REFERENCE
from detq.runner.config import RunConfig
from detq.runner.progress import Progress

__all__ = ["ArtifactFile", "check_artifacts", "model_of", "open_artifacts"]


@dataclass(frozen=True, eq=False)
class ArtifactFile:
    """An open file.

    Attributes:
        path: of it.
        predictor: what it holds.
        sha256: of its bytes, in hexadecimal digits.
    """

    path: Path
    predictor: Predictor
    sha256: str

    @property
    def model(self) -> str | None:
        """The model that it was made of, or None where it does not say: other programs' files do not."""
        name = self.predictor.variant.model
        return name if ":" in name or name in {spec.name for spec in MODELS} else None

    def describe(self) -> str:
        """Return what a report says about it; no folder is named, so that reports can be shared."""
        return f"the file {self.path.name}, {self.predictor.variant.id} (SHA-256 {self.sha256[:12]}…)"


def open_artifacts(config: RunConfig, progress: Progress) -> Mapping[str, ArtifactFile]:
    """Open the files of a run and name them: after the recipe where that tells it apart, else after the file.

    Raises:
        DetqError: a file cannot be read or cannot run here, or two variants would have one name.
    """
    files = [
        ArtifactFile(path, load(path, classes=config.classes or (), say=progress.say), file_sha256(path))
        for path in config.artifacts
    ]
    recipes = Counter([REFERENCE, *dict.fromkeys(config.recipes or ())])
    recipes.update(file.predictor.variant.recipe for file in files)
    named: dict[str, ArtifactFile] = {}
    for file in files:
        recipe = file.predictor.variant.recipe
        name = recipe if recipes[recipe] == 1 else file.path.stem
        if name in named or (name != recipe and name in recipes):
            raise ArtifactError(
                f"--artifact {file.path}: another variant of this run is called {name} too; give the file another name"
            )
        named[name] = file
    return named


def model_of(config: RunConfig, artifacts: Mapping[str, ArtifactFile]) -> str:
    """Return the name of the model whose variants a run compares.

    Raises:
        ArtifactError: files of several models, or of another one than named, or one that does not say which.
    """
    model = config.model or next((file.model for file in artifacts.values() if file.model), "")
    for file in artifacts.values():
        if not model:
            raise ArtifactError(
                f"--artifact {file.path}: the file does not say which model it was made of; name the one whose fp32 it "
                "is to be compared with, with --model"
            )
        if file.model not in {None, model}:
            raise ArtifactError(
                f"--artifact {file.path}: expected a file of {model}, found one of {file.model}; compare each model "
                "with its own fp32, in a run of its own"
            )
    return model or DEFAULT_MODEL


def check_artifacts(artifacts: Mapping[str, ArtifactFile], reference: Predictor) -> None:
    """Raise unless every file holds the reference's parameters, as far as it says which it holds.

    A file without names for its labels, as other programs write them, gets the reference's.

    Raises:
        DetqError: other weights, other classes, or masks on one side only.
    """
    for file in artifacts.values():
        own = file.predictor
        _check_weights(file, reference)
        own.classes = own.classes or reference.classes
        if set(own.classes) != set(reference.classes):
            raise ArtifactError(
                f"--artifact {file.path}: expected the classes {', '.join(reference.classes)}, found "
                f"{', '.join(own.classes)}; name the labels of both with --weights FILE --classes A,B,C"
            )
        if own.has_masks != reference.has_masks:
            raise ArtifactError(
                f"--artifact {file.path}: it finds {'masks' if own.has_masks else 'no masks'}, and "
                f"{reference.variant.id} {'none' if own.has_masks else 'does'}; name its model with --model"
            )


def _check_weights(file: ArtifactFile, reference: Predictor) -> None:
    theirs, ours = file.predictor.weights, reference.weights
    if theirs.sha256 is not None:
        same = ours.hash_path() == theirs.sha256
    elif theirs.kind in {"random", "coco"}:
        same = (theirs.kind, theirs.seed) == (ours.kind, ours.seed)
    else:
        same = file.predictor.meaningful == reference.meaningful
    if not same:
        known = f" with SHA-256 {theirs.sha256}" if theirs.sha256 else ""
        raise WeightsError(
            f"--artifact {file.path}: it was made of other weights ({theirs.describe()}{known}) than this run's fp32 "
            f"({ours.describe()}); name the same ones with --weights"
        )
