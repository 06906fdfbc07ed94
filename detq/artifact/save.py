"""`detq export --format detq`: a variant's compiled stages, and all that running them needs, as one file."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

import detq
from detq.artifact.glue import describe_glue
from detq.artifact.load import open_predictor
from detq.artifact.machine import here
from detq.artifact.manifest import MANIFEST, SCHEMA, Manifest, Package, Program, Weights
from detq.engine.build import FromWeights
from detq.engine.calibration import Calibration, CalibrationChoice
from detq.engine.compiled import Compiled, PerShape
from detq.engine.detector import StagedDetector
from detq.errors import ArtifactError, UnsupportedError
from detq.files import atomic_path
from detq.model_files import Exported
from detq.predictor import Predictor, build_predictor
from detq.quantization.plan import DENSE_STAGES
from detq.quantization.proof import prove
from detq.types import Detections
from detq.variants import Variant

__all__ = ["export_variant"]

Pixels = NDArray[np.uint8]


def export_variant(
    variant: Variant,
    path: Path,
    *,
    weights: str | None = None,
    classes: Sequence[str] | None = None,
    seed: int = 0,
    image: Pixels,
    calibration: Calibration | CalibrationChoice | None = None,
    image_sizes: Sequence[tuple[int, int]] = (),
    measured: Any = None,
    programs: bool = True,
    say: Callable[[str], None] | None = None,
) -> Exported:
    """Compile `variant`, or take it from the cache, write it to `path`, read it back and compare the two.

    Args:
        variant: of a recipe whose stages are compiled.
        path: the file, by convention `.detq`.
        weights: see `detq.predictor.build_predictor`.
        classes: see there.
        seed: of random weights.
        image: uint8 `(height, width, 3)`, RGB, on which the detector finds something.
        calibration: see `detq.predictor.build_predictor`.
        image_sizes: (height, width) of the images that it is for; by default that of `image`.
        measured: what `detq.artifact.measured.read_measured` returned.
        programs: with the graphs, from which a user's machine compiles for other sizes.
        say: is told what takes long, and why.

    Raises:
        UnsupportedError: the variant has no compiled stages, or glue of its own.
        ArtifactError: the file's detector answers otherwise than the one that was written; there is no file then.
        OutputError: the file cannot be written.
    """
    plan = variant.recipe_spec.plan
    if plan is None or any(plan.rule(stage).engine != "inductor" for stage in DENSE_STAGES):
        raise UnsupportedError(
            f"--format detq: recipe {variant.recipe} does not compile its stages; export one such as mixed_int8, or "
            "choose another --format"
        )
    predictor = build_predictor(variant, weights=weights, classes=classes, seed=seed, calibration=calibration, say=say)
    staged: Any = predictor.module
    sizes = tuple(image_sizes) or ((image.shape[0], image.shape[1]),)
    image = _resized(image, sizes[0])
    for height, width in sizes:
        staged.expect(height, width)
    predictor.proof = prove(
        staged,
        image,
        quantizes=variant.recipe_spec.quantizes,
        reference_weight_bytes=predictor.fp32_weight_bytes,
    )
    packages = list(_packages(staged))
    manifest = _describe(predictor, staged, sizes, packages, measured, programs=programs)
    expected = predictor.predict(image)
    with atomic_path(path) as temporary:
        _write(temporary, manifest, staged, packages)
        _check(temporary, path, image, expected)
    return Exported(
        path,
        path.stat().st_size,
        predictor.proof.share,
        len(predictor.proof.int8_modules),
        len(expected),
        _note(manifest),
    )


def _resized(image: Pixels, size: tuple[int, int]) -> Pixels:
    if image.shape[:2] == size:
        return image
    return np.array(Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BILINEAR))


def _packages(staged: StagedDetector) -> Iterator[tuple[str, int, Compiled]]:
    """Yield the stages that were compiled: name, number of the shape, package."""
    for stage, dense in staged.dense.items():
        if isinstance(dense, PerShape):
            for number, package in enumerate(dense.packages):
                yield stage, number, package


def _describe(
    predictor: Predictor,
    staged: StagedDetector,
    sizes: Sequence[tuple[int, int]],
    packages: Sequence[tuple[str, int, Compiled]],
    measured: Any,
    *,
    programs: bool,
) -> Manifest:
    graphs: FromWeights = staged.graphs
    source = predictor.weights
    proof = predictor.proof
    return Manifest(
        schema=SCHEMA,
        detq=detq.__version__,
        model=predictor.variant.model,
        recipe=predictor.variant.recipe,
        plan=staged.plan.to_json(),
        notes=staged.notes,
        classes=predictor.classes,
        meaningful=predictor.meaningful,
        has_masks=predictor.has_masks,
        weights=Weights(
            source.kind,
            source.describe(),
            source.hash_path(),
            source.seed,
            predictor.fp32_weight_bytes,
            sum(package.work.weight_bytes for _, number, package in packages if number == 0),
            source.planted,
        ),
        calibration=graphs.describe_calibration() if staged.plan.int8_stages else None,
        requires=here(),
        glue=describe_glue(graphs.detector),
        features=staged.names,
        pixels=staged.pixels,
        canvases=staged.canvases.known,
        image_sizes=tuple(sizes),
        packages=tuple(_record(*one) for one in packages),
        programs={stage: _program(staged, stage) for stage in staged.dense} if programs else {},
        proof=None if proof is None else proof.to_json(),
        measured=measured,
    )


def _record(stage: str, number: int, package: Compiled) -> Package:
    takes = package.takes
    dtypes = tuple(str(dtype).removeprefix("torch.") for dtype in takes.dtypes)
    return Package(stage, f"stages/{stage}-{number}.pt2", dtypes, takes.shapes, takes.rows, asdict(package.work))


def _program(staged: StagedDetector, stage: str) -> Program:
    rule, graphs = staged.plan.rule(stage), staged.graphs
    makes = graphs.makes(stage, rule)
    return Program(
        f"programs/{stage}.pt2",
        graphs.key(stage, rule),
        rule.precision == "int8",
        None if makes is None else str(makes).removeprefix("torch."),
    )


def _write(
    path: Path, manifest: Manifest, staged: StagedDetector, packages: Sequence[tuple[str, int, Compiled]]
) -> None:
    with zipfile.ZipFile(path, "w") as file, tempfile.TemporaryDirectory(prefix="detq-") as folder:
        file.writestr(MANIFEST, manifest.dumps())
        for record, (_, _, package) in zip(manifest.packages, packages, strict=True):
            _add(file, record.file, package.path)
        for stage, program in manifest.programs.items():
            made = Path(folder) / f"{stage}.pt2"
            staged.graphs.save_program(stage, staged.plan.rule(stage), _example(staged, stage), made)
            _add(file, program.file, made)


def _add(file: zipfile.ZipFile, name: str, source: Path) -> None:
    with source.open("rb") as stream, file.open(zipfile.ZipInfo(name), "w", force_zip64=True) as member:
        shutil.copyfileobj(stream, member, 1 << 20)


def _example(staged: StagedDetector, stage: str) -> tuple[torch.Tensor, ...]:
    """Return inputs such as the stage was compiled for."""
    dense: Any = staged.dense[stage]
    takes = dense.packages[0].takes
    return tuple(
        torch.zeros((2 * takes.rows, *shape[1:]) if takes.rows else shape, dtype=dtype)
        for shape, dtype in zip(takes.shapes, takes.dtypes, strict=True)
    )


def _check(temporary: Path, path: Path, image: Pixels, expected: Detections) -> None:
    found = open_predictor(temporary).predict(image)
    if found.boxes.shape != expected.boxes.shape or not all(
        np.allclose(getattr(found, name), getattr(expected, name), rtol=1e-4, atol=1e-3) for name in ("boxes", "scores")
    ):
        raise ArtifactError(
            f"--out {path}: read back, it finds other objects than before in the image that it was checked with; "
            "nothing was written"
        )


def _note(manifest: Manifest) -> str:
    own, fp32 = manifest.weights.bytes, manifest.weights.fp32_bytes
    sizes = ", ".join(f"{width}x{height}" for height, width in manifest.image_sizes)
    return (
        f"Weights {own / 1e6:.1f} MB, {own / fp32:.0%} of fp32's {fp32 / 1e6:.1f} MB; compiled for images of {sizes}"
        + ("; others are compiled when they come." if manifest.programs else " only.")
    )
