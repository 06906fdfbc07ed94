"""Pictures of what a detector found against what is there: the 2024 report's Figure 1, for any image size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from detq.boxes import box_iou
from detq.report.labels import place_labels
from detq.report.mask_overlay import paint_masks
from detq.types import Detections, GroundTruth

__all__ = ["draw_overlay", "side_by_side"]

Pixels = NDArray[np.uint8]
Colour = tuple[int, int, int]

# Orange and blue stay apart for every kind of colour blindness, and neither is a colour of roads, sky or grass.
FOUND_COLOUR: Colour = (255, 138, 0)
REFERENCE_COLOUR: Colour = (0, 153, 255)
INK: Colour = (16, 16, 16)
PAPER: Colour = (250, 250, 250)

SMALLEST_LONG_SIDE_PX = 960
"""Smaller images are enlarged by a whole number to at least this, so that text next to a small box can be read."""

CROWD = 16
"""More labels than this on one picture are written smaller."""


@dataclass(frozen=True)
class _Pen:
    """Sizes in pixels that grow with the picture."""

    line: int
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont
    margin: int

    @classmethod
    def for_size(cls, width: int, height: int, labels: int = 0) -> _Pen:
        side = math.sqrt(width * height)
        # In a crowd smaller labels hide less of each other than they lose in size.
        font = ImageFont.load_default(max(11, round(side / (62 if labels <= CROWD else 78))))
        return cls(line=max(1, round(side / 520)), font=font, margin=max(2, round(side / 300)))

    def measure(self, text: str) -> tuple[float, float]:
        left, _, right, _ = self.font.getbbox(text)
        # The height of a line, not of these letters: labels of one picture are then all equally tall.
        _, top, _, bottom = self.font.getbbox("Ag|0")
        return right - left + 2 * self.margin, bottom - top + 2 * self.margin

    def write(self, draw: ImageDraw.ImageDraw, corner: tuple[float, float], text: str, colour: Colour) -> None:
        _, top, _, _ = self.font.getbbox("Ag|0")
        draw.text((corner[0] + self.margin, corner[1] + self.margin - top), text, font=self.font, fill=colour)


def draw_overlay(
    image: Pixels,
    found: Detections,
    reference: GroundTruth | Detections | None,
    classes: Sequence[str],
    *,
    score_threshold: float = 0.7,
    iou_threshold: float = 0.65,
    names: tuple[str, str] = ("prediction", "ground truth"),
    title: str = "",
) -> Pixels:
    """Draw detections over an image, each with its score and its largest IoU with the reference, and a legend below.

    A detection without a reference box of its class at `iou_threshold`, and a reference box that no detection finds,
    are dashed. Masks, where a side has them, are filled with its colour so that the object shows through, and outlined.

    Args:
        image: uint8 `(height, width, 3)`, RGB; it is not changed.
        found: detections; those below `score_threshold` are left out.
        reference: the annotations, another detector's detections, or None where there is nothing to compare with.
        classes: names that labels are indices into.
        score_threshold: smallest score drawn, in [0, 1]; it holds for a reference made of detections, too.
        iou_threshold: IoU from which on a detection counts as a match, in [0, 1].
        names: what the legend calls `found` and `reference`.
        title: first line of the legend, for example the image's name.

    Returns:
        uint8 RGB, enlarged by a whole factor where the image is small, and taller than it by the legend.
    """
    canvas, zoom = _enlarged(image)
    found = _confident(found, score_threshold)
    reference = _confident(reference, score_threshold) if isinstance(reference, Detections) else reference
    overlaps = _same_class_iou(found, reference)
    pen = _Pen.for_size(*canvas.size, labels=len(found))
    canvas = _with_masks(canvas, zoom, pen.line, (reference, REFERENCE_COLOUR), (found, FOUND_COLOUR))
    draw = ImageDraw.Draw(canvas, "RGBA")
    if reference is not None:
        missed = overlaps.max(axis=0, initial=0.0) < iou_threshold
        for box, dashed in zip(reference.boxes * zoom, missed, strict=True):
            _rectangle(draw, box, REFERENCE_COLOUR, pen.line * 2 + 1, dashed=bool(dashed))
    largest = overlaps.max(axis=1, initial=0.0)
    for box, overlap in zip(found.boxes * zoom, largest, strict=True):
        _rectangle(draw, box, FOUND_COLOUR, pen.line, dashed=reference is not None and overlap < iou_threshold)
    texts = _texts(found, largest if reference is not None else None, classes)
    _label(draw, pen, found.boxes * np.float32(zoom), texts, canvas.size)
    # The built-in font has no "≥" and no "–".
    note = f"dashed: no partner with IoU of {iou_threshold:g} or more"
    return _with_legend(
        canvas, pen, title, _entries(names, reference is not None), note if reference is not None else ""
    )


def _confident(found: Detections, threshold: float) -> Detections:
    kept = found[found.scores >= threshold]
    return kept[np.argsort(-kept.scores, kind="stable")]


def _same_class_iou(found: Detections, reference: GroundTruth | Detections | None) -> NDArray[np.float64]:
    if reference is None:
        return np.zeros((len(found), 0))
    same = found.labels[:, None] == reference.labels[None, :]
    return np.where(same, box_iou(found.boxes, reference.boxes), 0.0)


def _texts(found: Detections, largest: NDArray[np.float64] | None, classes: Sequence[str]) -> list[str]:
    texts = []
    for index, (score, label) in enumerate(zip(found.scores, found.labels, strict=True)):
        text = f"{score:.2f}" if len(classes) < 2 else f"{classes[int(label)]} {score:.2f}"
        if largest is not None:
            text += f" | {largest[index]:.2f}" if largest[index] > 0 else " | -"
        texts.append(text)
    return texts


def _enlarged(image: Pixels) -> tuple[Image.Image, int]:
    height, width = image.shape[:2]
    zoom = max(1, math.ceil(SMALLEST_LONG_SIDE_PX / max(width, height)))
    return Image.fromarray(image).resize((width * zoom, height * zoom), Image.Resampling.BICUBIC), zoom


def _with_masks(
    canvas: Image.Image, zoom: int, line: int, *sides: tuple[Detections | GroundTruth | None, Colour]
) -> Image.Image:
    picture = None
    for side, colour in sides:
        if side is not None and side.masks is not None and len(side):
            picture = np.array(canvas) if picture is None else picture
            width = line * 2 + 1 if colour is REFERENCE_COLOUR else line  # as wide as their frames
            paint_masks(picture, side.masks, colour, zoom=zoom, line=width)
    return canvas if picture is None else Image.fromarray(picture)


def _rectangle(draw: ImageDraw.ImageDraw, box: NDArray[np.float32], colour: Colour, line: int, *, dashed: bool) -> None:
    """Draw a frame with a dark rim: a bright line alone is lost on a bright sky."""
    x1, y1, x2, y2 = (float(value) for value in box)
    x2, y2 = max(x1, x2), max(y1, y2)
    draw.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=(0, 0, 0, 110), width=line + 2)
    if not dashed:
        draw.rectangle((x1, y1, x2, y2), outline=colour, width=line)
        return
    for start, end in (((x1, y1), (x2, y1)), ((x2, y1), (x2, y2)), ((x2, y2), (x1, y2)), ((x1, y2), (x1, y1))):
        _dashes(draw, start, end, colour, line)


def _dashes(
    draw: ImageDraw.ImageDraw, start: tuple[float, float], end: tuple[float, float], colour: Colour, line: int
) -> None:
    length = math.dist(start, end)
    count = max(2, round(length / (line * 8)))
    for number in range(count):
        first, last = number / count, (number + 0.55) / count
        points = [tuple(a + (b - a) * part for a, b in zip(start, end, strict=True)) for part in (first, last)]
        draw.line([(points[0][0], points[0][1]), (points[1][0], points[1][1])], fill=colour, width=line)


def _label(
    draw: ImageDraw.ImageDraw, pen: _Pen, boxes: NDArray[np.float32], texts: list[str], size: tuple[int, int]
) -> None:
    spots = place_labels(boxes, [pen.measure(text) for text in texts], *size)
    for spot, text in zip(spots, texts, strict=True):
        x1, y1, x2, y2 = (float(value) for value in spot)
        draw.rectangle((x1, y1, x2, y2), fill=(*FOUND_COLOUR, 235))
        pen.write(draw, (x1, y1), text, INK)


def _entries(names: tuple[str, str], compared: bool) -> list[tuple[Colour, str]]:
    entries = [(FOUND_COLOUR, f"{names[0]}: score | largest IoU" if compared else f"{names[0]}: score")]
    return [*entries, (REFERENCE_COLOUR, names[1])] if compared else entries


def _with_legend(canvas: Image.Image, pen: _Pen, title: str, entries: list[tuple[Colour, str]], note: str) -> Pixels:
    """Put the legend under the picture, where it hides nothing; it wraps where the picture is narrow."""
    swatch = pen.measure("0")[1]
    items: list[tuple[Colour | None, str]] = [*([(None, title)] if title else []), *entries]
    items += [(None, note)] if note else []
    spots, x, y = [], 0.0, 0.0
    for colour, text in items:
        width = pen.measure(text)[0] + (swatch if colour else 0) + 3 * pen.margin
        if x > 0 and x + width > canvas.width:
            x, y = 0.0, y + swatch
        spots.append((x, y))
        x += width
    page = Image.new("RGB", (canvas.width, canvas.height + math.ceil(y + swatch)), PAPER)
    page.paste(canvas, (0, 0))
    draw = ImageDraw.Draw(page)
    for (colour, text), (left, top) in zip(items, spots, strict=True):
        corner = (left + pen.margin, canvas.height + top)
        if colour is not None:
            inset = pen.margin
            draw.rectangle(
                (corner[0] + inset, corner[1] + inset, corner[0] + swatch - inset, corner[1] + swatch - inset),
                fill=colour,
                outline=INK,
            )
            corner = (corner[0] + swatch, corner[1])
        pen.write(draw, corner, text, INK)
    return np.asarray(page)


def side_by_side(panels: Sequence[Pixels]) -> Pixels:
    """Return pictures of one image next to each other, or below each other where that is closer to a square.

    Args:
        panels: uint8 RGB pictures, at least one; smaller ones are padded with paper.

    Returns:
        uint8 RGB.

    Raises:
        ValueError: there is no panel.
    """
    if not panels:
        raise ValueError("side_by_side needs at least one panel")
    height, width = (max(panel.shape[axis] for panel in panels) for axis in (0, 1))
    gap = max(2, width // 200)
    beside = width * len(panels) / height
    below = height * len(panels) / width
    across = max(beside, 1 / beside) <= max(below, 1 / below)
    step_x, step_y = (width + gap, 0) if across else (0, height + gap)
    last = len(panels) - 1
    page = np.full((height + step_y * last, width + step_x * last, 3), PAPER, np.uint8)
    for number, panel in enumerate(panels):
        top, left = number * step_y, number * step_x
        page[top : top + panel.shape[0], left : left + panel.shape[1]] = panel
    return page
