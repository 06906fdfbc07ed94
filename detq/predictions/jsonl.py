"""detq's own format: one JSON object a line for each image and variant."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from detq.errors import DataError
from detq.masks import Rle, RleMasks, as_rle
from detq.predictions.checks import check_detection, check_keys, check_mask, short
from detq.types import Detections

__all__ = ["Line", "iter_predictions", "write_prediction"]

_KEYS = ("image", "variant", "boxes", "scores", "labels")


@dataclass(frozen=True)
class Line:
    """One line of a predictions file: a variant's detections in one image, with class names instead of labels."""

    number: int
    image: str
    variant: str
    boxes: list[list[float]]
    scores: list[float]
    names: list[str]
    masks: list[Rle] | None = None

    def detections(self, classes: Mapping[str, int]) -> Detections:
        """Return those of `classes`, a label by name; the others are left out."""
        rows = [row for row, name in enumerate(self.names) if name in classes]
        found = Detections(
            np.asarray([self.boxes[row] for row in rows], np.float32),
            np.asarray([self.scores[row] for row in rows], np.float32),
            np.asarray([classes[self.names[row]] for row in rows], np.int64),
        )
        if not self.masks or not rows:
            return found
        height, width = self.masks[0]["size"]
        return replace(found, masks=RleMasks([self.masks[row] for row in rows], (height, width)))


def write_prediction(
    stream: IO[str], image_id: str, variant: str, detections: Detections, classes: Sequence[str]
) -> None:
    """Write one line.

    Args:
        stream: an open text file.
        image_id: the data set's name of the image.
        variant: the recipe's name.
        detections: what was found.
        classes: names that the labels are indices into.

    Raises:
        DataError: a box or score is not finite: JSON has no such number.
    """
    if not (np.isfinite(detections.boxes).all() and np.isfinite(detections.scores).all()):
        raise DataError(
            f"{variant} returned a box or score that is not finite for image {image_id}; check the model's weights"
        )
    line: dict[str, Any] = {
        "image": image_id,
        "variant": variant,
        # str gives the fewest digits that are this float32 and no other; float(...) alone would print seventeen.
        "boxes": [[float(str(value)) for value in box] for box in detections.boxes],
        "scores": [float(str(score)) for score in detections.scores],
        "labels": [classes[label] for label in detections.labels],
    }
    if detections.masks is not None:
        line["masks"] = as_rle(detections.masks)
    stream.write(json.dumps(line, allow_nan=False) + "\n")


def iter_predictions(path: Path, *, allow_partial_tail: bool = False) -> Iterator[Line]:
    """Yield the lines of detq's own format, each checked; nothing is kept in memory.

    Raises:
        DataError: the file cannot be read or a line is malformed.
    """
    try:
        with path.open("rb") as stream:
            for number, raw in enumerate(stream, start=1):
                if allow_partial_tail and not raw.endswith(b"\n"):
                    return
                if raw.strip():
                    yield _parse(raw, number, f"{path}, line {number}")
    except OSError as error:
        raise DataError(f"predictions {path} cannot be read: {error.strerror or error}; check --predictions") from None


def _parse(raw: bytes, number: int, where: str) -> Line:
    try:
        content = json.loads(raw)
    except ValueError as error:
        cut = "; the line has no end, so its run was probably killed: go on with it, or remove the line"
        raise DataError(
            f"{where}: expected a JSON object, found {short(raw.decode('utf-8', 'replace').strip())} ({error})"
            + ("; remove or mend the line" if raw.endswith(b"\n") else cut)
        ) from None
    check_keys(content, _KEYS, where)
    for key in ("image", "variant"):
        if not isinstance(content[key], str) or not content[key]:
            raise DataError(f"{where}: {key} must be a name, found {short(content[key])}; write it as a string")
    boxes, scores, names = (content[key] for key in ("boxes", "scores", "labels"))
    for key in ("boxes", "scores", "labels"):
        if not isinstance(content[key], list):
            raise DataError(f"{where}: {key} must be a list, found {short(content[key])}; write [] for none")
    if not len(boxes) == len(scores) == len(names):
        raise DataError(
            f"{where}: boxes, scores and labels must be of one length, found {len(boxes)}, {len(scores)} and "
            f"{len(names)}; write one of each for each detection"
        )
    for row, (box, score, name) in enumerate(zip(boxes, scores, names, strict=True)):
        check_detection(box, score, f"{where}, detection {row}")
        if not isinstance(name, str):
            raise DataError(
                f"{where}, detection {row}: label must be a class name, found {short(name)}; write a string"
            )
    masks = _masks(content.get("masks"), len(boxes), where)
    return Line(number, content["image"], content["variant"], boxes, scores, names, masks)


def _masks(found: Any, count: int, where: str) -> list[Rle] | None:
    if found is None:
        return None
    if not isinstance(found, list) or len(found) != count:
        raise DataError(
            f"{where}: masks must be a list of {count}, one for each detection, found {short(found)}; leave it out, or "
            "write one of each"
        )
    masks = [check_mask(mask, f"{where}, detection {row}") for row, mask in enumerate(found)]
    if any(mask["size"] != masks[0]["size"] for mask in masks):
        raise DataError(f"{where}: masks must be of one size, the image's, found several; mend them")
    return masks
