"""The compiled packages of dense stages: taken from the cache, or compiled now and kept there."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from detq.engine.cache import cache_folder, key_of, surroundings
from detq.engine.compiled import Compiled, PerShape, Signature, signature
from detq.engine.compiler import compile_exported, export, load_compiled
from detq.engine.pool import ROWS
from detq.engine.work import GraphWork, read_program
from detq.quantization.plan import StageRule

__all__ = ["Graphs", "Packages"]

_MOST_ROWS = 4096
"""Rois that a compiled head may be given at once."""

_UNFINISHED = ".unfinished-"
_DAY_S = 24 * 3600


class Graphs(Protocol):
    """Where the graphs of stages come from."""

    def key(self, stage: str, rule: StageRule) -> str:
        """Return what differs where the graph does."""
        ...

    def graph(self, stage: str, rule: StageRule) -> nn.Module:
        """Return what is exported and compiled."""
        ...


class Packages:
    """Makes compiled stages."""

    def __init__(self, graphs: Graphs, say: Callable[[str], None]) -> None:
        """Make packages of these graphs.

        Args:
            graphs: what to compile.
            say: is told what compiles, and why.
        """
        self._graphs, self._say = graphs, say

    def stage(self, stage: str, rule: StageRule) -> PerShape:
        """Return a stage that is compiled for each shape of its inputs when it first comes."""
        return PerShape(lambda inputs: self.package(stage, rule, inputs), rows=ROWS.get(stage, 0))

    def package(self, stage: str, rule: StageRule, inputs: tuple[Tensor, ...]) -> Compiled:
        """Return the package of a stage for inputs like these."""
        takes = signature(inputs, ROWS.get(stage, 0))
        path = self._path(stage, rule, takes)
        if path.exists():
            try:
                return _open(path, takes)
            except RuntimeError as error:
                self._say(f"{path} is damaged ({str(error).partition(chr(10))[0]}) and is compiled again")
        shape = "any number of rois" if takes.rows else "×".join(str(side) for side in takes.shapes[0][2:])
        self._say(f"compiling {stage} in {rule.precision} for {shape}; kept in {cache_folder()}")
        self._compile(stage, rule, inputs, path)
        return _open(path, takes)

    def _path(self, stage: str, rule: StageRule, takes: Signature) -> Path:
        key = key_of(
            stage=stage,
            rule=asdict(rule),
            weights=self._graphs.key(stage, rule),
            takes=asdict(takes),
            **surroundings(),
        )
        return cache_folder() / "packages" / f"{key}.pt2"

    def _compile(self, stage: str, rule: StageRule, inputs: tuple[Tensor, ...], path: Path) -> None:
        step = ROWS.get(stage, 0)  # the inputs of other stages are images or feature maps of fixed sizes
        if step:  # export takes a dimension of one step for one that never varies
            inputs = tuple(torch.cat([one[:step], one[:step]]) for one in inputs)
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        with (
            torch.inference_mode(mode=False),
            tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=path.parent) as folder,
        ):
            example = tuple(one.clone(memory_format=torch.preserve_format) for one in inputs)
            program = export(self._graphs.graph(stage, rule), example, _any_rows(inputs, step) if step else None)
            half = Path(folder) / path.name
            compile_exported(program, half)
            read_program(program, rows=2 * step).write(path.with_suffix(".json"))
            half.replace(path)  # last: a package without its description would be of no use


def _open(path: Path, takes: Signature) -> Compiled:
    os.utime(path)  # the oldest in the folder is then the one that was not used for longest
    return Compiled(load_compiled(path), takes, path, GraphWork.read(path.with_suffix(".json")))


def _any_rows(inputs: tuple[Tensor, ...], step: int) -> Any:
    blocks = torch.export.Dim("blocks", min=1, max=_MOST_ROWS // step)
    return (tuple({0: step * blocks} for _ in inputs),)


def _sweep(folder: Path) -> None:
    """Remove what processes that were killed a day ago or earlier left half-compiled."""
    for left in folder.glob(f"{_UNFINISHED}*"):
        if time.time() - left.stat().st_mtime > _DAY_S:
            shutil.rmtree(left, ignore_errors=True)
