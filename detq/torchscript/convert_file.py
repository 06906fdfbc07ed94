"""`detq quantize model.ts --out model.int8.ts`: from file to file, with proof of what runs in int8."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import detq
from detq.quantization.proof import Proof, prove
from detq.torchscript.artifact import ScriptModuleOfFile
from detq.torchscript.file import ScriptFile, read_script, write_script
from detq.torchscript.predictor import TorchScriptPredictor
from detq.torchscript.quantize import Quantized, quantize_script

__all__ = ["QuantizedFile", "quantize_file"]


@dataclass(frozen=True)
class QuantizedFile:
    """What was made of a file.

    Attributes:
        quantized: the module, its int8 layers, and by what they were converted.
        proof: of the new file on the image.
        found: detections on that image, before and after.
        sizes_bytes: of both files.
    """

    quantized: Quantized
    proof: Proof
    found: tuple[int, int]
    sizes_bytes: tuple[int, int]


def quantize_file(source: Path, out: Path, image: NDArray[np.uint8]) -> QuantizedFile:
    """Write `source`, a TorchScript detector, to `out` with dynamic int8 linear layers.

    Args:
        source: fp32, of any origin that `TorchScriptPredictor` recognises.
        out: the new file, written whole or not at all.
        image: uint8 `(height, width, 3)`, RGB, which shows objects: the proof's.

    Raises:
        ModelFileError: `source` cannot be read or is no detector.
        QuantizationError: there is nothing to convert, it is quantized already, or the proof fails: nothing is written.
        OutputError: `out` cannot be written.
    """
    before = TorchScriptPredictor(source, input_format="RGB")
    content = read_script(source)
    made = quantize_script(content.module, str(source))
    reference = before.script.count_weight_bytes()
    proofs: list[Proof] = []
    counts: list[int] = []

    def check(_written: ScriptFile, temporary: Path) -> None:
        after = TorchScriptPredictor(temporary, input_format="RGB")
        counts.extend((len(before(image)), len(after(image))))
        proofs.append(prove(ScriptModuleOfFile(after), image, quantizes=True, reference_weight_bytes=reference))

    metadata = {
        **content.metadata,
        "detq": detq.__version__,
        "recipe": "torchscript_dynamic_int8",
        "quantized": {"layers": list(made.layers), "by": made.way},
    }
    metadata.setdefault("fp32_weight_bytes", reference)
    write_script(out, made.module, metadata, extra=content.extra, check=check)
    return QuantizedFile(made, proofs[0], (counts[0], counts[1]), (source.stat().st_size, out.stat().st_size))
