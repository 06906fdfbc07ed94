"""Importing: a Detectron2 checkpoint and its config in, a detq weights file and its model card out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import detq
from detq.errors import OutputError, WeightsError
from detq.files import file_sha256, write_json
from detq.models.build import coco_classes
from detq.models.detectron2.checkpoint import read_checkpoint
from detq.models.detectron2.convert import convert, fit_classes
from detq.models.detectron2.options import ZOO
from detq.models.detectron2.read_config import read_config
from detq.models.state import save_state
from detq.models.zoo import find_model

__all__ = ["Imported", "import_checkpoint"]


@dataclass(frozen=True)
class Imported:
    """What an import made.

    Attributes:
        model: the zoo's name of the detector.
        classes: their names; label k is `classes[k - 1]`.
        weights: the safetensors file.
        card: the model card beside it.
    """

    model: str
    classes: tuple[str, ...]
    weights: Path
    card: Path


def import_checkpoint(
    checkpoint: Path, config: str, out: Path, *, classes: Sequence[str] | None = None, overwrite: bool = False
) -> Imported:
    """Write what `detq run --weights` reads: the parameters with the config and the class names in their metadata.

    Args:
        checkpoint: see `read_checkpoint`.
        config: see `read_config`. A config of the model zoo takes the number of classes from the checkpoint.
        out: a path that ends in `.safetensors`.
        classes: names, in the order of Detectron2's class numbers; COCO's for 80 classes by default.
        overwrite: replace files that exist.

    Raises:
        DetqError: the config, the checkpoint or the names cannot be used, or a file exists; nothing is written then.
    """
    card = out.with_suffix(".json")
    if out.suffix != ".safetensors":
        raise OutputError(f"--out {out}: expected a path that ends in .safetensors")
    for path in (out, card):
        if path.exists() and not overwrite:
            raise OutputError(f"{path} exists; add --overwrite to replace it, or choose another --out")
    chosen = read_config(config)
    tensors = read_checkpoint(checkpoint)
    if chosen.name in ZOO:
        chosen = fit_classes(chosen, tensors)
    module = convert(checkpoint, tensors, chosen)
    names = _names(checkpoint, chosen.num_classes, classes, coco_classes(find_model(chosen.model)))
    save_state(out, module, names, chosen.model)
    write_json(
        card,
        {
            "format": "detq-model/1",
            "model": chosen.model,
            "classes": list(names),
            "imported": {
                "from": "Detectron2",
                "checkpoint": checkpoint.name,
                "sha256": file_sha256(checkpoint),
                "config": json.loads(chosen.to_json()),
            },
            "weights": {"file": out.name, "dtype": "float32", "sha256": file_sha256(out)},
            "software": {"detq": detq.__version__},
        },
    )
    return Imported(chosen.model, names, out, card)


def _names(checkpoint: Path, count: int, names: Sequence[str] | None, coco: tuple[str, ...]) -> tuple[str, ...]:
    if names is None and count == len(coco):
        return coco
    if names is None or len(names) != count:
        found = "none" if names is None else f"{len(names)} ({', '.join(names[:5])})"
        raise WeightsError(
            f"--classes: expected the names of the {count} class{'es' * (count > 1)} of {checkpoint}, got {found}; "
            "name them in the order of Detectron2's thing_classes"
        )
    return tuple(names)
