"""Compiling one dense stage ahead of time with AOTInductor, and loading what was compiled.

Weights are frozen into the package: inductor folds and prepacks them for this CPU's instructions. The number of threads
is not: a package runs on as many as torch is set to.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import Tensor, nn
from torch import _inductor as inductor

from detq.engine.cache import cache_folder, key_of
from detq.errors import UnsupportedError
from detq.files import write_text

__all__ = ["compile_exported", "export", "load_compiled", "unsupported_reason"]

SETTINGS: dict[str, Any] = {
    "freezing": True,
    "cpp.dynamic_threads": True,
    "cpp.enable_kernel_profile": True,  # the profiler can then name the kernels inside a package: a microsecond each
}

_ALIGNED = """
#ifdef __cplusplus
#include <cstdlib>
namespace std {
inline void* detq_aligned(size_t bytes) { return aligned_alloc(64, (bytes + 63) / 64 * 64); }
}
using std::detq_aligned;
#define malloc(bytes) detq_aligned(bytes)
#endif
"""


def unsupported_reason() -> str | None:
    """Return why nothing can be compiled here, or None if it can."""
    if not hasattr(inductor, "aoti_compile_and_package"):
        return f"torch {torch.__version__} has no ahead-of-time inductor; torch 2.9 or later has"
    if _compiler() is None:
        return "compiling needs a C++ compiler: install g++, or set CXX"
    return None


def _compiler() -> str | None:
    names = (os.environ.get("CXX"), "g++", "clang++")
    return next((path for name in names if name and (path := shutil.which(name))), None)


def _aligning_compiler() -> Path:
    """Return a script that calls the compiler so that a package aligns its constants to cache lines.

    AOTInductor aligns them within one block, and takes that block from `malloc`, which aligns to 16 bytes: by default
    every row of a weight straddles two cache lines. What oneDNN makes of that differs from process to process: bf16
    backbones took 10 % more time, and box heads up to 56 %. The script stays in the cache: inductor remembers by a
    compiler's path what it can do.
    """
    command = f'#!/bin/sh\nexec "{_compiler()}" -include "$(dirname "$0")/aligned.h" "$@"\n'
    folder = cache_folder() / "compiler" / key_of(header=_ALIGNED, command=command)
    script = folder / "g++"
    if not script.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "aligned.h", _ALIGNED)
        half = folder / f"{os.getpid()}"  # a file that is executable from its first moment on
        half.write_text(command, encoding="utf-8")
        half.chmod(0o700)
        half.replace(script)
    return script


def export(module: nn.Module, args: tuple[Tensor, ...], dynamic: Any = None) -> torch.export.ExportedProgram:
    """Return `module` as one graph.

    Args:
        module: in eval mode, without branches on data.
        args: an example of its inputs.
        dynamic: see `torch.export.export`'s `dynamic_shapes`; by default every dimension is fixed.
    """
    with torch.no_grad(), quiet():
        return torch.export.export(module, args, dynamic_shapes=dynamic)


def compile_exported(program: torch.export.ExportedProgram, path: Path) -> None:
    """Compile a graph into the package `path` (`.pt2`).

    Args:
        program: the graph.
        path: the file to write.

    Raises:
        UnsupportedError: there is no working C++ compiler.
    """
    if reason := unsupported_reason():
        raise UnsupportedError(reason)
    settings = SETTINGS | {"cpp.cxx": (str(_aligning_compiler()),)}
    with torch.no_grad(), quiet(), inductor.config.patch(settings):
        inductor.aoti_compile_and_package(program, package_path=str(path))


def load_compiled(path: Path) -> Callable[..., Any]:
    """Return what was compiled into `path`, ready to call with tensors.

    torch's own `aoti_load_package` does the same after a second of importing the compiler and of trying which
    instructions the C++ compiler knows.

    Raises:
        RuntimeError: it is no package, or a damaged one.
    """
    loader = torch._C._aoti.AOTIModelPackageLoader(str(path), "model", False, 1, -1)  # noqa: SLF001  # no public name
    structure = pytree.treespec_loads(loader.get_call_spec()[1])

    def run(*inputs: Tensor) -> Any:
        return pytree.tree_unflatten(loader.boxed_run(list(inputs)), structure)

    return run


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep torch from talking about its own deprecations, and about a GPU that is not there."""
    logger = logging.getLogger("torch")
    before = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logger.setLevel(before)
