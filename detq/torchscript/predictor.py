"""`TorchScriptPredictor`: an image in, detections out, for any TorchScript detector that detq recognises."""

from __future__ import annotations

import hashlib
import mmap
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from detq.errors import DetqError, ModelFileError, UnsupportedError
from detq.predictor import as_detections
from detq.quantization.frozen import FrozenScript
from detq.quantization.script_layers import layers_of
from detq.tensors import as_tensor
from detq.torchscript.conventions import Fields, recognise, refuse_unknown
from detq.torchscript.file import ScriptFile, read_script
from detq.torchscript.postprocess import resize_shortest_edge, to_original_frame
from detq.types import Detections

__all__ = ["TorchScriptPredictor"]


class TorchScriptPredictor:
    """Runs a TorchScript detector on images as `cv2.imread` gives them, as Detectron2's `DefaultPredictor` does.

    The file may be detq's own (`detq export`), torchvision's scripted detector, or what Detectron2 exported by
    scripting or tracing; which one it is, is found out by trying. Detectron2 need not be installed.

    The graph is frozen, see `detq.quantization.frozen`: the first two calls are slow. Several threads may call one
    predictor. It pickles through the file's bytes.

        >>> predictor = TorchScriptPredictor("model.ts")  # doctest: +SKIP
        >>> predictor(cv2.imread("photo.jpg")).to_instances_dict()["pred_boxes"]  # doctest: +SKIP

    Args:
        file: a path, or the file's bytes.
        device: "cpu", "cuda" or "cuda:1".
        input_format: order of the channels of the images that will be given, "BGR" or "RGB".
        network_format: order of the channels that a Detectron2 export wants, its config's `INPUT.FORMAT`. Others take
            RGB.
        min_size_test: pixels of the short side to which images for a Detectron2 export are resized; 0 to leave them.
            Others resize themselves.
        max_size_test: most pixels of the long side.
        score_threshold: least score of a detection.
        classes: names of `Detections.labels`, for a file that does not bring them.

    Raises:
        ModelFileError: the file cannot be read, or is no detector.
        UnsupportedError: no such device here, or int8 layers, which run on a CPU only.
    """

    def __init__(
        self,
        file: str | Path | bytes,
        *,
        device: str = "cpu",
        input_format: str = "BGR",
        network_format: str = "BGR",
        min_size_test: int = 800,
        max_size_test: int = 1333,
        score_threshold: float = 0.0,
        classes: Sequence[str] | None = None,
    ) -> None:
        if not isinstance(file, str | Path | bytes):
            raise DetqError(f"TorchScriptPredictor: expected a path or the file's bytes, got {type(file).__name__}")
        self._options: dict[str, Any] = {
            "device": str(device),  # a torch.device too
            "input_format": input_format,
            "network_format": network_format,
            "min_size_test": min_size_test,
            "max_size_test": max_size_test,
            "score_threshold": score_threshold,
            "classes": classes,
        }
        _check_options(self._options)
        self.name = "the TorchScript file's bytes" if isinstance(file, bytes) else str(file)
        self._bytes = file if isinstance(file, bytes) else _map(Path(file))
        self.sha256 = hashlib.sha256(self._bytes).hexdigest()
        content = self._read(file if isinstance(file, bytes) else Path(file))
        self.metadata = content.metadata
        named = classes or content.metadata.get("classes")
        self.classes: tuple[str, ...] | None = None if named is None else tuple(map(str, named))
        refuse_unknown(content.module, self.name)
        self.script = FrozenScript(content.module)  # before the first run, which leaves objects in its graph
        # The frozen one comes second: frozen graphs whose runs fail, as those of classifiers do, crash the process.
        recognise(content.module, self.name, self.device)
        self._convention, self.has_masks = recognise(self.script.module, self.name, self.device)

    def _read(self, file: Path | bytes) -> ScriptFile:
        device = self.device
        if device != "cpu" and not re.fullmatch(r"cuda(:\d+)?", device):
            raise DetqError(f"device: expected 'cpu', 'cuda' or 'cuda:1', got {device!r}")
        content = read_script(file)
        if device == "cpu":
            return content
        if int8 := [layer for layer in layers_of(content.module) if layer.int8]:
            raise UnsupportedError(
                f"{self.name}: device {device!r}: {len(int8)} of its layers are dynamic int8, which PyTorch computes "
                "on a CPU only; use device='cpu', or the fp32 file"
            )
        if not torch.cuda.is_available():
            raise UnsupportedError(f"device {device!r}: torch sees no CUDA device here; use device='cpu'")
        return read_script(file, device)

    @property
    def device(self) -> str:
        """Where it runs."""
        return str(self._options["device"])

    @property
    def convention(self) -> str:
        """How the file was recognised: "torchvision", "detectron2-scripted" or "detectron2-traced"."""
        return self._convention.name

    def __call__(self, image: NDArray[np.uint8]) -> Detections:
        """Return what the detector finds, best score first, with `image_size` and masks that are pasted when asked for.

        Args:
            image: uint8 `(height, width, 3)`, in `input_format`'s order of channels, in any memory layout.

        Raises:
            DetqError: it is no such array.
            ModelFileError: the module failed on it.
        """
        if not (isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3):
            given = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
            raise DetqError(
                f"TorchScriptPredictor: expected one uint8 image of shape (height, width, 3), got {given}; cv2.imread "
                "returns None for a file that it cannot read"
            )
        size = (image.shape[0], image.shape[1])
        if 0 in size:
            raise DetqError(f"TorchScriptPredictor: the image has no pixels: its shape is {image.shape}")
        found = self._torchvision(image, size) if self._convention.resizes else self._detectron2(image, size)
        threshold = self._options["score_threshold"]
        return found if (found.scores >= threshold).all() else found[found.scores >= threshold]

    def _torchvision(self, image: NDArray[np.uint8], size: tuple[int, int]) -> Detections:
        rgb = image if self._options["input_format"] == "RGB" else image[:, :, ::-1]
        fields = self._run(as_tensor(rgb).to(self.device))
        found = as_detections({name: value.detach().cpu() for name, value in fields.items()}, size)
        numbers = np.isfinite(found.boxes).all(axis=1) & np.isfinite(found.scores)
        found = found if numbers.all() else found[numbers]
        return Detections(found.boxes, found.scores, found.labels, found.masks, image_size=size)

    def _detectron2(self, image: NDArray[np.uint8], size: tuple[int, int]) -> Detections:
        same = self._options["input_format"] == self._options["network_format"]
        resized = resize_shortest_edge(
            np.ascontiguousarray(image if same else image[:, :, ::-1]),
            self._options["min_size_test"],
            self._options["max_size_test"],
        )
        levels = torch.from_numpy(resized.astype(np.float32).transpose(2, 0, 1).copy())
        return to_original_frame(self._run(levels.to(self.device)), resized.shape[:2], size)

    def _run(self, image: torch.Tensor) -> Fields:
        try:
            with torch.inference_mode():
                return self._convention.run(self.script, image)
        except (RuntimeError, ValueError) as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            height, width = image.shape[1:]
            raise ModelFileError(
                f"{self.name}: it failed on an image of {width}×{height} pixels, as it is given to the network: "
                f"{lines[-1].strip() if lines else type(error).__name__}; a graph that was traced may fit one size only"
            ) from error

    def __getstate__(self) -> dict[str, Any]:
        """Return the file's bytes and the options: the module itself cannot be pickled."""
        content = bytes(self._bytes)
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise ModelFileError(f"{self.name} was overwritten since it was loaded; load it again to pickle it")
        return {"file": content, "name": self.name, "options": self._options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Load the module from the file's bytes."""
        self.__init__(state["file"], **state["options"])  # type: ignore[misc]
        self.name = state["name"]


def _check_options(options: Mapping[str, Any]) -> None:
    """Raise where an option has a value that would only fail, or mislead, on the first image."""
    for option in ("input_format", "network_format"):
        if options[option] not in ("BGR", "RGB"):
            raise DetqError(f"{option}: expected 'BGR' or 'RGB', got {options[option]!r}")
    for option, least in (("min_size_test", 0), ("max_size_test", 1)):
        value = options[option]
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise DetqError(f"{option}: expected a whole number of pixels from {least}, got {value!r}")
    threshold = options["score_threshold"]
    if not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
        raise DetqError(f"score_threshold: expected a number from 0 to 1, got {threshold!r}")
    classes = options["classes"]
    if isinstance(classes, str) or not all(isinstance(name, str) for name in classes or ()):
        raise DetqError(f"classes: expected names in a list such as ['car', 'bus'], got {classes!r:.60}")


def _map(path: Path) -> mmap.mmap | bytes:
    """Return the file's bytes without holding them in memory; they stay even when the path is replaced or removed."""
    try:
        with path.open("rb") as stream:
            return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise ModelFileError(f"{path}: no such file; expected a TorchScript file, as torch.jit.save writes") from None
    except (OSError, ValueError) as error:  # a folder, no permission, no bytes
        raise ModelFileError(f"{path}: expected a TorchScript file, found something unreadable: {error}") from None
