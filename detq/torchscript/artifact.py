"""A TorchScript file in the place of a built variant: what `detq predict --artifact` runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from detq.errors import ModelFileError
from detq.models.weights import WeightsSource
from detq.predictor import Predictor
from detq.quantization.work import LayerWork
from detq.torchscript.predictor import TorchScriptPredictor
from detq.types import Detections
from detq.variants import Variant

__all__ = ["ScriptModuleOfFile", "ScriptPredictor", "open_predictor"]


class ScriptModuleOfFile(nn.Module):
    """Any recognised TorchScript detector with torchvision's eager interface, Detectron2's resizing included.

    Masks are left out: they stay small in what `TorchScriptPredictor` returns.
    """

    def __init__(self, predictor: TorchScriptPredictor) -> None:
        super().__init__()
        self._predictor = predictor

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        """Return boxes, scores and labels from 1 of each image, float `(3, height, width)` in [0, 1], RGB."""
        return [_as_torchvision(self._predictor(_as_image(image))) for image in images]

    def count_work(self, image: Tensor) -> Sequence[LayerWork]:
        """Return what each layer does on `image`, float32 `(3, height, width)` in [0, 1]."""
        return self._predictor.script.count_work(lambda: self._predictor(_as_image(image)))

    def count_weight_bytes(self) -> int:
        """Return the bytes of all constants."""
        return self._predictor.script.count_weight_bytes()


def _as_image(image: Tensor) -> NDArray[np.uint8]:
    levels: NDArray[np.uint8] = image.mul(255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    return levels


def _as_torchvision(found: Detections) -> dict[str, Tensor]:
    return {
        "boxes": torch.from_numpy(found.boxes.copy()),
        "scores": torch.from_numpy(found.scores.copy()),
        "labels": torch.from_numpy(found.labels + 1),
    }


class ScriptPredictor(Predictor):
    """A `Predictor` that runs a TorchScript file.

    Args:
        path: the file.
        classes: names of its labels, for a file that does not bring them; empty where the caller names them afterwards.

    Raises:
        ModelFileError: it cannot be read, is no detector, or nobody says what its labels are called.
    """

    def __init__(self, path: Path, classes: Sequence[str] | None = None) -> None:
        self._predictor = TorchScriptPredictor(path, input_format="RGB", classes=classes)
        if self._predictor.classes is None and classes is None:
            raise ModelFileError(f"{path}: the file has no names for its labels; name them with --classes A,B,C")
        metadata = self._predictor.metadata
        self.module = ScriptModuleOfFile(self._predictor)
        self.classes = self._predictor.classes or ()
        int8 = any(layer.int8 for layer in self._predictor.script.layers())
        recipe = "torchscript_dynamic_int8" if int8 else "torchscript_fp32"
        self.variant = Variant(str(metadata.get("model") or path.stem), recipe)
        self.weights = WeightsSource("file", str(path), sha256=metadata.get("weights_sha256"))
        self.meaningful = bool(metadata.get("meaningful", True))
        self.has_masks = self._predictor.has_masks
        self.fp32_weight_bytes = int(metadata.get("fp32_weight_bytes") or self.weight_bytes)
        self.proof = None

    def predict(self, image: NDArray[np.uint8], *, masks: bool = True) -> Detections:
        """Return what the detector finds in one image, uint8 `(height, width, 3)`, RGB, best score first."""
        found = self._predictor(image)
        if len(found) and (most := int(found.labels.max())) >= len(self.classes):
            raise ModelFileError(
                f"{self._predictor.name}: it found class number {most}, and there are {len(self.classes)} names; mend "
                "--classes: the names of its labels in their order"
            )
        if masks or found.masks is None:
            return found
        return Detections(found.boxes, found.scores, found.labels, image_size=found.image_size)


def open_predictor(
    path: Path,
    *,
    classes: Sequence[str] | None = None,
    say: Callable[[str], None] | None = None,  # noqa: ARG001  # nothing of it takes long
) -> Predictor:
    """Return the predictor of a TorchScript file; see `ScriptPredictor`."""
    return ScriptPredictor(path, classes)
