"""The model card: what was trained, on what, how, and how well. It names no host, user or folder."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import detq
from detq.measure.environment import environment
from detq.training.augment import DESCRIPTION
from detq.training.config import TrainConfig
from detq.training.data import Source
from detq.training.freeze import describe_freeze
from detq.training.precision import Compute
from detq.training.schedule import FLOOR
from detq.training.start import Start

__all__ = ["FORMAT", "describe_software", "describe_sources", "describe_start", "describe_training", "public_name"]

FORMAT = "detq-model/1"


def public_name(location: str) -> str:
    """Return how to name a data set in a file that is shared: the last two folders of its path, and its query.

    >>> public_name("/home/me/data/dawn/train?map=car=1,2")
    'dawn/train?map=car=1,2'
    >>> public_name("synthetic:traffic?n=20&seed=3")
    'synthetic:traffic?n=20&seed=3'
    """
    path, mark, query = location.partition("?")
    if not path.startswith("synthetic:"):
        parts = [part for part in Path(path).parts if part not in {"/", "..", ".", "~"}]
        path = "/".join(parts[-2:]) or "data"
    # A list of class names may be a file's path.
    return path + mark + re.sub(r"(?<==)[^&=]*/", "", query)


def describe_sources(sources: Sequence[Source]) -> list[dict[str, Any]]:
    """Return name, size and identity of each data set."""
    return [
        {
            "name": public_name(source.data.name),
            "images": len(source.data),
            "repeat": source.repeat,
            "identity": source.data.identity(),
        }
        for source in sources
    ]


def describe_start(start: Start) -> dict[str, Any]:
    """Return where the training's first parameters came from."""
    return {
        "source": start.source.describe(),
        "sha256": start.sha256,
        "random_parts": start.fresh or None,
    }


def describe_training(config: TrainConfig, *, steps: int, images: int, short_sides: Sequence[int]) -> dict[str, Any]:
    """Return what decides the result beside data and start.

    Args:
        config: what was asked for.
        steps: in all.
        images: in an epoch.
        short_sides: see `Loop`.
    """
    return {
        "steps": steps,
        "epochs": round(steps * config.batch_size / images, 3),
        "batch_size": config.batch_size,
        "optimizer": f"AdamW, {describe_freeze(config)}, FrozenBatchNorm2d fixed",
        "learning_rate": config.learning_rate,
        "schedule": f"linear warm-up of {config.warmup_steps} steps, then cosine to {FLOOR:g} of the rate",
        "weight_decay": config.weight_decay,
        "gradient_clipping": config.clip_norm,
        "rois_per_image": config.rois_per_image,
        "short_sides_px": list(short_sides),
        "augmentations": list(DESCRIPTION) if config.augment else [],
        "seed": config.seed,
    }


def describe_software(compute: Compute, threads: int) -> dict[str, Any]:
    """Return the versions and the kind of processor."""
    found: Mapping[str, Any] = environment(threads)
    cpu = found["cpu"]
    return {
        "detq": detq.__version__,
        "torch": metadata.version("torch"),
        "torchvision": metadata.version("torchvision"),
        "device": compute.device,
        "cpu": {key: cpu.get(key) for key in ("vendor", "family", "model", "stepping", "name")},
        "threads": threads,
        "precision": asdict(compute)["precision"],
        "precision_reason": compute.why,
    }
