"""Writing YOLO: `images/`, `labels/` and `data.yaml`; a polygon a line where there are polygons, else a box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import yaml

from detq.convert.collection import ImageRecord
from detq.convert.split import TRAIN, VALID
from detq.convert.stems import no_shared_stems
from detq.convert.targets import Job
from detq.convert.tracing import join_rings, trace_mask
from detq.datasets.annotations import Annotation, Points
from detq.datasets.outlines import decode_outline

__all__ = ["write"]

_DECIMALS = 8
_KEYS = {TRAIN: "train", VALID: "val"}


def write(job: Job) -> None:
    """Write a data set for YOLO, each part in a folder of its own below `images` and `labels`.

    Numbers are shares of the image's sides with eight decimals. An object of several polygons becomes one, joined by
    edges that enclose nothing.
    """
    no_shared_stems(job.collection.images, ".txt")
    _account(job)
    for part, images in job.parts.items():
        for image in images:
            job.placement.place(image, f"images/{part}".rstrip("/"))
            lines = [_line(job, annotation, image) for annotation in image.annotations]
            file = PurePosixPath("labels", part, image.name).with_suffix(".txt")
            job.placement.write(str(file), "".join(f"{line}\n" for line in lines))
            job.step()
    job.placement.write("data.yaml", _yaml(job))


def _account(job: Job) -> None:
    """Enter all that the lines have no place for."""
    ledger = job.ledger
    ledger.lose_all(job.collection.extra, "")
    for category in job.collection.categories:
        ledger.lose_all(category.extra, "categories.")
    boxes = 0
    for image in job.collection.images:
        ledger.lose_all(image.extra, "images.")
        for annotation in image.annotations:
            ledger.lose_all(annotation.extra, "annotations.")
            boxes += annotation.runs is None and not annotation.polygons
    drawn = sum(len(image.annotations) for image in job.collection.images) - boxes
    if boxes and drawn:
        ledger.notes.append(
            f"labels hold {drawn} polygons and {boxes} boxes; YOLO trains segmentation on polygons alone"
        )
    if job.placement.mode == "none":
        ledger.notes.append("YOLO looks for images in images/: put them there, under the names that labels/ has")


def _line(job: Job, annotation: Annotation, image: ImageRecord) -> str:
    sides = np.asarray(image.size, np.float64)
    rings: Sequence[Points] = annotation.polygons
    if annotation.runs is not None:
        job.ledger.change("run lengths traced to polygons of the same pixels", annotation.where)
        rings = trace_mask(decode_outline(annotation, image.size))
    if len(rings) > 1:
        return _numbers(annotation.label, _one_polygon(job, annotation, rings, image.size) / sides)
    if rings:
        return _numbers(annotation.label, rings[0] / sides)
    corners = np.asarray(annotation.box, np.float64).reshape(2, 2) / sides
    return _numbers(annotation.label, np.stack([corners.mean(axis=0), corners[1] - corners[0]]))


def _one_polygon(job: Job, annotation: Annotation, rings: Sequence[Points], size: tuple[int, int]) -> Points:
    """Return polygons as one that fills to the same pixels."""
    job.ledger.change("several polygons joined to one by edges that enclose nothing", annotation.where)
    joined = join_rings(rings)
    mask = decode_outline(annotation, size)
    if np.array_equal(decode_outline(replace(annotation, polygons=(joined,), runs=None), size), mask):
        return joined
    # Where polygons overlap, one polygon of both would be outside.
    job.ledger.change("polygons that overlap traced along their pixels, to be joined to one", annotation.where)
    return join_rings(trace_mask(mask))


def _numbers(label: int, shares: Points) -> str:
    return " ".join([str(label), *(np.format_float_positional(v, _DECIMALS, trim="-") for v in shares.ravel())])


def _yaml(job: Job) -> str:
    folders = {_KEYS.get(part, TRAIN): str(PurePosixPath("images", part)) for part in job.parts}
    names = {number: category.name for number, category in enumerate(job.collection.categories)}
    content: dict[str, Any] = {"path": ".", **folders, "names": names}
    return yaml.safe_dump(content, allow_unicode=True, sort_keys=False)
