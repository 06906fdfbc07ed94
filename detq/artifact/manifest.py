"""`manifest.json`: what an artifact holds, where it comes from and what it needs. It imports no torch."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from detq.artifact.machine import Requirements
from detq.errors import ArtifactError
from detq.records import from_json, to_json

__all__ = ["MANIFEST", "SCHEMA", "Manifest", "Package", "Program", "Weights"]

MANIFEST = "manifest.json"
SCHEMA = 1


@dataclass(frozen=True)
class Weights:
    """Where the parameters come from.

    Attributes:
        kind: see `detq.models.weights.WeightsSource`.
        description: for people; it names no folder.
        sha256: of the file, or None where there was none.
        seed: of random ones.
        fp32_bytes: of the fp32 detector's parameters and buffers.
        bytes: of the compiled stages' constants, for one image size.
        planted: how many objects random ones find, or None.
    """

    kind: str
    description: str
    sha256: str | None
    seed: int | None
    fp32_bytes: int
    bytes: int
    planted: int | None = None


@dataclass(frozen=True)
class Package:
    """One compiled stage for one shape of its inputs.

    Attributes:
        stage: which.
        file: its member of the zip, `.pt2`.
        dtypes: of its inputs, `torch`'s names.
        shapes: of its inputs; the first dimension is 0 where it may vary.
        rows: steps of the first dimension, or 0 for fixed shapes.
        work: what `detq.engine.work.GraphWork` keeps.
    """

    stage: str
    file: str
    dtypes: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    rows: int
    work: dict[str, Any]


@dataclass(frozen=True)
class Program:
    """The graph of one stage for images of any size, by `torch.export.save`.

    Attributes:
        file: its member of the zip.
        key: what identifies the graph.
        int8: it is quantized, and takes and gives fp32.
        makes: the type that its outputs are cast to, or None.
    """

    file: str
    key: str
    int8: bool
    makes: str | None


@dataclass(frozen=True)
class Manifest:
    """All about an artifact.

    Attributes:
        schema: version of this description.
        detq: that wrote it.
        model: zoo name, or a user's own `package.module:callable`.
        recipe: its name.
        plan: what runs where, already fitted to the CPU.
        notes: what the recipe lost there.
        classes: names of the labels.
        meaningful: False for random weights.
        has_masks: it finds masks.
        weights: where the parameters come from.
        calibration: the images behind int8 ranges, see `detq.engine.calibration.Calibration.describe`; None without.
        requires: what it runs on.
        glue: see `detq.artifact.glue`.
        features: names of the feature maps.
        pixels: the backbone takes uint8 canvases.
        canvases: (height, width) that the backbone was compiled for.
        image_sizes: (height, width) of the images that it was exported for.
        packages: compiled stages.
        programs: by stage; empty where they were left out.
        proof: what runs in int8, see `detq.quantization.proof.Proof`.
        measured: what `detq run` measured, with the data's identity; None where none was given.
    """

    schema: int
    detq: str
    model: str
    recipe: str
    plan: dict[str, Any]
    notes: tuple[str, ...]
    classes: tuple[str, ...]
    meaningful: bool
    has_masks: bool
    weights: Weights
    calibration: dict[str, Any] | None
    requires: Requirements
    glue: dict[str, Any]
    features: tuple[str, ...]
    pixels: bool
    canvases: tuple[tuple[int, ...], ...]
    image_sizes: tuple[tuple[int, ...], ...]
    packages: tuple[Package, ...]
    programs: dict[str, Program] = field(default_factory=dict)
    proof: dict[str, Any] | None = None
    measured: dict[str, Any] | None = None

    def dumps(self) -> str:
        """Return the text of `manifest.json`."""
        return json.dumps(to_json(self), indent=2, allow_nan=False) + "\n"

    @classmethod
    def loads(cls, text: bytes, name: str) -> Manifest:
        """Return the manifest in `text`.

        Args:
            text: of `manifest.json`.
            name: of the artifact, for messages.

        Raises:
            ArtifactError: it is no manifest, or one of a later detq.
        """
        try:
            content = json.loads(text)
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ArtifactError(f"{name}: its {MANIFEST} is not JSON ({error}); export it again") from None
        schema = content.get("schema") if isinstance(content, dict) else None
        if schema != SCHEMA:
            raise ArtifactError(
                f"{name}: expected an artifact of schema {SCHEMA}, found {schema!r}; "
                f"{'update detq' if isinstance(schema, int) and schema > SCHEMA else 'export it again'}"
            )
        try:
            return from_json(cls, content, f"{name}: {MANIFEST}")
        except ValueError as error:
            raise ArtifactError(f"{error}; export it again") from None

    def rebuild_needs(self) -> str:
        """Return a clause that names what building it again takes."""
        weights = self.weights.description + (f" (SHA-256 {self.weights.sha256})" if self.weights.sha256 else "")
        if self.calibration is None:
            return f"the weights {weights}"
        data = f"{self.calibration.get('data')} (identity {self.calibration.get('identity')})"
        count = len(self.calibration.get("images") or ())
        return f"the weights {weights} and {count} calibration images of {data}"
