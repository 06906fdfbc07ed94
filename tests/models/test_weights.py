"""Weights from every source, and every way in which they can be wrong."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import re

import pytest
import torch
from safetensors.torch import save_file

from detq.errors import WeightsError
from detq.models.build import build_module, norm_eps, set_norm_eps
from detq.models.state import count_classes, read_state, save_state
from detq.models.weights import WeightsSource, load_model, parse_weights
from detq.models.zoo import MODELS, find_model
from detq.tensors import as_tensor

FPN = find_model("fasterrcnn_mobilenet_v3_large_fpn")
SMALL = find_model("fasterrcnn_mobilenet_v3_large_320_fpn")
SSDLITE = find_model("ssdlite320_mobilenet_v3_large")


@pytest.fixture(scope="module")
def ssdlite():
    """The smallest detector, with two classes of objects."""
    return build_module(SSDLITE, 3, seed=1)


def _file(path) -> WeightsSource:
    return WeightsSource("file", path=str(path))


@pytest.mark.parametrize(
    ("text", "spec", "kind"),
    [
        (None, FPN, "packaged"),
        (None, SMALL, "packaged"),
        (None, SSDLITE, "coco"),
        (None, find_model("pkg:build"), "own"),
        ("COCO_V1", FPN, "coco"),
        ("coco", FPN, "coco"),
        ("random", FPN, "random"),
        ("model.safetensors", FPN, "file"),
    ],
)
def test_weights_mean_what_the_user_typed(text, spec, kind):
    """By default the packaged checkpoint where there is one, else COCO; a user's own detector brings its own."""
    assert parse_weights(text, spec, seed=7).kind == kind


def test_packaged_weights_of_a_model_without_any_are_refused():
    """The message says what to use instead."""
    with pytest.raises(WeightsError, match="no checkpoint for ssdlite320_mobilenet_v3_large"):
        parse_weights("packaged", SSDLITE)


def test_random_weights_say_that_they_are_for_timing_only():
    """Every output repeats it, so nobody takes their accuracy for one."""
    source = parse_weights("random", SSDLITE, seed=5)
    loaded = load_model(SSDLITE, source)
    assert not loaded.meaningful
    assert source.describe() == "random (seed 5): for timing only"
    assert len(loaded.classes) == 90


def test_random_weights_can_find_as_many_objects_as_asked_for(noise):
    """And say so: how long heads and masks take depends on it."""
    spec = find_model("maskrcnn_mobilenet_v3_large_fpn")
    source = parse_weights("random:7", spec, seed=3)
    assert source.describe() == "random (seed 3), 7 detections planted: for timing only"
    loaded = load_model(spec, source)
    loaded.module.transform.min_size, loaded.module.transform.max_size = (160,), 240
    with torch.inference_mode():
        (found,) = loaded.module([as_tensor(noise)])
    assert len(found["boxes"]) == 7
    assert not loaded.meaningful


@pytest.mark.parametrize(
    ("text", "spec", "expected"),
    [
        ("random:0", FPN, "random:0: expected a number of detections from 1 to 1000"),
        ("random:many", FPN, "random:many: expected a number of detections"),
        ("random:20", SSDLITE, "ssdlite320_mobilenet_v3_large has no box head to plant detections in; use random"),
    ],
)
def test_a_number_of_objects_that_cannot_be_planted_is_a_sentence(text, spec, expected):
    """No number, or a one-stage detector."""
    with pytest.raises(WeightsError, match=expected):
        parse_weights(text, spec)


@pytest.mark.parametrize("name", ["state.pth", "state.safetensors"])
def test_a_state_dict_is_read_back(name, ssdlite, tmp_path):
    """Both formats give the module its parameters, and the names come from --classes."""
    path = tmp_path / name
    if path.suffix == ".pth":
        torch.save(ssdlite.state_dict(), path)
    else:
        save_file(ssdlite.state_dict(), path)
    loaded = load_model(SSDLITE, _file(path), ["car", "bus"])
    assert loaded.classes == ("car", "bus")
    assert all(torch.equal(value, loaded.module.state_dict()[key]) for key, value in ssdlite.state_dict().items())


def test_a_training_scripts_checkpoint_is_unwrapped(ssdlite, tmp_path):
    """torchvision's reference scripts save the state dict under "model", beside the optimizer's."""
    torch.save({"model": ssdlite.state_dict(), "epoch": 3}, tmp_path / "checkpoint.pth")
    assert load_model(SSDLITE, _file(tmp_path / "checkpoint.pth"), ["a", "b"]).classes == ("a", "b")


