"""A compiled dense stage, guarded: a package takes exactly the types, shapes and layouts that it was compiled for.

AOTInductor checks nothing when it is called: another type than the one expected reads beyond the tensor's end.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from detq.engine.work import GraphWork

__all__ = ["Compiled", "PerShape", "Signature", "Typed", "signature"]


@dataclass(frozen=True)
class Signature:
    """What a package takes.

    Attributes:
        dtypes: of each input.
        shapes: of each input; the first dimension is 0 where it may vary.
        rows: the first dimension of every input varies, in steps of this; 0 for fixed shapes.
    """

    dtypes: tuple[torch.dtype, ...]
    shapes: tuple[tuple[int, ...], ...]
    rows: int = 0

    def accepts(self, inputs: tuple[Tensor, ...]) -> bool:
        """Return whether shapes fit; types and layouts are converted."""
        skip = 1 if self.rows else 0
        fits = all(tuple(given.shape[skip:]) == shape[skip:] for given, shape in zip(inputs, self.shapes, strict=True))
        return fits and all(not self.rows or given.shape[0] % self.rows == 0 for given in inputs)


def signature(inputs: tuple[Tensor, ...], rows: int = 0) -> Signature:
    """Return the signature that an example of the inputs has."""
    shapes = tuple((0, *given.shape[1:]) if rows else tuple(given.shape) for given in inputs)
    return Signature(tuple(given.dtype for given in inputs), shapes, rows)


def tidy(inputs: tuple[Tensor, ...], dtypes: tuple[torch.dtype, ...]) -> tuple[Tensor, ...]:
    """Return the inputs in these types, images and feature maps channels-last, all others contiguous."""
    return tuple(
        given.to(dtype).contiguous(memory_format=torch.channels_last)
        if given.ndim == 4 and given.shape[0] == 1
        else given.to(dtype).contiguous()
        for given, dtype in zip(inputs, dtypes, strict=True)
    )


LOADED = 8
"""How many shapes of one stage are kept in memory."""


class Compiled:
    """One package."""

    def __init__(self, run: Callable[..., Any], takes: Signature, path: Path, work: GraphWork) -> None:
        self._run, self.takes, self.path, self.work = run, takes, path, work

    def __call__(self, *inputs: Tensor) -> Any:
        """Return what the stage makes of `inputs`.

        Raises:
            ValueError: their shapes are not those that it was compiled for.
        """
        if not self.takes.accepts(inputs):
            given = ", ".join(str(tuple(one.shape)) for one in inputs)
            raise ValueError(f"compiled for {self.takes.shapes} in steps of {self.takes.rows or 1}, got {given}")
        return self._run(*tidy(inputs, self.takes.dtypes))


class PerShape:
    """A dense stage with a package for each shape of its inputs, compiled when the shape first comes.

    At most `LOADED` packages are kept in memory; the one that was not needed for longest goes first.
    """

    def __init__(self, compile_for: Callable[[tuple[Tensor, ...]], Compiled], *, rows: int = 0) -> None:
        """Make a stage.

        Args:
            compile_for: returns the package for inputs like these.
            rows: the first dimension may vary in steps of this; 0 where every dimension counts.
        """
        self._compile_for, self._rows = compile_for, rows
        self._packages: OrderedDict[tuple[tuple[int, ...], ...], Compiled] = OrderedDict()

    def __call__(self, *inputs: Tensor) -> Any:
        """Return what the stage makes of `inputs`."""
        shapes = signature(inputs, self._rows).shapes
        if shapes not in self._packages:
            self._packages[shapes] = self._compile_for(tidy(inputs, tuple(one.dtype for one in inputs)))
            if len(self._packages) > LOADED:
                self._packages.popitem(last=False)
        self._packages.move_to_end(shapes)
        return self._packages[shapes](*inputs)

    @property
    def current(self) -> Compiled | None:
        """The package that ran last."""
        return next(reversed(self._packages.values()), None)

    @property
    def packages(self) -> tuple[Compiled, ...]:
        """What is in memory."""
        return tuple(self._packages.values())


class Typed(nn.Module):
    """A graph between other types than its own: the casts become part of what is compiled."""

    def __init__(self, inner: nn.Module, given: torch.dtype | None, made: torch.dtype | None) -> None:
        """Wrap a graph.

        Args:
            inner: what computes.
            given: the floating type that it takes, or None to leave inputs as they are.
            made: the type of its outputs, or None to leave them.
        """
        super().__init__()
        self.inner, self.given, self.made = inner, given, made

    def forward(self, *inputs: Tensor) -> Any:
        """Return the graph's outputs, cast."""
        taken = [one.to(self.given) if self.given and one.is_floating_point() else one for one in inputs]
        found = self.inner(*taken)
        if self.made is None:
            return found
        return tuple(one.to(self.made) for one in found)
