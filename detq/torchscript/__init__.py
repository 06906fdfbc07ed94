"""Detectors in TorchScript files: detq's own, torchvision's and Detectron2's, read, run, written and quantized."""

from __future__ import annotations

from detq.torchscript.conventions import Convention, recognise
from detq.torchscript.file import ScriptFile, read_script, write_script
from detq.torchscript.predictor import TorchScriptPredictor
from detq.torchscript.quantize import Quantized, quantize_script

__all__ = [
    "Convention",
    "Quantized",
    "ScriptFile",
    "TorchScriptPredictor",
    "quantize_script",
    "read_script",
    "recognise",
    "write_script",
]
