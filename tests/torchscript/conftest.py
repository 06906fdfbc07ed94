"""TorchScript files of every kind that detq recognises."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from detq.quantization.scripted import quiet_torchscript


@pytest.fixture(scope="session")
def toys() -> ModuleType:
    """The module `toys`: tests are no package, and TorchScript compiles from a module's source."""
    spec = importlib.util.spec_from_file_location("torchscript_toys", Path(__file__).parent / "toys.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def exported(toys, tmp_path_factory):
    """Files as Detectron2 would export them, by the name of the toy that they hold."""
    folder, found = tmp_path_factory.mktemp("exported"), {}
    with quiet_torchscript():
        for name in ("Scripted", "ScriptedList"):
            found[name] = torch.jit.script(getattr(toys, name)().eval())
        for name in ("Traced", "TracedBoxes"):
            image = torch.full((3, 96, 128), 200.0)
            found[name] = torch.jit.trace(getattr(toys, name)().eval(), (image,))
    for name, script in found.items():
        script.save(str(folder / f"{name}.ts"))
    return {name: folder / f"{name}.ts" for name in found}


@pytest.fixture(scope="session")
def torchvision_file(fp32_predictor, tmp_path_factory):
    """torchvision's detector as plain `torch.jit.script` makes it: it returns (losses, detections)."""
    path = tmp_path_factory.mktemp("torchvision") / "model.ts"
    with quiet_torchscript():
        torch.jit.script(fp32_predictor.module).save(str(path))
    return path


@pytest.fixture(scope="session")
def bgr() -> np.ndarray:
    """60 × 90 px, BGR: three bright blocks of 8 × 8 px, one of them of class 1, on black."""
    image = np.zeros((60, 90, 3), np.uint8)
    for top, left, blue, red in ((0, 0, 255, 0), (24, 40, 200, 255), (48, 80, 220, 0)):
        image[top : top + 8, left : left + 8, 0], image[top : top + 8, left : left + 8, 2] = blue, red
    return image
