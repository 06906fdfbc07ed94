"""How good the trained detector is on the validation sets, beside what it was trained from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from detq.datasets.base import Dataset
from detq.errors import DataError
from detq.metrics.evaluate import evaluate
from detq.predictor import as_detections
from detq.tensors import as_tensor
from detq.training.progress import TrainProgress
from detq.types import Detections, GroundTruth, select_classes

__all__ = ["TRAINED", "UNTUNED", "Judged", "validate"]

TRAINED = "trained"
UNTUNED = "untuned"


@dataclass(frozen=True)
class Judged:
    """A detector to validate.

    Attributes:
        module: torchvision's, in eval mode on the CPU.
        classes: its class names, label k is `classes[k - 1]`.
        masks: judge its masks too, where it and the data have them.
    """

    module: nn.Module
    classes: Sequence[str]
    masks: bool = True


def validate(
    models: Mapping[str, Judged], data: Dataset, *, limit: int | None, progress: TrainProgress
) -> dict[str, dict[str, Any]]:
    """Return the accuracy of each model on `data` in fp32: entries of `detq.metrics.evaluate`.

    Args:
        models: `TRAINED`, whose classes are those to evaluate, and perhaps `UNTUNED`, which it is compared with.
        data: a labelled data set.
        limit: how many images to use, spread evenly over the set; None for all.
        progress: told about each image.
    """
    classes = models[TRAINED].classes
    total = len(data) if limit is None else min(limit, len(data))
    data.masks = data.has_masks and any(_has_masks(model) for model in models.values())
    found: dict[str, list[Detections]] = {name: [] for name in models}
    truths: list[GroundTruth] = []
    for number in range(total):
        sample = data.load(number * len(data) // total)
        if sample.target is None:
            raise DataError(f"--val {data.name}: {sample.image_id} has no labels; validation needs a labelled data set")
        pixels = as_tensor(sample.image)
        for name, model in models.items():
            with torch.inference_mode():
                (answer,) = model.module([pixels])
            detections = as_detections(answer, sample.image.shape[:2], masks=model.masks)
            found[name].append(select_classes(detections, model.classes, classes).compact())
        truths.append(select_classes(sample.target, data.classes, classes).compact())
        progress.count(f"validating on {data.name}", number + 1, total)
    progress.end_stage()
    return evaluate(found, truths, classes, reference=UNTUNED)


def _has_masks(model: Judged) -> bool:
    ask: Any = getattr(getattr(model.module, "roi_heads", None), "has_mask", None)
    return model.masks and callable(ask) and bool(ask())
