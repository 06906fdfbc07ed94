"""The times that one run took of one variant: one for each image and round, and the control's beside them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

__all__ = ["Times", "common_images", "paired_rounds", "per_image"]

Row = tuple[float, ...]


@dataclass(frozen=True)
class Times:
    """Seconds by round and image.

    Attributes:
        images: a digest of each image, in the data set's order.
        rounds_s: of each round over the images, in that order, one or more; the first is whole, a later one may have
            ended early.
        control_s: the control's, a fixed piece of arithmetic's, of each image; empty where it was not measured.
    """

    images: tuple[str, ...]
    rounds_s: tuple[Row, ...]
    control_s: Row = ()

    def medians(self, images: int) -> Row:
        """Return the median over the rounds of each of the first `images` images."""
        return per_image(self.rounds_s, images)


def per_image(rounds: Sequence[Sequence[float]], images: int) -> Row:
    """Return the median over `rounds` of each of the first `images` places; a round may be shorter than the first."""
    return tuple(statistics.median(row[place] for row in rounds if place < len(row)) for place in range(images))


def common_images(now: Sequence[str], before: Sequence[str]) -> int:
    """Return on how many first images both were measured."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(now, before, strict=False)))


def paired_rounds(now: Times, before: Times, images: int) -> tuple[Row, Row]:
    """Return the times of `now` and those of `before` for the images and rounds that both have, place by place.

    Quantiles are to be taken of single times on both sides: the median of several rounds has a shorter tail.
    """
    cut = [
        (first[:count], second[:count])
        for first, second in zip(now.rounds_s, before.rounds_s, strict=False)
        if (count := min(len(first), len(second), images))
    ]
    return tuple(value for row, _ in cut for value in row), tuple(value for _, row in cut for value in row)
