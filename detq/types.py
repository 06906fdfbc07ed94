"""The three structures that flow through detq: `Detections`, `GroundTruth` and `Sample`.

Each is a struct of arrays, validated when it is made. Labels are int64 indices into a tuple of class names, from 0 and
without a background class: torchvision's "label 1 is the first class" stops at the predictor, COCO's category ids stop
at the reader.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from detq.boxes import as_boxes, box_area
from detq.masks import Masks, RleMasks, as_rle, full_size

__all__ = ["Detections", "GroundTruth", "Sample", "select_classes"]

AnyMasks = NDArray[np.bool_] | Masks


def _vector(name: str, values: object, dtype: type, length: int) -> NDArray[Any]:
    array: NDArray[Any] = np.asarray(values, dtype=dtype)
    if array.shape != (length,):
        raise ValueError(f"{name} must have shape ({length},) to go with {length} boxes, got {array.shape}")
    return array


def _masks(masks: object, length: int) -> AnyMasks | None:
    if masks is None:
        return None
    if isinstance(masks, Masks):
        if len(masks) != length:
            raise ValueError(f"masks must be {length} to go with {length} boxes, got {len(masks)}")
        return masks
    array = np.asarray(masks, dtype=np.bool_)
    if array.ndim != 3 or len(array) != length:
        raise ValueError(
            f"masks must have shape ({length}, height, width) to go with {length} boxes, got {array.shape}"
        )
    return array


@dataclass(frozen=True, eq=False)
class Detections:
    """What a detector found in one image, best score first or in any order.

    Attributes:
        boxes: float32 `(N, 4)`, xyxy, pixels of the upright image.
        scores: float32 `(N,)`, in [0, 1].
        labels: int64 `(N,)`, indices into the class names that go with it.
        masks: bool `(N, height, width)` or `detq.masks.Masks`, which stay small; None for a detector without masks.
            `detq.masks.full_size(masks)` gives the array of either.
        image_size: (height, width) of the image in pixels, or None where nobody said.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    masks: AnyMasks | None = None
    image_size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        boxes = as_boxes(self.boxes)
        object.__setattr__(self, "boxes", boxes)
        object.__setattr__(self, "scores", _vector("scores", self.scores, np.float32, len(boxes)))
        object.__setattr__(self, "labels", _vector("labels", self.labels, np.int64, len(boxes)))
        object.__setattr__(self, "masks", _masks(self.masks, len(boxes)))

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, keep: NDArray[Any] | slice) -> Detections:
        """Return the detections that an index array, boolean mask or slice selects."""
        masks = None if self.masks is None else self.masks[keep]
        return Detections(self.boxes[keep], self.scores[keep], self.labels[keep], masks, self.image_size)

    def to_instances_dict(self) -> dict[str, Any]:
        """Return the fields of Detectron2's `Instances` under their names.

        Returns:
            "pred_boxes" float32 `(N, 4)`, "scores" float32 `(N,)`, "pred_classes" int64 `(N,)`, "pred_masks" bool
            `(N, height, width)` if there are masks, and "image_size" (height, width) if it is known.
        """
        fields: dict[str, Any] = {"pred_boxes": self.boxes, "scores": self.scores, "pred_classes": self.labels}
        if self.masks is not None:
            fields["pred_masks"] = full_size(self.masks)
        if self.image_size is not None:
            fields["image_size"] = self.image_size
        return fields

    def compact(self) -> Detections:
        """Return them with masks as run lengths, which take kilobytes where full-size masks take gigabytes."""
        return _compact(self)

    @classmethod
    def empty(cls) -> Detections:
        """Return no detections."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """The annotated objects of one image.

    Attributes:
        boxes: float32 `(N, 4)`, xyxy, pixels of the upright image.
        labels: int64 `(N,)`, indices into the data set's `classes`.
        crowd: bool `(N,)`: COCO's `iscrowd`, a region that detections may match any number of times or not at all.
            All False by default.
        areas_px: float64 `(N,)`: the area that decides an object's size class in COCO's metrics (the polygon's, where
            there is one). The box's by default.
        masks: bool `(N, height, width)` or `detq.masks.Masks`; None where the data set has none or did not read them.
    """

    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    crowd: NDArray[np.bool_] = None  # type: ignore[assignment]  # None stands for the default above
    areas_px: NDArray[np.float64] = None  # type: ignore[assignment]
    masks: AnyMasks | None = None

    def __post_init__(self) -> None:
        boxes = as_boxes(self.boxes)
        crowd = np.zeros(len(boxes), np.bool_) if self.crowd is None else self.crowd
        areas = box_area(boxes) if self.areas_px is None else self.areas_px
        object.__setattr__(self, "boxes", boxes)
        object.__setattr__(self, "labels", _vector("labels", self.labels, np.int64, len(boxes)))
        object.__setattr__(self, "crowd", _vector("crowd", crowd, np.bool_, len(boxes)))
        object.__setattr__(self, "areas_px", _vector("areas_px", areas, np.float64, len(boxes)))
        object.__setattr__(self, "masks", _masks(self.masks, len(boxes)))

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, keep: NDArray[Any] | slice) -> GroundTruth:
        """Return the objects that an index array, boolean mask or slice selects."""
        masks = None if self.masks is None else self.masks[keep]
        return GroundTruth(self.boxes[keep], self.labels[keep], self.crowd[keep], self.areas_px[keep], masks)

    def compact(self) -> GroundTruth:
        """Return them with masks as run lengths, which take kilobytes where full-size masks take gigabytes."""
        return _compact(self)

    @classmethod
    def empty(cls) -> GroundTruth:
        """Return an image without objects: background."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.int64))


@dataclass(frozen=True, eq=False)
class Sample:
    """One image with what is known about it.

    Attributes:
        image_id: unique in its data set and stable between runs: the path below the images' folder, or the
            synthetic scene's name. Predictions refer to it.
        image: uint8 `(height, width, 3)`, RGB, upright (EXIF rotation applied).
        target: the annotations, or None for an image that has none.
    """

    image_id: str
    image: NDArray[np.uint8]
    target: GroundTruth | None = None

    def __post_init__(self) -> None:
        if self.image.dtype != np.uint8 or self.image.ndim != 3 or self.image.shape[2] != 3:
            raise ValueError(f"image must be uint8 (height, width, 3), got {self.image.dtype} {self.image.shape}")

    @property
    def height(self) -> int:
        """Pixels from top to bottom."""
        return int(self.image.shape[0])

    @property
    def width(self) -> int:
        """Pixels from left to right."""
        return int(self.image.shape[1])


Found = TypeVar("Found", Detections, GroundTruth)


def _compact(found: Found) -> Found:
    if found.masks is None or isinstance(found.masks, RleMasks):
        return found
    size = found.masks.size if isinstance(found.masks, Masks) else found.masks.shape[1:]
    return replace(found, masks=RleMasks(as_rle(found.masks), size))


def select_classes(found: Found, classes: Sequence[str], wanted: Sequence[str]) -> Found:
    """Return the part of `found` whose class is in `wanted`, relabelled to indices into `wanted`.

    Models and data sets number their classes differently; they meet by name. Classes that only one side knows drop out.

    Args:
        found: detections or ground truth whose labels are indices into `classes`.
        classes: the names that `found` was made with.
        wanted: the names to keep, in the order to number them by.
    """
    numbers = {name: number for number, name in enumerate(wanted)}
    table = np.asarray([numbers.get(name, -1) for name in classes] or [-1], np.int64)
    labels = table[found.labels] if len(found) else found.labels
    kept = found[labels >= 0]
    return replace(kept, labels=labels[labels >= 0])
