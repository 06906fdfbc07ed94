"""The formats in which a whole variant can be written to a file and run from it, as one list; it imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from detq.errors import ModelFileError, unknown_name
from detq.targets import resolve

if TYPE_CHECKING:
    from detq.predictor import Predictor

__all__ = ["MODEL_FORMATS", "Exported", "ModelFormat", "find_model_format", "format_of", "load"]


@dataclass(frozen=True)
class Exported:
    """What an export wrote, after it was read back and compared.

    Attributes:
        path: the file.
        size_bytes: of it.
        int8_share: share of the multiply-accumulates in int8 on the image that it was checked with, in [0, 1].
        int8_layers: how many layers are int8.
        compared: how many detections of that image were the same as before.
        note: one more sentence for the user, or "".
    """

    path: Path
    size_bytes: int
    int8_share: float
    int8_layers: int
    compared: int
    note: str = ""


@dataclass(frozen=True)
class ModelFormat:
    """One format.

    Attributes:
        name: what `--format` takes.
        suffixes: of its files; the first is the usual one.
        writer: dotted target of `export(variant, path, *, weights, classes, seed, image) -> Exported`.
        reader: dotted target of `open_predictor(path, *, classes, say) -> Predictor`.
        summary: one line for the user.
        options: keywords that its writer takes beside those.
    """

    name: str
    suffixes: tuple[str, ...]
    writer: str
    reader: str
    summary: str
    options: tuple[str, ...] = ()

    def resolve_writer(self) -> Callable[..., Exported]:
        """Import and return what writes it."""
        return cast("Callable[..., Exported]", resolve(self.writer))

    def resolve_reader(self) -> Callable[..., Any]:
        """Import and return what reads it."""
        return cast("Callable[..., Any]", resolve(self.reader))


MODEL_FORMATS: Sequence[ModelFormat] = (
    ModelFormat(
        "torchscript",
        (".ts", ".torchscript"),
        writer="detq.torchscript.export:export_variant",
        reader="detq.torchscript.artifact:open_predictor",
        summary="torch.jit.script of the whole detector, any image size",
    ),
    ModelFormat(
        "detq",
        (".detq",),
        writer="detq.artifact.save:export_variant",
        reader="detq.artifact.load:open_predictor",
        summary="compiled stages for a CPU like this one, which start without compiling",
        options=("calibration", "image_sizes", "measured", "programs", "say"),
    ),
)


def find_model_format(name: str) -> ModelFormat:
    """Return the format called `name`.

    Raises:
        UnknownNameError: no such format.
    """
    for one in MODEL_FORMATS:
        if one.name == name:
            return one
    raise unknown_name("format", name, (one.name for one in MODEL_FORMATS))


def format_of(path: Path) -> ModelFormat:
    """Return the format that a file's suffix names.

    Raises:
        ModelFileError: no format has that suffix.
    """
    for one in MODEL_FORMATS:
        if path.suffix.lower() in one.suffixes:
            return one
    known = ", ".join(suffix for one in MODEL_FORMATS for suffix in one.suffixes)
    raise ModelFileError(f"--artifact {path}: expected a file whose name ends in {known}")


def load(
    path: str | Path, *, classes: Sequence[str] | None = None, say: Callable[[str], None] | None = None
) -> Predictor:
    """Return the detector in a file of `detq export`, ready for images: `detq.load("car.detq")(image)`.

    A `.detq` holds machine code, and starts without compiling. TorchScript files are read too.

    Args:
        path: the file.
        classes: names of its labels, where it brings none or they are to be called otherwise; empty where the caller
            names them afterwards.
        say: is told what compiles, and why; by default standard error.

    Raises:
        DetqError: it is no such file, a damaged one, or one for another machine or version of torch.
    """
    return cast("Predictor", format_of(Path(path)).resolve_reader()(Path(path), classes=classes, say=say))
