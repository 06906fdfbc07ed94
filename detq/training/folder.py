"""The folder of a training: what lies in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from detq.out_folder import OutFolder

__all__ = ["Folder"]


@dataclass(frozen=True)
class Folder:
    """The files of a training below `path`."""

    path: Path

    @property
    def out(self) -> OutFolder:
        """Whose the folder is."""
        return OutFolder(self.path, "training", self.path / "training.json", "detq-training/1")

    @property
    def checkpoint(self) -> Path:
        """From where to go on."""
        return self.path / "checkpoint.pth"

    @property
    def losses(self) -> Path:
        """The losses of each step."""
        return self.path / "losses.csv"

    @property
    def weights(self) -> Path:
        """The result."""
        return self.path / "model.safetensors"

    @property
    def card(self) -> Path:
        """The model card of the result."""
        return self.path / "model.json"
