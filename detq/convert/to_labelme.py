"""Writing labelme: a JSON beside each image."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from detq.convert.collection import ImageRecord
from detq.convert.stems import no_shared_stems
from detq.convert.targets import Job
from detq.convert.to_coco import as_json, short
from detq.datasets.annotations import Annotation, Points
from detq.datasets.outlines import decode_outline

__all__ = ["write"]

# The version of labelme whose files these are: it refuses none, and says so when it opens one of another.
VERSION = "5.5.0"


def write(job: Job) -> None:
    """Write a data set as labelme files, in a folder a part.

    Polygons stay polygons, those of one object with one `group_id`; a box alone becomes a rectangle, run lengths become
    a mask.
    """
    no_shared_stems(job.collection.images, ".json")
    job.ledger.lose_all(job.collection.extra, "")
    for category in job.collection.categories:
        job.ledger.lose_all(category.extra, "categories.")
    for part, images in job.parts.items():
        for image in images:
            _write(job, image, part)
            job.step()


def _write(job: Job, image: ImageRecord, part: str) -> None:
    placed = job.placement.place(image, part)
    file = PurePosixPath(part, image.name).with_suffix(".json")
    # imagePath starts from the JSON, which lies as deep as the image's name says.
    name = PurePosixPath(placed).name if placed == image.name else "../" * image.name.count("/") + placed
    width, height = image.size
    shapes = [shape for annotation in image.annotations for shape in _shapes(job, annotation, image)]
    content = {"flags": {}, **image.extra, "version": VERSION, "shapes": shapes, "imagePath": name, "imageData": None}
    job.placement.write(str(file), as_json(content | {"imageHeight": height, "imageWidth": width}) + "\n")


def _shapes(job: Job, annotation: Annotation, image: ImageRecord) -> Iterator[dict[str, Any]]:
    flags = dict(annotation.extra.get("flags") or {}) | ({"iscrowd": True} if annotation.crowd else {})
    base = {
        "group_id": None,
        "description": "",
        **annotation.extra,
        "label": job.collection.categories[annotation.label].name,
        "flags": flags,
        "mask": None,
    }
    if annotation.runs is not None:
        yield base | _mask(annotation, image)
    elif annotation.polygons:
        group = {"group_id": annotation.number} if len(annotation.polygons) > 1 else {}
        yield from (base | group | {"shape_type": "polygon", "points": _points(ring)} for ring in annotation.polygons)
    elif annotation.box is not None:
        corners = np.asarray(annotation.box, np.float64).reshape(2, 2)
        yield base | {"shape_type": "rectangle", "points": _points(corners)}


def _points(points: Points) -> list[list[float]]:
    return [[short(float(x)), short(float(y))] for x, y in points]


def _mask(annotation: Annotation, image: ImageRecord) -> dict[str, Any]:
    left, top, right, bottom = (int(side) for side in annotation.box or (0, 0, 0, 0))
    pixels = decode_outline(annotation, image.size)[top:bottom, left:right]
    stream = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8) * 255).save(stream, format="PNG")
    points = [[left, top], [right - 1, bottom - 1]]
    return {"shape_type": "mask", "points": points, "mask": base64.b64encode(stream.getvalue()).decode()}
