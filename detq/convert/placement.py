"""What happens to the images: copied into the result, linked from it, or left where they are."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from detq.convert.collection import ImageRecord

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
        path.write_text(text, encoding="utf-8")

    def place(self, image: ImageRecord, base: str) -> str:
        """Put an image at `base`/its name, and return its path from `base`: its name, or the way back to the source."""
        if self.mode == "none":
            return Path(os.path.relpath(image.path.absolute(), self.final.absolute() / base)).as_posix()
        target = self.folder / base / image.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if self.mode == "link":
            target.symlink_to(image.path.resolve())
        else:
            shutil.copyfile(image.path, target)
        return image.name
