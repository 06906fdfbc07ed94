"""Writing VIA JSON, `via_region_data.json` among its images, as VIA 2.x exports it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from detq.convert.collection import ImageRecord
from detq.convert.targets import Job
from detq.convert.to_coco import as_json, short
from detq.convert.tracing import trace_mask
from detq.datasets.annotations import Annotation, Points
from detq.datasets.outlines import decode_outline
from detq.datasets.via import CATEGORY, CROWD, PART

__all__ = ["write"]

FILE = "via_region_data.json"


def write(job: Job) -> None:
    """Write a data set as one VIA file a part, in the folder of the part's images.

    Polygons stay polygons, a box alone becomes a rect, run lengths become polygons that fill to the same pixels. The
    class is `region_attributes.category`; the parts of one object share `region_attributes.part_of`.
    """
    job.ledger.lose_all(job.collection.extra, "")
    for category in job.collection.categories:
        job.ledger.lose_all(category.extra, "categories.")
    for part, images in job.parts.items():
        found = {}
        for image in images:
            name = job.placement.place(image, part)
            key, content = _image(job, image, name)
            found[key] = content
            job.step()
        job.placement.write(f"{part}/{FILE}".lstrip("/"), as_json(found))


def _image(job: Job, image: ImageRecord, name: str) -> tuple[str, dict[str, Any]]:
    size = os.path.getsize(image.path)  # noqa: PTH202  # VIA's key for an image is its name with its file's size
    regions = [region for annotation in image.annotations for region in _regions(job, annotation, image)]
    attributes = _attributes(job, image.extra, "images.")
    return f"{name}{size}", {"filename": name, "size": size, "regions": regions, "file_attributes": attributes}


def _regions(job: Job, annotation: Annotation, image: ImageRecord) -> Iterator[dict[str, Any]]:
    shapes = list(_shapes(job, annotation, image))
    attributes: dict[str, Any] = _attributes(job, annotation.extra, "annotations.")
    attributes[CATEGORY] = job.collection.categories[annotation.label].name
    if annotation.crowd:
        attributes[CROWD] = "1"
    if len(shapes) > 1:
        attributes[PART] = str(annotation.number)
    yield from ({"shape_attributes": shape, "region_attributes": dict(attributes)} for shape in shapes)


def _shapes(job: Job, annotation: Annotation, image: ImageRecord) -> Iterator[dict[str, Any]]:
    if annotation.runs is not None:
        job.ledger.change("run lengths traced to polygons of the same pixels", annotation.where)
        yield from map(_polygon, trace_mask(decode_outline(annotation, image.size)))
    elif annotation.polygons:
        yield from map(_polygon, annotation.polygons)
    elif annotation.box is not None:
        left, top, right, bottom = annotation.box
        sides = {"x": left, "y": top, "width": right - left, "height": bottom - top}
        yield {"name": "rect", **{key: short(value) for key, value in sides.items()}}


def _polygon(points: Points) -> dict[str, Any]:
    xs, ys = ([short(float(value)) for value in column] for column in points.T)
    return {"name": "polygon", "all_points_x": xs, "all_points_y": ys}


def _attributes(job: Job, extra: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return what VIA can show as attributes, one value each; the rest is lost and accounted for."""
    free = extra.get("attributes")
    fields = {**extra, **free} if isinstance(free, Mapping) else dict(extra)
    kept = {}
    for key, value in fields.items():
        own = prefix == "annotations." and key in (CATEGORY, CROWD, PART)
        if isinstance(value, str | int | float) and not own:
            kept[key] = value
        elif not (key == "attributes" and isinstance(value, Mapping)):
            job.ledger.lose(f"{prefix}{key}")
    return kept
