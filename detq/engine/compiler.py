"""Compiling one dense stage ahead of time with AOTInductor, and loading what was compiled.

Weights are frozen into the package: inductor folds and prepacks them for this CPU's instructions. The number of threads
is not: a package runs on as many as torch is set to.
"""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import Tensor, nn
from torch import _inductor as inductor

from detq.errors import UnsupportedError

__all__ = ["compile_exported", "export", "load_compiled", "unsupported_reason"]

SETTINGS: dict[str, Any] = {
    "freezing": True,
    "cpp.dynamic_threads": True,
    "cpp.enable_kernel_profile": True,  # the profiler can then name the kernels inside a package: a microsecond each
}


def unsupported_reason() -> str | None:
    """Return why nothing can be compiled here, or None if it can."""
    import shutil

    if not hasattr(inductor, "aoti_compile_and_package"):
        return f"torch {torch.__version__} has no ahead-of-time inductor; torch 2.9 or later has"
    compilers = (os.environ.get("CXX"), "g++", "clang++")
    if not any(name and shutil.which(name) for name in compilers):
        return "compiling needs a C++ compiler: install g++, or set CXX"
    return None


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
    with torch.no_grad(), quiet(), inductor.config.patch(SETTINGS):
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
