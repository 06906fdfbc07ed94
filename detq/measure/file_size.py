"""How large a variant is as a file."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from torch import nn

from detq.quantization.proof import serialized_bytes
from detq.quantization.scripted import quiet_torchscript

__all__ = ["file_bytes"]


def file_bytes(module: nn.Module) -> int:
    """Return the bytes of a variant's compiled packages, or of its TorchScript file, or of torch's file of its state.

    Of packages without the manifest and programs that an artifact has beside them.

    Args:
        module: of a `Predictor`.
    """
    dense = getattr(module, "dense", None)
    if isinstance(dense, dict):
        packages = {str(one.path) for stage in dense.values() for one in getattr(stage, "packages", ())}
        states = [stage for stage in dense.values() if isinstance(stage, nn.Module)]
        return sum(Path(path).stat().st_size for path in packages) + sum(map(serialized_bytes, states))
    script = getattr(getattr(module, "_frozen", None), "module", module)  # of a `FrozenDetector`
    if isinstance(script, torch.jit.ScriptModule):
        stream = io.BytesIO()
        with quiet_torchscript():
            torch.jit.save(script, stream)
        return stream.getbuffer().nbytes
    return serialized_bytes(module)
