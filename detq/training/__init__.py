"""Training: any torchvision zoo model on any data set that detq opens, resumable bit for bit.

`train(TrainConfig(...))` is the whole of it. From data to a model card: `data` orders, loads and augments images,
`start` loads the weights, `loop` takes the steps and writes `checkpoint`s, `validate` measures and `card` records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from detq.training.config import SourceSpec, TrainConfig, parse_source

if TYPE_CHECKING:
    from detq.training.session import train

__all__ = ["SourceSpec", "TrainConfig", "parse_source", "train"]


def __getattr__(name: str) -> Any:
    if name != "train":
        raise AttributeError(f"module 'detq.training' has no attribute {name!r}")
    # torch is loaded when a training is wanted, not when its arguments are read.
    import importlib

    return importlib.import_module("detq.training.session").train
