"""Converting data sets: any that detq opens to COCO, VIA, labelme or YOLO, with an account of what became of it.

The way of an annotation: `Dataset.annotations` reads it, `fit` makes it fit its image, `collect` numbers it, `suit`
leaves out what the target knows no word for, `split` says which part it goes to, and a target of `TARGETS` writes it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from detq.convert.collect import collect
from detq.convert.ledger import Ledger
from detq.convert.placement import MODES, Placement
from detq.convert.split import split_images
from detq.convert.suit import suit
from detq.convert.summary import Summary, summarize
from detq.convert.targets import TARGETS, Job, TargetSpec, find_target
from detq.datasets.base import Dataset
from detq.errors import DataError, unknown_name
from detq.files import atomic_folder

__all__ = ["MODES", "TARGETS", "Summary", "TargetSpec", "convert", "find_target"]

Progress = Callable[[str, int, int], None]


def convert(
    data: Dataset,
    to: str,
    out: Path,
    *,
    split: float | None = None,
    seed: int = 0,
    images: str = "copy",
    skip_invalid: bool = False,
    allow_unlabelled: bool = False,
    progress: Progress = lambda _stage, _done, _total: None,
) -> Summary:
    """Write a data set in another format, whole or not at all.

    Args:
        data: from `detq.datasets.open_dataset`.
        to: a name in `TARGETS`.
        out: a new or empty folder.
        split: the share of the images for a part to train on; the others are for validation. None divides nothing.
        seed: decides which images.
        images: one of `MODES`.
        skip_invalid: leave out, and name in the summary, what would be a mistake.
        allow_unlabelled: a set without a single annotation is no mistake.
        progress: called as `progress(stage, done, total)`.

    Returns:
        How much went in and came out, and what was left out, changed or not carried.

    Raises:
        DataError: the data set has mistakes; nothing was written.
        OutputError: `out` holds something or cannot be written.
        UnknownNameError: an unknown `to` or `images`.
    """
    target = find_target(to)
    if images not in MODES:
        raise unknown_name("--images", images, MODES)
    if type(data).annotations is Dataset.annotations:
        raise DataError(f"{data.name}: expected annotation files to convert, found images without; name a labelled set")
    ledger = Ledger()
    with atomic_folder(out) as folder:
        collection, counts = collect(
            data, ledger, skip_invalid=skip_invalid, allow_unlabelled=allow_unlabelled, progress=progress
        )
        collection = suit(collection, target, ledger)
        parts = split_images(collection.images, split, seed)
        done = 0

        def step() -> None:
            nonlocal done
            done += 1
            progress("images", done, len(collection.images))

        job = Job(collection, parts, Placement(folder, out, images), ledger, step)
        target.write(job)
    return summarize(target, out, job, counts)
