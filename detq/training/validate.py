"""How good the trained detector is on the validation sets."""

from __future__ import annotations

from collections.abc import Sequence
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

__all__ = ["validate"]


def validate(
    module: nn.Module, classes: Sequence[str], data: Dataset, *, limit: int | None, progress: TrainProgress
) -> dict[str, Any]:
    """Return the accuracy of `module` on `data` in fp32: the entry of `detq.metrics.evaluate` for one variant.

    Args:
        module: a torchvision detector in eval mode on the CPU.
        classes: its class names, label k is `classes[k - 1]`.
        data: a labelled data set.
        limit: how many images to use, spread evenly over the set; None for all.
        progress: told about each image.
    """
    total = len(data) if limit is None else min(limit, len(data))
    found: list[Detections] = []
    truths: list[GroundTruth] = []
    for number in range(total):
        sample = data.load(number * len(data) // total)
        if sample.target is None:
            raise DataError(f"--val {data.name}: {sample.image_id} has no labels; validation needs a labelled data set")
        with torch.inference_mode():
            (answer,) = module([as_tensor(sample.image)])
        found.append(as_detections(answer))
        truths.append(select_classes(sample.target, data.classes, classes))
        progress.count(f"validating on {data.name}", number + 1, total)
    progress.end_stage()
    accuracy: dict[str, Any] = evaluate({"trained": found}, truths, classes, reference="trained")["trained"]
    accuracy.pop("difference")
    return accuracy
