"""The account of a conversion: how much went in and came out, and what became of the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from detq.convert.collect import Counts
from detq.convert.collection import ImageRecord
from detq.convert.ledger import Dropped
from detq.convert.targets import Job, TargetSpec

__all__ = ["InOut", "Part", "Summary", "summarize"]


@dataclass(frozen=True)
class InOut:
    """A number before and after."""

    read: int
    written: int


@dataclass(frozen=True)
class Part:
    """A part of the result.

    Attributes:
        name: "train", "valid", or "" for the only one.
        images: how many.
        annotations: how many.
        opens: what `open_dataset` takes.
    """

    name: str
    images: int
    annotations: int
    opens: str


@dataclass(frozen=True)
class Summary:
    """What a conversion did.

    Attributes:
        format: the target's name.
        out: the result's folder.
        images, annotations, categories: before and after.
        by_category: annotations by class, before (as the source calls it) and after.
        shapes: how many annotations have polygons, run lengths, or a box alone.
        parts: of the result.
        dropped: what was left out, and why.
        changed: what happened to annotations that were kept -> where each stands.
        not_carried: fields that the target has no place for -> how often they were there.
        notes: other things to know.
    """

    format: str
    out: str
    images: InOut
    annotations: InOut
    categories: InOut
    by_category: Mapping[str, InOut]
    shapes: Mapping[str, int]
    parts: Sequence[Part]
    dropped: Sequence[Dropped]
    changed: Mapping[str, Sequence[str]]
    not_carried: Mapping[str, int]
    notes: Sequence[str]


def summarize(target: TargetSpec, out: Path, job: Job, counts: Counts) -> Summary:
    """Return the account of what was written."""
    collection, ledger = job.collection, job.ledger
    kept = [annotation for image in collection.images for annotation in image.annotations]
    written = Counter(collection.categories[annotation.label].name for annotation in kept)
    kinds = Counter("run lengths" if a.runs is not None else "polygons" if a.polygons else "boxes alone" for a in kept)
    names = dict.fromkeys([*counts.used, *(category.name for category in collection.categories)])
    return Summary(
        format=target.name,
        out=str(out),
        images=InOut(counts.images, len(collection.images)),
        annotations=InOut(counts.annotations, len(kept)),
        categories=InOut(counts.categories, len(collection.categories)),
        by_category={name: InOut(counts.used[name], written[name]) for name in names},
        shapes=dict(kinds),
        parts=[_part(target, out, name, images) for name, images in job.parts.items()],
        dropped=list(ledger.dropped),
        changed=dict(ledger.changed),
        not_carried=dict(ledger.not_carried),
        notes=list(ledger.notes),
    )


def _part(target: TargetSpec, out: Path, name: str, images: Sequence[ImageRecord]) -> Part:
    opens = str(out) if not name else f"{out}{target.opens.format(part=name)}"
    return Part(name, len(images), sum(len(image.annotations) for image in images), opens)
