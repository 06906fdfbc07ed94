"""What the paired gate measured of one variant: the head, the base, and the base once more as the control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from detq.types import Detections

__all__ = ["SIDES", "Side", "Trial"]

SIDES = ("head", "base", "control")


@dataclass
class Side:
    """One of the three processes.

    Attributes:
        times_ms: of each image in the order in which they were measured.
        stages_ms: the same by stage; empty for a detector that is not divided.
        held_bytes: memory in use after each image; None where the platform does not say.
        detections: of each image, once, in the data set's order and with its labels.
        weight_bytes: of all parameters.
        file_bytes: of the variant as a file; None where nobody said.
        peak_bytes: the most memory while images ran, above what the process took before the variant was built.
        int8_share: share of the multiply-accumulates in int8, in [0, 1].
        int8_by_stage: the same of each stage.
    """

    times_ms: list[float] = field(default_factory=list)
    stages_ms: list[Mapping[str, float]] = field(default_factory=list)
    held_bytes: list[int | None] = field(default_factory=list)
    detections: list[Detections] = field(default_factory=list)
    weight_bytes: int = 0
    file_bytes: int | None = None
    peak_bytes: int | None = None
    int8_share: float = 0.0
    int8_by_stage: Mapping[str, float] = field(default_factory=dict)


@dataclass
class Trial:
    """One variant.

    Attributes:
        variant: id.
        meaningful: False for random weights, whose accuracy says nothing.
        head: the code that is judged.
        base: the code that it is compared with.
        control: the same code as `base` in another process.
        images: the place in the data set of each measured image.
    """

    variant: str
    meaningful: bool = True
    head: Side = field(default_factory=Side)
    base: Side = field(default_factory=Side)
    control: Side = field(default_factory=Side)
    images: list[int] = field(default_factory=list)

    def sides(self) -> Sequence[tuple[str, Side]]:
        """Return the three by name."""
        return [(name, getattr(self, name)) for name in SIDES]
