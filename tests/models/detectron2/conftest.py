"""Detectron2's seeded detector: tensors that any program can compute, and what Detectron2 itself found with them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

CONFIG = "mask_rcnn_R_50_FPN_3x"


@pytest.fixture(scope="session")
def seeded(shared: Path) -> dict[str, np.ndarray]:
    """All tensors by Detectron2's names. Do not change them."""
    path = shared / "detectron2" / "seeded_state_dict.py"
    spec = importlib.util.spec_from_file_location("seeded_state_dict", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.state_dict()


@pytest.fixture(scope="session")
def imported(seeded, tmp_path_factory):
    """The seeded checkpoint, saved as Detectron2's trainer saves it and imported; the weights' path."""
    from detq.models.detectron2.importing import import_checkpoint

    folder = tmp_path_factory.mktemp("imported")
    checkpoint, out = folder / "model_final.pth", folder / "weights.safetensors"
    content = {"model": {name: torch.from_numpy(value) for name, value in seeded.items()}, "iteration": 269999}
    torch.save(content | {"optimizer": {"param_groups": [{"lr": 0.02}]}}, checkpoint)
    import_checkpoint(checkpoint, CONFIG, out)
    checkpoint.unlink()
    yield out
    out.unlink()  # pytest keeps folders of several runs, and this is large


@pytest.fixture
def payload(tmp_path):
    """An object whose pickle writes a file when it is read, and that file's path."""
    target = tmp_path / "written-by-the-payload"

    class Payload:
        def __reduce__(self):
            import os

            return os.system, (f"touch {target}",)

    return Payload(), target