def test_a_saved_detector_brings_its_names_and_comes_back_in_fp32(tmp_path):
    """Half-precision files are half as large; the module computes in fp32, with the norm layers' own eps."""
    module = build_module(SMALL, 3, seed=2)
    set_norm_eps(module, 0.0)
    save_state(tmp_path / "w.safetensors", module, ["car", "bus"], SMALL.name, half=True)
    loaded = load_model(SMALL, _file(tmp_path / "w.safetensors"))
    assert loaded.classes == ("car", "bus")
    assert norm_eps(loaded.module) == 0.0
    assert {value.dtype for value in loaded.module.parameters()} == {torch.float32}
    for key, value in module.state_dict().items():
        torch.testing.assert_close(loaded.module.state_dict()[key], value, rtol=1e-3, atol=1e-6)
    assert (tmp_path / "w.safetensors").stat().st_size < 0.51 * 4 * sum(v.numel() for v in module.state_dict().values())


def test_names_come_from_the_model_card_beside_the_file(ssdlite, tmp_path):
    """A model card is what `detq train` writes beside its weights."""
    save_file(ssdlite.state_dict(), tmp_path / "w.safetensors")
    (tmp_path / "w.json").write_text(json.dumps({"classes": ["car", "bus"]}), encoding="utf-8")
    assert load_model(SSDLITE, _file(tmp_path / "w.safetensors")).classes == ("car", "bus")


def test_parameters_trained_with_batch_norm_fit_the_frozen_backbone(tmp_path):
    """torchvision's untrained builds have BatchNorm2d, whose files count batches; in eval mode it is the same."""
    from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn

    trained = fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None, num_classes=2).eval()
    torch.save(trained.state_dict(), tmp_path / "w.pth")
    ours = load_model(SMALL, _file(tmp_path / "w.pth"), ["car"]).module
    image = torch.rand(3, 64, 96)
    with torch.inference_mode():
        (expected,), (found,) = trained([image]), ours([image])
    torch.testing.assert_close(found["boxes"], expected["boxes"], rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("spec", MODELS, ids=lambda spec: spec.name)
def test_the_class_count_is_read_from_the_predictor(spec):
    """One-stage heads have a row for each class and anchor."""
    with torch.device("meta"):
        module = build_module(spec, 7)
    assert count_classes(module.state_dict(), spec) == 7


def test_weights_of_another_model_say_which_one_they_are_for(ssdlite, tmp_path):
    """The differences are grouped by part, and the file's own model and class count are named."""
    torch.save(ssdlite.state_dict(), tmp_path / "w.pth")
    with pytest.raises(WeightsError) as error:
        load_model(SMALL, _file(tmp_path / "w.pth"), ["car"])
    message = str(error.value)
    assert "missing (backbone.body" in message
    assert "not in the model (backbone.extra" in message
    assert "--model ssdlite320_mobilenet_v3_large, classes besides background: 2" in message
    assert "\n" not in message


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_parameters_that_are_not_finite_are_refused(value, ssdlite, tmp_path):
    """Such a detector finds nothing, and its run would say so with a straight face."""
    state = {key: tensor.clone() for key, tensor in ssdlite.state_dict().items()}
    next(tensor for tensor in state.values() if tensor.is_floating_point()).view(-1)[0] = value
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"found NaN or infinity in 1 of \d+ tensors \(backbone\.features 1\)"):
        load_model(SSDLITE, _file(tmp_path / "w.safetensors"), ["car", "bus"])


def test_weights_of_no_known_model_say_so(tmp_path):
    """A classifier's checkpoint, for example."""
    torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="fits no model"):
        load_model(SSDLITE, _file(tmp_path / "w.pth"), ["car"])


@pytest.mark.parametrize(
    ("classes", "expected"),
    [(None, "has 2 classes and no names"), (["car"], "expected 2 class names"), (["a", "b", "c"], "got 3 (a, b, c)")],
)
def test_names_must_go_with_the_predictors_classes(classes, expected, ssdlite, tmp_path):
    """A wrong number of names is a mistake even where some labels would still have one."""
    torch.save(ssdlite.state_dict(), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=re.escape(expected)):
        load_model(SSDLITE, _file(tmp_path / "w.pth"), classes)


def test_random_weights_have_as_many_classes_as_are_named():
    """Timing depends on the predictor's size, so it can be that of the model to come."""
    loaded = load_model(SSDLITE, parse_weights("random", SSDLITE), ["car", "bus"])
    assert loaded.classes == ("car", "bus")
    assert count_classes(loaded.module.state_dict(), SSDLITE) == 3


