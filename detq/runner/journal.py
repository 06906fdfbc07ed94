"""What a run writes as it goes, image by image, so that it loses at most one image when it is killed.

`predictions.jsonl` and `timings.csv` are appended to and flushed after each image. A kill can leave a half-written
line, or an image in one file and not in the other: `Journal` cuts both back to the last image that is whole in both.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detq.errors import OutputError
from detq.measure.split import PARTS, Split
from detq.predictions import write_prediction
from detq.types import Detections

__all__ = ["PREDICTIONS", "TIMINGS", "Journal", "Row", "read_splits", "read_timings"]

PREDICTIONS = "predictions.jsonl"
TIMINGS = "timings.csv"
HEADER = f"image,variant,order,elapsed_ms,{','.join(PARTS)}\n"

Key = tuple[str, str]


@dataclass(frozen=True)
class Row:
    """One variant on one image.

    Attributes:
        image_id: the image.
        variant: the recipe's name.
        order: 0 for the variant that came first on this image.
        elapsed_ms: how long it took.
        detections: what it found.
        split: the parts of the time, or None where they are not known.
    """

    image_id: str
    variant: str
    order: int
    elapsed_ms: float
    detections: Detections
    split: Split | None = None


class Journal:
    """Appends images to the two files of a folder.

    Args:
        folder: where they are, or will be.
        keys: the (image id, variant) of every row in the order in which they are written; the same for every session.
        rows_an_image: how many of them belong to one image.
    """

    def __init__(self, folder: Path, keys: Callable[[], Iterator[Key]], rows_an_image: int) -> None:
        self._predictions_path = folder / PREDICTIONS
        self._timings_path = folder / TIMINGS
        self._rows_an_image = rows_an_image
        self.done = self._recover(keys)

    def _recover(self, keys: Callable[[], Iterator[Key]]) -> int:
        """Cut both files back to the images that are whole in both, and return how many those are."""
        with _explained(self._predictions_path):
            predictions = _whole_images(self._predictions_path, keys(), self._rows_an_image, _prediction_key, 0)
        with _explained(self._timings_path):
            timings = _whole_images(self._timings_path, keys(), self._rows_an_image, _timing_key, len(HEADER))
            done = min(len(predictions), len(timings)) - 1
            _cut(self._predictions_path, predictions[done])
            _cut(self._timings_path, timings[done])
            if not self._timings_path.stat().st_size:
                self._timings_path.write_text(HEADER, encoding="utf-8", newline="")
        return done

    @contextmanager
    def appending(self, classes: Sequence[str]) -> Iterator[Callable[[Sequence[Row]], None]]:
        """Yield a function that appends one image's rows to both files.

        Args:
            classes: names that the detections' labels are indices into.

        Raises:
            OutputError: a file cannot be written.
        """
        with ExitStack() as files:
            streams = []
            for path in (self._predictions_path, self._timings_path):
                with _explained(path):
                    # Unbuffered: nothing is left to write, and to fail once more, when a stream is closed.
                    streams.append(files.enter_context(path.open("ab", buffering=0)))
            yield lambda rows: _append(streams[0], streams[1], rows, classes)


def _append(predictions: FileIO, timings: FileIO, rows: Sequence[Row], classes: Sequence[str]) -> None:
    # Built in memory first, so that nothing but a kill between two calls can leave half an image behind.
    text, table = io.StringIO(), io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    for row in rows:
        write_prediction(text, row.image_id, row.variant, row.detections, classes)
        parts = [""] * len(PARTS) if row.split is None else [f"{part:.4f}" for part in row.split.to_row()]
        writer.writerow((row.image_id, row.variant, row.order, f"{row.elapsed_ms:.4f}", *parts))
    for stream, lines in ((predictions, text), (timings, table)):
        left = memoryview(lines.getvalue().encode())
        with _explained(Path(str(stream.name))):
            while left:  # an unbuffered write may take a part
                left = left[stream.write(left) :]


def _whole_images(
    path: Path, keys: Iterator[Key], rows_an_image: int, key_of: Callable[[str], Key | None], start: int
) -> list[int]:
    """Return where in the file each whole image ends, beginning with where the first one starts."""
    ends = [0]
    if not path.exists():
        return ends
    with path.open("rb") as stream:
        if start and stream.read(start) != HEADER.encode():
            return ends
        ends = [start]
        position = start
        for number, (line, key) in enumerate(zip(stream, keys, strict=False), start=1):
            position += len(line)
            if not line.endswith(b"\n") or key_of(line.decode("utf-8", "replace")) != key:
                break
            if number % rows_an_image == 0:
                ends.append(position)
    return ends


def _prediction_key(line: str) -> Key | None:
    try:
        content = json.loads(line)
        return str(content["image"]), str(content["variant"])
    except (json.JSONDecodeError, KeyError, TypeError):
        return None


def _timing_key(line: str) -> Key | None:
    try:
        image, variant, _, elapsed, *parts = next(csv.reader([line]))
        if len(parts) != len(PARTS):
            return None
        return (image, variant) if math.isfinite(float(elapsed)) else None
    except (ValueError, StopIteration, csv.Error):
        return None


def _cut(path: Path, size: int) -> None:
    with path.open("ab") as stream:
        stream.truncate(size)


def read_timings(path: Path, variants: Sequence[str]) -> Mapping[str, NDArray[np.float64]]:
    """Return the milliseconds of each variant, float64 `(images,)`, in the file's order of images."""
    times: dict[str, list[float]] = {variant: [] for variant in variants}
    with path.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            times[row["variant"]].append(float(row["elapsed_ms"]))
    return {variant: np.asarray(values, np.float64) for variant, values in times.items()}


def read_splits(path: Path, variants: Sequence[str]) -> Mapping[str, NDArray[np.float64]]:
    """Return the milliseconds of `PARTS` of each variant that has them on every image, float64 `(images, 3)`."""
    parts: dict[str, list[list[str]]] = {variant: [] for variant in variants}
    with path.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            parts[row["variant"]].append([row[name] for name in PARTS])
    known = {variant: rows for variant, rows in parts.items() if rows and all(map(all, rows))}
    return {variant: np.asarray(rows, np.float64) for variant, rows in known.items()}


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}; free some space and go on with --resume"
        ) from error
