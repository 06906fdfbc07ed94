"""A user's own detector, `--model package.module:callable`."""

from __future__ import annotations

import re
import sys

import pytest
import torch

from detq.errors import UnknownNameError, UnsupportedError, WeightsError
from detq.models.own import build_own
from detq.models.weights import load_model, parse_weights
from detq.models.zoo import find_model

SOURCE = """
import torch
from torch import nn

class Detector(nn.Module):
    classes = ["car", "bus"]

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, images):
        return [{"boxes": torch.tensor([[1.0, 2.0, 30.0, 40.0]]) * self.scale, "scores": torch.tensor([0.9]),
                 "labels": torch.tensor([2])} for _ in images]

class Nameless(Detector):
    classes = None

class Wrong(Detector):
    def forward(self, images):
        return {"boxes": []}

class Broken(Detector):
    def forward(self, images):
        raise RuntimeError("no such layer")

def fails():
    raise ValueError("needs a licence")

def number():
    return 3

constant = 3
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A current folder with a module of detectors in it."""
    (tmp_path / "own_detectors.py").write_text(SOURCE, encoding="utf-8")
    (tmp_path / "own_broken.py").write_text("import not_installed_anywhere", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in ("own_detectors", "own_broken"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("here")
def test_a_detector_of_the_current_folder_is_built_and_brings_its_classes():
    """No packaging is needed to try one's own model, and the import path is left as it was."""
    spec = find_model("own_detectors:Detector")
    before = list(sys.path)
    loaded = load_model(spec, parse_weights(None, spec))
    assert sys.path == before
    assert loaded.classes == ("car", "bus")
    assert loaded.meaningful
    assert not loaded.module.training


def test_its_weights_may_come_from_a_file(here):
    """The callable builds the architecture, the file fills it."""
    torch.save({"scale": torch.tensor([2.0])}, here / "w.pth")
    spec = find_model("own_detectors:Detector")
    assert load_model(spec, parse_weights(str(here / "w.pth"), spec)).module.scale.item() == 2.0


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        ("own_missing:build", UnknownNameError, "no module named 'own_missing'"),
        ("own_broken:build", UnknownNameError, "no module named 'not_installed_anywhere'"),
        ("own_detectors:Missing", UnknownNameError, "found no 'Missing' there; correct what follows the colon"),
        ("own_detectors:", UnknownNameError, "found no 'name' there; correct what follows the colon"),
        ("own_detectors:constant", UnsupportedError, "expected a function or class, found int"),
        ("own_detectors:fails", UnsupportedError, "raised ValueError: needs a licence"),
        ("own_detectors:number", UnsupportedError, "expected it to return a torch.nn.Module, it returned int"),
        ("own_detectors:Wrong", UnsupportedError, "it returned dict"),
        ("own_detectors:Broken", UnsupportedError, "it raised RuntimeError: no such layer"),
    ],
)
def test_what_is_wrong_with_it_is_one_sentence(target, error, message):
    """The user wrote the code; the message says where it departs from torchvision's interface."""
    with pytest.raises(error, match=re.escape(message)) as raised:
        build_own(target)
    assert "\n" not in str(raised.value)


@pytest.mark.usefixtures("here")
def test_labels_without_names_ask_for_them():
    """Model and data set meet by name, so a detector without names needs --classes."""
    spec = find_model("own_detectors:Nameless")
    with pytest.raises(WeightsError, match="--classes"):
        load_model(spec, parse_weights(None, spec))
    assert load_model(spec, parse_weights(None, spec), ["a", "b"]).classes == ("a", "b")


@pytest.mark.usefixtures("here")
def test_random_weights_for_it_are_refused():
    """detq cannot know how to make them."""
    spec = find_model("own_detectors:Detector")
    with pytest.raises(WeightsError, match="brings its own weights"):
        load_model(spec, parse_weights("random", spec))
