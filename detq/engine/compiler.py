"""Compiling one dense stage ahead of time with AOTInductor, and loading what was compiled.

Weights are frozen into the package: inductor folds and prepacks them for this CPU's instructions. The number of threads
is not: a package runs on as many as torch is set to.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import Tensor, nn
from torch import _inductor as inductor

from detq.engine import cxx
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
    return cxx.unsupported_reason()


def _aligning_compiler() -> Path:
    """Return a script that calls the compiler so that a package aligns its constants to cache lines.

    AOTInductor aligns them within one block, and takes that block from `malloc`, which aligns to 16 bytes: by default
    every row of a weight straddles two cache lines. What oneDNN makes of that differs from process to process: bf16
    backbones took 10 % more time, and box heads up to 56 %. The script stays in the cache: inductor remembers by a
    compiler's path what it can do.

    Raises:
        UnsupportedError: the cache's folder is on a file system that runs nothing.
    """
    call = shlex.join(cxx.command() or ())
    command = f'#!/bin/sh\nexec {call} -include "$(dirname "$0")/aligned.h" "$@"\n'
    folder = cache_folder() / "compiler" / key_of(header=_ALIGNED, command=command)
    script = folder / "g++"
    if not script.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "aligned.h", _ALIGNED)
        half = folder / f"{os.getpid()}"  # a file that is executable from its first moment on
        half.write_text(command, encoding="utf-8")
        half.chmod(0o700)
        half.replace(script)
    if not os.access(script, os.X_OK):
        raise UnsupportedError(
            f"{folder} is on a file system that runs no programs (noexec), and compiling needs one there: name another "
            "folder with DETQ_CACHE"
        )
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
        UnsupportedError: there is no C++ compiler, it cannot be called, or it failed.
    """
    if reason := unsupported_reason():
        raise UnsupportedError(reason)
    settings = SETTINGS | {"cpp.cxx": (str(_aligning_compiler()),)}
    try:
        with torch.no_grad(), quiet(), inductor.config.patch(settings):
            inductor.aoti_compile_and_package(program, package_path=str(path))
    except RuntimeError as error:
        if not any(words in str(error) for words in ("C++ compile error", "No working C++ compiler")):
            raise
        said = next((line for line in str(error).splitlines() if "error:" in line), "it does not say why")
        raise UnsupportedError(
            f"the C++ compiler {shlex.join(cxx.command() or ())} failed: {said.strip()}; mend that, or name another "
            "compiler with CXX"
        ) from error


def load_compiled(path: Path) -> Callable[..., Any]:
    """Return what was compiled into `path`, ready to call with tensors.

    torch's own `aoti_load_package` does the same after a second of importing the compiler and of trying which
    instructions the C++ compiler knows.

    Raises:
        RuntimeError: it is no package, or a damaged one.
        UnsupportedError: what is unpacked from it into the folder of temporary files cannot be run there.
    """
    try:
        loader = torch._C._aoti.AOTIModelPackageLoader(str(path), "model", False, 1, -1)  # noqa: SLF001  # no public name
    except RuntimeError as error:
        if "failed to map segment" not in str(error):
            raise
        raise UnsupportedError(
            f"compiled stages are unpacked into {tempfile.gettempdir()}, which is on a file system that runs no "
            "programs (noexec): name another folder with TMPDIR"
        ) from error
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
