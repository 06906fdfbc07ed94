"""A compiled dense stage, guarded: a package takes exactly the types, shapes and layouts that it was compiled for.

AOTInductor checks nothing when it is called: another type than the one expected reads beyond the tensor's end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from detq.engine.cache import key_of

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


class Compiled:
    """One package."""

    def __init__(self, run: Callable[..., Any], takes: Signature) -> None:
        self._run, self.takes = run, takes

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
    """A dense stage with one package for each shape of its inputs, compiled when the shape first comes."""

    def __init__(self, compile_for: Callable[[tuple[Tensor, ...]], Compiled]) -> None:
        self._compile_for = compile_for
        self._packages: dict[tuple[tuple[int, ...], ...], Compiled] = {}

    def __call__(self, *inputs: Tensor) -> Any:
        """Return what the stage makes of `inputs`."""
        shapes = tuple(tuple(given.shape) for given in inputs)
        if shapes not in self._packages:
            self._packages[shapes] = self._compile_for(inputs)
        return self._packages[shapes](*inputs)


class Typed(nn.Module):
    """A graph between other types than its own: the casts become part of what is compiled."""

    def __init__(self, graph: nn.Module, given: torch.dtype | None, made: torch.dtype | None) -> None:
        """Wrap a graph.

        Args:
            graph: what computes.
            given: the floating type that it takes, or None to leave inputs as they are.
            made: the type of its outputs, or None to leave them.
        """
        super().__init__()
        self.graph, self.given, self.made = graph, given, made

    def forward(self, *inputs: Tensor) -> Any:
        """Return the graph's outputs, cast."""
        taken = [one.to(self.given) if self.given and one.is_floating_point() else one for one in inputs]
        found = self.graph(*taken)
        if self.made is None:
            return found
        return tuple(one.to(self.made) for one in found)


def describe_inputs(inputs: tuple[Tensor, ...]) -> str:
    """Return shapes and types of `inputs`, for keys and messages."""
    return key_of(inputs=[[str(one.dtype), list(one.shape)] for one in inputs])
