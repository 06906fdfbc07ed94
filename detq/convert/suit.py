"""Leaving out of a collection what its target knows no word for."""

from __future__ import annotations

from dataclasses import replace

from detq.convert.collect import RENUMBERED
from detq.convert.collection import Collection
from detq.convert.fit import MEASURED_CHANGES
from detq.convert.ledger import Dropped, Ledger
from detq.convert.targets import TargetSpec

__all__ = ["suit"]


def suit(collection: Collection, target: TargetSpec, ledger: Ledger) -> Collection:
    """Return the part of a collection that `target` can say, the rest entered in the ledger."""
    if not target.measures:
        ledger.forget_changes(MEASURED_CHANGES)
        ledger.notes = [note for note in ledger.notes if note != RENUMBERED]
    if not target.crowds:
        collection = _without_crowds(collection, target.name, ledger)
    return collection if target.lists else _without_unused(collection, target.name, ledger)


def _without_crowds(collection: Collection, target: str, ledger: Ledger) -> Collection:
    """Leave crowds out: the format would make objects of them."""
    crowds = [a for image in collection.images for a in image.annotations if a.crowd]
    ledger.dropped += [Dropped("annotation", a.where, f"crowd: {target} has no word for it") for a in crowds]
    images = [replace(image, annotations=[a for a in image.annotations if not a.crowd]) for image in collection.images]
    return replace(collection, images=images)


def _without_unused(collection: Collection, target: str, ledger: Ledger) -> Collection:
    """Leave out categories that no annotation has: the format names classes in annotations alone."""
    used = sorted({a.label for image in collection.images for a in image.annotations})
    for label, category in enumerate(collection.categories):
        if label not in used:
            ledger.dropped.append(Dropped("category", category.name, f"no annotation has it, and {target} has no list"))
    labels = {label: number for number, label in enumerate(used)}
    images = [
        replace(image, annotations=[replace(a, label=labels[a.label]) for a in image.annotations])
        for image in collection.images
    ]
    return replace(collection, images=images, categories=[collection.categories[label] for label in used])
