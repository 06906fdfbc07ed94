"""The folder of a training: what lies in it, whose it is, and whether this training may go on in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detq.errors import OutputError
from detq.files import read_json, write_json

__all__ = ["Folder"]

FORMAT = "detq-training/1"


@dataclass(frozen=True)
class Folder:
    """The files of a training below `path`."""

    path: Path

    @property
    def settings(self) -> Path:
        """What the training was asked for; its presence makes the folder a training's."""
        return self.path / "training.json"

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

    def check(self, *, resume: bool) -> None:
        """Refuse a folder that this training cannot use, before anything is loaded.

        Raises:
            OutputError: it is a file, holds other things, or holds a training and `resume` is not asked for.
        """
        path = self.path
        if path.exists() and not path.is_dir():
            raise OutputError(f"--out {path}: expected a folder, found a file; choose another --out")
        if self.settings.is_file():
            if not resume:
                raise OutputError(
                    f"--out {path}: holds another training; add --resume to go on with it, or choose another --out"
                )
        elif path.exists() and any(path.iterdir()):
            raise OutputError(
                f"--out {path}: expected a new or empty folder, or a training's; found other files; "
                "choose another --out"
            )

    def claim(self, settings: Mapping[str, Any]) -> None:
        """Make the folder this training's, or make sure that it is.

        Args:
            settings: all that the result depends on, as JSON's own types.

        Raises:
            OutputError: it belongs to a training with other settings; the message names them.
        """
        if not self.settings.is_file():
            write_json(self.settings, {"format": FORMAT, "settings": dict(settings)})
            return
        content = read_json(self.settings, OutputError, "the training's settings")
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise OutputError(
                f"{self.settings}: expected settings in format {FORMAT}, found another version's; choose another --out"
            )
        before = content["settings"]
        differences = [
            f"{name} was {_show(before.get(name))} and is now {_show(settings.get(name))}"
            for name in dict.fromkeys([*before, *settings])
            if before.get(name) != settings.get(name)
        ]
        if differences:
            raise OutputError(
                f"--out {self.path}: --resume needs the same training, but {'; '.join(differences)}; repeat the "
                "arguments of then, or choose another --out"
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder against a second training in it; the lock goes with the process, however that ends.

        Raises:
            OutputError: another process holds it.
        """
        try:
            import fcntl
        except ImportError:  # not on Windows, where two trainings in one folder stay the user's own affair
            yield
            return
        with self.settings.open("rb") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise OutputError(
                    f"--out {self.path}: another training is writing there; wait for it, or choose another --out"
                ) from None
            yield


def _show(value: Any) -> str:
    if value is None:
        return "not given"
    if isinstance(value, list):
        return ", ".join(map(_show, value))
    if isinstance(value, dict):
        return " ".join(map(_show, value.values()))
    return str(value)