class _Malicious:
    def __reduce__(self):
        return os.system, ("echo harm",)


def test_a_pickle_that_would_execute_code_is_refused(tmp_path):
    """Weights come from strangers; reading them must run nothing of theirs."""
    torch.save({"weight": _Malicious()}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"w\.pth: refused, because reading it would execute code"):
        read_state(tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("w.pth", b""),
        ("w.pth", b"not a zip"),
        ("w.pth", b"PK\x03\x04 cut off"),
        ("w.safetensors", b""),
        ("w.safetensors", b"\x08\x00\x00\x00\x00\x00\x00\x00{"),
    ],
)
def test_a_damaged_file_is_one_sentence(name, content, tmp_path):
    """Zero bytes, text, and files that end early are told apart from a wrong architecture."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=re.escape(name)) as error:
        read_state(tmp_path / name)
    assert "\n" not in str(error.value)


def test_a_whole_saved_tensor_is_no_state_dict(tmp_path):
    """The message says how to save one."""
    torch.save(torch.zeros(3), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"expected a state dict .* found Tensor"):
        read_state(tmp_path / "w.pth")


@pytest.mark.parametrize("make", ["nothing", "a folder"])
def test_a_path_without_a_file_says_what_is_there(make, tmp_path):
    """A folder is a common slip of the completion key."""
    path = tmp_path / "w.pth"
    if make == "a folder":
        path.mkdir()
    with pytest.raises(WeightsError, match=f"found {make}"):
        read_state(path)


def test_metadata_that_detq_did_not_write_is_named(ssdlite, tmp_path):
    """Another program may use the same key for something else."""
    save_file(ssdlite.state_dict(), tmp_path / "w.safetensors", metadata={"classes": "car, bus"})
    with pytest.raises(WeightsError, match="metadata"):
        read_state(tmp_path / "w.safetensors")


def test_without_network_and_cache_the_message_says_which_file_to_put_where(tmp_path, monkeypatch):
    """One sentence instead of urllib's traceback."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # the discard port: nobody listens
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(WeightsError) as error:
        load_model(SSDLITE, parse_weights("coco", SSDLITE))
    message = str(error.value)
    assert f"put that file at {tmp_path}/hub/checkpoints/ssdlite320_mobilenet_v3_large_coco-a79551df.pth" in message
    assert "--weights FILE" in message
    assert "\n" not in message


def test_a_model_without_pretrained_weights_says_so():
    """torchvision has the parts of this one, but never trained it."""
    spec = find_model("maskrcnn_mobilenet_v3_large_fpn")
    with pytest.raises(
        WeightsError, match="torchvision has no pretrained maskrcnn_mobilenet_v3_large_fpn; give a file"
    ):
        load_model(spec, parse_weights("coco", spec))


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 cut off"])
def test_a_damaged_file_in_torchvisions_cache_is_one_sentence(content, tmp_path, monkeypatch):
    """A download that was cut off stays in the cache; the message says which file to replace."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cached = tmp_path / "hub" / "checkpoints" / "ssdlite320_mobilenet_v3_large_coco-a79551df.pth"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(content)
    with pytest.raises(WeightsError, match=re.escape(f"put that file at {cached}")) as error:
        load_model(SSDLITE, parse_weights("coco", SSDLITE))
    assert "\n" not in str(error.value)


def test_a_packaged_checkpoint_that_is_missing_is_one_sentence(tmp_path):
    """A broken installation is not a traceback."""
    with pytest.raises(WeightsError, match="not in this installation"):
        load_model(FPN, WeightsSource("packaged", path=str(tmp_path / "car.safetensors")))


def test_a_packaged_mask_head_that_is_missing_is_named(tmp_path):
    """The car detector alone is there, which is not enough for masks."""
    spec = find_model("maskrcnn_mobilenet_v3_large_fpn")
    source = parse_weights(None, spec)
    assert source.describe() == f"packaged: {spec.checkpoint} + {spec.mask_checkpoint}"
    broken = dataclasses.replace(source, mask_path=str(tmp_path / "head.safetensors"))
    with pytest.raises(WeightsError, match=r"head\.safetensors is not in this installation"):
        load_model(spec, broken)


def test_weights_are_hashed_by_what_is_in_the_file(tmp_path):
    """A copy under another name is the same weights; without a file there is nothing to hash."""
    path = tmp_path / "w.pth"
    path.write_bytes(b"weights")
    assert WeightsSource("file", str(path)).hash_path() == hashlib.sha256(b"weights").hexdigest()
    assert WeightsSource("random", seed=0).hash_path() is None
