"""Reading predictions of either format, aligned with a data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from detq.datasets.base import Dataset
from detq.errors import DataError
from detq.predictions.aligned import Predictions
from detq.predictions.checks import check_classes, check_size, unknown_image
from detq.predictions.coco_results import read_coco_results
from detq.predictions.jsonl import iter_predictions
from detq.types import Detections

__all__ = ["read_predictions"]


def read_predictions(
    path: str | Path, dataset: Dataset, *, allow_partial_tail: bool = False, allow_missing: bool = False
) -> Predictions:
    """Read either format, aligned with a data set.

    Args:
        path: the file; its first character tells the format.
        dataset: its images and classes are those of the result.
        allow_partial_tail: leave out a last line without a line end, as a killed run leaves it.
        allow_missing: an image without a line has no detections; otherwise that is a mistake. In COCO results an
            image without detections has no entry, so there it never is.

    Raises:
        DataError: the file cannot be read, is malformed, or does not go with the data set.
    """
    path = Path(path)
    if _is_coco(path):
        return read_coco_results(path, dataset)
    found, dropped = _read_lines(path, dataset, allow_partial_tail=allow_partial_tail)
    check_classes(path, any(len(item) for images in found.values() for item in images.values()), dropped, dataset)
    if not allow_missing:
        _check_missing(path, found, dataset)
    empty = Detections.empty()
    aligned = {
        variant: [images.get(number, empty) for number in range(len(dataset))] for variant, images in found.items()
    }
    return Predictions(aligned, dropped)


def _read_lines(
    path: Path, dataset: Dataset, *, allow_partial_tail: bool
) -> tuple[dict[str, dict[int, Detections]], Counter[str]]:
    """Return variant -> image's index -> detections, and how many detections have a class that the set lacks."""
    index = {dataset.image_id(number): number for number in range(len(dataset))}
    classes = {name: label for label, name in enumerate(dataset.classes)}
    found: dict[str, dict[int, Detections]] = {}
    lines: dict[tuple[str, int], int] = {}
    dropped: Counter[str] = Counter()
    for line in iter_predictions(path, allow_partial_tail=allow_partial_tail):
        image = index.get(line.image)
        if image is None:
            raise unknown_image(f"{path}, line {line.number}", line.image, dataset.image_id(0), dataset)
        if (line.variant, image) in lines:
            raise DataError(
                f"{path}, line {line.number}: expected one line for image {line.image!r} and variant {line.variant!r}, "
                f"found a second one after line {lines[line.variant, image]}; remove one of them"
            )
        lines[line.variant, image] = line.number
        if line.masks:
            check_size(line.masks, dataset.size(image), f"{path}, line {line.number}")
        found.setdefault(line.variant, {})[image] = line.detections(classes)
        dropped.update(name for name in line.names if name not in classes)
    return found, dropped


def _check_missing(path: Path, found: Mapping[str, Mapping[int, Detections]], dataset: Dataset) -> None:
    for variant, images in found.items():
        missing = [number for number in range(len(dataset)) if number not in images]
        if missing:
            raise DataError(
                f"{path}: expected a line for each of the {len(dataset)} images of {dataset.name}, but variant "
                f"{variant!r} has none for {len(missing)} of them, the first {dataset.image_id(missing[0])!r}; finish "
                'the run with --resume, or write a line with "boxes": [] for an image without detections'
            )


def _is_coco(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            start = stream.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n")
    except FileNotFoundError:
        raise DataError(f"predictions {path} do not exist; check --predictions") from None
    except OSError as error:
        raise DataError(f"predictions {path} cannot be read: {error.strerror or error}; check --predictions") from None
    if not start:
        raise DataError(
            f"predictions {path} are empty; expected JSON lines as `detq run` writes them, or a list of COCO results"
        )
    return start.startswith(b"[")
