"""Which layers run in int8 in each trial: none, all, a stage or a part of the backbone alone, all but it or them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Trial", "part_of", "trials"]

Layers = Mapping[str, Sequence[str]]
"""The layers that can be quantized, by stage, in the order in which they run."""


@dataclass(frozen=True)
class Trial:
    """One configuration of a detector.

    Attributes:
        kind: `none`, `all`, `only` or `but`.
        stage: which, for `only` and `but`.
        part: of the backbone, or "" for the whole stage. For `but`, several joined by "+".
    """

    kind: str
    stage: str = ""
    part: str = ""

    @property
    def id(self) -> str:
        """What files call it."""
        return ":".join(word for word in (self.kind, self.stage, self.part) if word)

    def active(self, layers: Layers) -> dict[str, tuple[str, ...]]:
        """Return the layers in int8 by stage; stages without any are left out.

        All but a stage leaves the other stages in int8. All but parts of the backbone leaves the rest of the backbone
        in int8 and the other stages in fp32, as a part alone does, so that the two can be compared.
        """
        if self.kind == "all":
            return {stage: tuple(paths) for stage, paths in layers.items()}
        if self.kind == "none":
            return {}
        if not self.part:
            wanted = [stage for stage in layers if (stage == self.stage) == (self.kind == "only")]
            return {stage: tuple(layers[stage]) for stage in wanted}
        named = set(self.part.split("+"))
        chosen = tuple(
            path for path in layers[self.stage] if bool({path, part_of(path)} & named) == (self.kind == "only")
        )
        return {self.stage: chosen} if chosen else {}


def trials(layers: Layers, *, each_layer: bool = False) -> tuple[Trial, ...]:
    """Return the trials of a detector: none, all, each stage, then each part of the backbone.

    Args:
        layers: see `Layers`.
        each_layer: a part is one layer instead of a block of them.
    """
    found = [Trial("none"), Trial("all")]
    found += [Trial(kind, stage) for stage in layers for kind in ("only", "but")]
    parts = dict.fromkeys(path if each_layer else part_of(path) for path in layers.get("backbone", ()))
    found += [Trial(kind, "backbone", part) for part in parts for kind in ("only", "but")]
    return tuple(found)


def part_of(path: str) -> str:
    """Return the block that a layer belongs to: its path up to the first number.

    >>> part_of("body.body.4.block.1.0"), part_of("body.layer1.0.conv2"), part_of("body.conv1")
    ('body.body.4', 'body.layer1.0', 'body.conv1')
    """
    words = path.split(".")
    first = next((index for index, word in enumerate(words) if word.isdigit()), len(words) - 1)
    return ".".join(words[: first + 1])
