"""From a file of `detq export --format detq` to a `Predictor`: nothing is compiled, and no compiler is imported."""

from __future__ import annotations

import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from detq.artifact.glue import build_glue
from detq.artifact.machine import here, unmet
from detq.artifact.manifest import MANIFEST, Manifest, Package
from detq.engine.compiled import Compiled, PerShape, Signature, signature
from detq.engine.compiler import load_compiled
from detq.engine.detector import StagedDetector
from detq.engine.work import GraphWork
from detq.errors import ArtifactError
from detq.models.weights import LoadedModel, WeightsSource
from detq.predictor import Predictor
from detq.quantization.plan import Plan, StageRule
from detq.variants import Variant

__all__ = ["Artifact", "open_predictor"]

Say = Callable[[str], None]


def open_predictor(path: Path, *, classes: Sequence[str] | None = None, say: Say | None = None) -> Predictor:
    """Return the detector in an artifact, ready to run.

    Images of a size that it was not exported for are compiled when they first come, where a compiler is installed.

    Args:
        path: the file. It holds machine code: open only what you trust.
        classes: other names for its labels, as many.
        say: is told what compiles, and why; by default standard error.

    Raises:
        ArtifactError: it is no artifact, a damaged one, or one for another machine or version of torch.
    """
    artifact = Artifact(path)
    manifest = artifact.manifest
    names = tuple(classes) if classes else manifest.classes
    if len(names) != len(manifest.classes):
        raise ArtifactError(
            f"--classes: expected {len(manifest.classes)} names, one for each class of {path.name}, got {len(names)}"
        )
    module = artifact.build(say or _to_stderr)
    made_of = manifest.weights
    source = WeightsSource(
        made_of.kind,
        _after_colon(made_of.description),
        made_of.seed,
        sha256=made_of.sha256,
        planted=made_of.planted,
    )
    loaded = LoadedModel(module, names, source, manifest.meaningful)
    variant = Variant(manifest.model, manifest.recipe)
    predictor = Predictor(module, variant, loaded, fp32_weight_bytes=manifest.weights.fp32_bytes)
    predictor.has_masks = manifest.has_masks
    return predictor


def _to_stderr(sentence: str) -> None:
    print(f"detq: {sentence}", file=sys.stderr)


def _after_colon(description: str) -> str | None:
    """Return the file's name in "file: name"."""
    return description.partition(": ")[2] or None


class Artifact:
    """An open artifact.

    Attributes:
        path: the file.
        manifest: what is in it.
    """

    def __init__(self, path: Path) -> None:
        """Open a file and check that it can run here.

        Raises:
            ArtifactError: it cannot.
        """
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
            text = self._zip.read(MANIFEST)
        except FileNotFoundError:
            raise ArtifactError(f"{path} does not exist; expected a file of `detq export --format detq`") from None
        except KeyError:
            raise ArtifactError(
                f"{path}: a zip without {MANIFEST}; expected a file of `detq export --format detq`"
            ) from None
        except (OSError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
            raise ArtifactError(
                f"{path}: not a readable artifact ({error}); expected a whole file of `detq export --format detq`"
            ) from None
        self.manifest = Manifest.loads(text, str(path))
        members = set(self._zip.namelist())
        listed = [one.file for one in self.manifest.packages] + [one.file for one in self.manifest.programs.values()]
        if missing := [name for name in listed if name not in members]:
            raise ArtifactError(f"{path}: {missing[0]} is missing in it; export it again")
        if reason := unmet(self.manifest.requires, here()):
            raise ArtifactError(
                f"{path} cannot run here: {reason}; export it again here, from {self.manifest.rebuild_needs()}"
            )

    def build(self, say: Say) -> StagedDetector:
        """Return the detector.

        Args:
            say: is told what compiles, and why.

        Raises:
            ArtifactError: the manifest's settings are not those of a detector.
        """
        manifest = self.manifest
        try:
            plan = Plan.from_json(manifest.plan)
            glue = build_glue(manifest.glue)
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"{self.path}: its settings are damaged ({error!r}); export it again") from None
        stages = dict.fromkeys(one.stage for one in manifest.packages)
        dense = {stage: self._stage(stage, plan.rule(stage), say) for stage in stages}
        made = StagedDetector(glue, plan, dense, manifest.features, pixels=manifest.pixels, notes=manifest.notes)
        made.canvases.keep((height, width) for height, width in manifest.canvases)
        return made

    def _stage(self, stage: str, rule: StageRule, say: Say) -> PerShape:
        packages = {one.shapes: one for one in self.manifest.packages if one.stage == stage}
        rows = next(iter(packages.values())).rows

        def load(inputs: tuple[Tensor, ...]) -> Compiled:
            package = packages.get(signature(inputs, rows).shapes)
            return self._load(package) if package else self._compile(stage, rule, inputs, say)

        return PerShape(load, rows=rows)

    def _load(self, package: Package) -> Compiled:
        takes = Signature(tuple(getattr(torch, name) for name in package.dtypes), package.shapes, package.rows)
        with self.extracted(package.file) as file:
            try:
                run = load_compiled(file)
            except RuntimeError as error:
                reason = str(error).partition("\n")[0]
                raise ArtifactError(f"{self.path}: {package.file} does not load ({reason}); export it again") from None
        return Compiled(run, takes, self.path, GraphWork.from_json(package.work))

    def _compile(self, stage: str, rule: StageRule, inputs: tuple[Tensor, ...], say: Say) -> Compiled:
        """Compile a stage for a shape that the file was not exported for."""
        from detq.engine.compiler import unsupported_reason
        from detq.engine.packages import Packages

        sizes = ", ".join(f"{width}×{height}" for height, width in self.manifest.image_sizes)
        if stage not in self.manifest.programs:
            reason = "it brings no graphs to compile for others; add the size to --image-size when you export"
        elif not (reason := unsupported_reason() or ""):
            say(f"{self.path.name} was exported for images of {sizes}; this one is of another size")
            return Packages(FromArtifact(self), say).package(stage, rule, inputs)
        raise ArtifactError(
            f"{self.path.name} was exported for images of {sizes}, this one is of another size: {reason}"
        )

    @contextmanager
    def extracted(self, member: str) -> Iterator[Path]:
        """Yield a temporary file with the content of a member.

        Raises:
            ArtifactError: it is damaged.
        """
        with tempfile.TemporaryDirectory(prefix="detq-") as folder:
            file = Path(folder) / Path(member).name
            try:
                file.write_bytes(self._zip.read(member))
            except (KeyError, OSError, zipfile.BadZipFile, zlib.error) as error:
                raise ArtifactError(f"{self.path}: {member} is damaged ({error}); export it again") from None
            yield file


class FromArtifact:
    """The graphs of an artifact's stages; see `detq.engine.packages.Graphs`."""

    def __init__(self, artifact: Artifact) -> None:
        self._artifact = artifact

    def key(self, stage: str, rule: StageRule) -> str:  # noqa: ARG002  # a stage has one rule here
        """Return what the graph was known as where it was made, so that its cache serves here too."""
        return self._artifact.manifest.programs[stage].key

    def graph(self, stage: str, rule: StageRule) -> nn.Module:  # noqa: ARG002  # see above
        """Return what is exported and compiled."""
        from detq.engine.narrow import typed
        from detq.engine.quantize import load_program

        program = self._artifact.manifest.programs[stage]
        with self._artifact.extracted(program.file) as file:
            module = load_program(file)
        if not program.int8:
            return module
        return typed(module, None if program.makes is None else getattr(torch, program.makes))
