"""What a training starts from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torchvision.ops import FrozenBatchNorm2d

from detq.errors import WeightsError
from detq.models.build import build_module
from detq.models.state import save_state
from detq.models.zoo import find_model
from detq.training import SourceSpec, TrainConfig
from detq.training.start import load_start, load_untuned

SPEC = find_model("fasterrcnn_mobilenet_v3_large_320_fpn")


def _config(weights, **more):
    return TrainConfig(model=SPEC.name, data=(SourceSpec("x"),), out=Path("out"), steps=1, weights=str(weights), **more)


@pytest.fixture(scope="module")
def two_classes(tmp_path_factory):
    """A file of weights for cars and buses."""
    path = tmp_path_factory.mktemp("weights") / "two.safetensors"
    save_state(path, build_module(SPEC, 3, seed=5), ("car", "bus"), SPEC.name)
    return path


def test_weights_for_the_data_s_classes_keep_their_order_and_every_layer_learns(two_classes):
    """Model and data meet by name, and torchvision's frozen lower layers are thawed."""
    start = load_start(_config(two_classes), SPEC, ("bus", "car"))
    assert start.classes == ("car", "bus")
    assert start.fresh == ""
    assert all(parameter.requires_grad for parameter in start.module.parameters())
    assert len(start.sha256) == 64


def test_weights_for_other_classes_are_refused_unless_a_new_predictor_is_asked_for(two_classes):
    """The sentence names both; then only the predictor is new."""
    with pytest.raises(WeightsError, match=r"data's classes \(dog\), its own are car, bus; .*--new-predictor"):
        load_start(_config(two_classes), SPEC, ("dog",))
    start = load_start(_config(two_classes, new_predictor=True), SPEC, ("dog",))
    old, new = build_module(SPEC, 3, seed=5).state_dict(), start.module.state_dict()
    changed = {name for name, value in new.items() if value.shape != old[name].shape or not value.equal(old[name])}
    assert changed == {
        f"roi_heads.box_predictor.{part}"
        for part in ("cls_score.weight", "cls_score.bias", "bbox_pred.weight", "bbox_pred.bias")
    }
    assert (start.classes, start.fresh) == (("dog",), "the predictor")


def test_a_faster_r_cnns_weights_start_a_mask_r_cnn_with_a_new_mask_head(tmp_path):
    """Everything else is the file's, to the bit."""
    boxes, masks = (find_model(f"{kind}rcnn_mobilenet_v3_large_fpn") for kind in ("faster", "mask"))
    old = build_module(boxes, 2, seed=5).state_dict()
    save_state(tmp_path / "w.safetensors", build_module(boxes, 2, seed=5), ("car",), boxes.name)
    start = load_start(_config(tmp_path / "w.safetensors"), masks, ("car",))
    assert (start.classes, start.fresh) == (("car",), "the mask head")
    new = start.module.state_dict()
    assert all(new[name].equal(value) for name, value in old.items())
    assert {name.split(".")[1] for name in new.keys() - old.keys()} == {"mask_head", "mask_predictor"}


def test_what_was_before_a_training_is_known_where_it_finds_the_data_s_classes(two_classes):
    """With its own classes; a start with nothing that fits is None."""
    untuned = load_untuned(_config(two_classes, new_predictor=True), SPEC, ("bus", "dog"))
    assert untuned.classes == ("car", "bus")
    assert load_untuned(_config(two_classes, new_predictor=True), SPEC, ("dog",)) is None
    assert load_untuned(_config("random"), SPEC, ("car",)) is None


def test_as_many_other_classes_get_a_new_predictor_all_the_same(two_classes):
    """Rows that fit by number would start cats as cars."""
    start = load_start(_config(two_classes, new_predictor=True), SPEC, ("cat", "dog"))
    new = start.module.state_dict()["roi_heads.box_predictor.cls_score.weight"]
    assert not new.equal(build_module(SPEC, 3, seed=5).state_dict()["roi_heads.box_predictor.cls_score.weight"])


def test_a_bare_state_dict_takes_its_names_from_the_data_and_its_count_must_fit(tmp_path):
    """Such a file says how many classes it has, not which."""
    path = tmp_path / "bare.pth"
    torch.save(build_module(SPEC, 2).state_dict(), path)
    assert load_start(_config(path), SPEC, ("car",)).classes == ("car",)
    with pytest.raises(WeightsError, match="1 class, the data has 2"):
        load_start(_config(path), SPEC, ("car", "bus"))
    assert load_start(_config(path, new_predictor=True), SPEC, ("car", "bus")).fresh == "the predictor"


def test_a_backbone_s_parameters_start_the_backbone(tmp_path):
    """As `mobilenet_v3_large().features` stores them; everything else is random."""
    body = build_module(SPEC, 2, seed=9).state_dict()
    prefix = "backbone.body."
    path = tmp_path / "features.pth"
    torch.save({key.removeprefix(prefix): value for key, value in body.items() if key.startswith(prefix)}, path)
    start = load_start(_config(path), SPEC, ("car", "bus"))
    assert start.fresh == "all but the backbone"
    state = start.module.state_dict()
    assert all(state[key].equal(value) for key, value in body.items() if key.startswith(prefix))


def test_random_parameters_depend_on_the_seed():
    """And are said to be random."""
    one, other = (load_start(_config("random", seed=seed), SPEC, ("car",)) for seed in (1, 2))
    assert one.fresh == other.fresh == "everything"
    name = "roi_heads.box_head.fc6.weight"
    assert not one.module.state_dict()[name].equal(other.module.state_dict()[name])


def test_a_new_predictor_keeps_the_norm_s_eps(tmp_path):
    """torchvision's ResNet detectors need 0; another eps would change every activation."""
    module = build_module(SPEC, 3)
    for part in module.modules():
        if isinstance(part, FrozenBatchNorm2d):
            part.eps = 0.0
    path = tmp_path / "eps.safetensors"
    save_state(path, module, ("car", "bus"), SPEC.name)
    start = load_start(_config(path, new_predictor=True), SPEC, ("dog",))
    assert {part.eps for part in start.module.modules() if isinstance(part, FrozenBatchNorm2d)} == {0.0}
