"""What happens to the images: copied into the result, linked from it, or left where they are."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from detq.convert.collection import ImageRecord
from detq.errors import DataError

__all__ = ["MODES", "Placement"]

MODES = {
    "copy": "copied",
    "link": "linked",
    "none": "left where they are; the annotations name them by their path from the result's folder",
}
"""What `--images` may say, and what it means."""


@dataclass(frozen=True)
class Placement:
    """Puts images into a folder that is being made.

    Attributes:
        folder: the folder that is being made.
        final: where it will lie.
        mode: one of `MODES`.
    """

    folder: Path
    final: Path
    mode: str

    def write(self, name: str, text: str) -> None:
        """Write a text file of this name in the folder; whole is what the folder is made to be, at its end."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.write_text(text, encoding="utf-8")
        except UnicodeEncodeError as error:
            raise _unwritable(error) from None

    @contextmanager
    def stream(self, name: str) -> Iterator[IO[str]]:
        """Open a text file of this name in the folder for writing."""
        try:
            with (self.folder / name).open("w", encoding="utf-8") as stream:
                yield stream
        except UnicodeEncodeError as error:
            raise _unwritable(error) from None

    def place(self, image: ImageRecord, base: str) -> str:
        """Put an image at `base`/its name, and return its path from `base`: its name, or the way back to the source."""
        if self.mode == "none":
            # Without links on the way, for from where a link leads ".." is another folder.
            return Path(os.path.relpath(image.path.resolve(), self.final.resolve() / base)).as_posix()
        target = self.folder / base / image.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if self.mode == "link":
            target.symlink_to(image.path.resolve())
        else:
            shutil.copyfile(image.path, target)
        return image.name


def _unwritable(error: UnicodeEncodeError) -> DataError:
    found = error.object[max(error.start - 20, 0) : error.end + 20]
    return DataError(f"expected names that UTF-8 can write, found {found!r}; rename the image or the class")
