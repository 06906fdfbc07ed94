"""Where compiled stages and quantized graphs are kept from one run to the next, and what makes two of them the same.

A key covers everything that decides the result: the stage's weights, how it is to run, what it was calibrated with,
the shapes, detq's own sources, library and compiler versions, and the CPU's instructions. One change is another key.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from detq.engine import cxx
from detq.machine import cpu_fields, cpu_flags, isa_overrides, version_of

__all__ = ["cache_folder", "key_of", "own_sources", "surroundings", "weights_digest"]

_ENGINE = Path(__file__).parent
_VERSIONED = {"torch", "torchvision", "builtins"}


def cache_folder() -> Path:
    """Return the folder of compiled stages: `$DETQ_CACHE`, or `detq` below the user's cache folder."""
    if chosen := os.environ.get("DETQ_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "detq"


def weights_digest(module: nn.Module) -> str:
    """Return a digest of all parameters and buffers of `module`, by name, of its printed structure, and of its code.

    The code is that of classes that are neither torch's nor torchvision's: their versions are in `surroundings`.
    """
    digest = hashlib.sha256(str(module).encode())
    for file in own_sources(module.modules()):
        digest.update(file.read_bytes())
    for name, tensor in module.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:32]


def own_sources(modules: Iterable[nn.Module]) -> list[Path]:
    """Return the files of their classes that are neither torch's nor torchvision's, sorted."""
    kinds = {kind for module in modules for kind in type(module).__mro__}
    foreign = {kind.__module__ for kind in kinds if kind.__module__.partition(".")[0] not in _VERSIONED}
    files = {getattr(sys.modules.get(name), "__file__", None) for name in foreign}
    return sorted({Path(file) for file in files if file is not None and Path(file).is_file()})


def key_of(**parts: Any) -> str:
    """Return a digest of `parts`, which JSON can hold."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@functools.lru_cache(maxsize=1)
def surroundings() -> Mapping[str, str]:
    """Return what a compiled stage depends on beside its inputs: sources, versions, compiler, instructions."""
    found = {name: version_of(name) for name in ("torch", "torchvision", "torchao")}
    return found | {
        "sources": _sources(),
        "compiler": _compiler(),
        "isa": _isa(),
        "machine": platform.machine(),
    }


def _sources() -> str:
    digest = hashlib.sha256()
    for path in sorted(_ENGINE.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _compiler() -> str:
    level = os.environ.get("AOT_INDUCTOR_COMPILE_WRAPPER_OPT_LEVEL", "")
    return f"{cxx.version()} {level}".rstrip()


def _isa() -> str:
    chosen = [f"{name}={value}" for name, value in isa_overrides().items()]
    flags = hashlib.sha256(" ".join(sorted(cpu_flags(cpu_fields()))).encode()).hexdigest()[:16]
    return " ".join([torch.backends.cpu.get_cpu_capability(), flags, *chosen])
