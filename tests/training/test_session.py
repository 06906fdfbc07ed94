"""Whole trainings, as small as they can be."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
import torch
from safetensors import safe_open

from detq.datasets.synthetic import traffic_camera
from detq.errors import DataError, DetqError, OutputError, WeightsError
from detq.models.build import build_module
from detq.models.maskrcnn_mobilenet import maskrcnn_mobilenet_v3_large_fpn
from detq.models.weights import load_model, parse_weights
from detq.models.zoo import MODELS, find_model
from detq.training import TrainConfig, parse_source, train
from detq.training.data import Source, TrainingImages, epoch_order
from detq.training.freeze import freeze
from detq.training.learner import Learner
from detq.training.optimizer import make_optimizer, split_decayed
from detq.training.precision import Compute, choose_compute, deterministic
from detq.training.progress import TrainProgress
from detq.training.session import check_half
from detq.training.validate import TRAINED, UNTUNED, Judged, validate


class Notes(TrainProgress):
    """Keeps what it is told."""

    def __init__(self):
        self.said, self.steps = [], []

    def say(self, text):
        self.said.append(text)

    def step(self, report):
        self.steps.append(report)


def _config(squares, out, **more):
    source = parse_source(f"{squares}?classes=square")
    defaults = {"weights": "random", "steps": 3, "batch_size": 2, "warmup_steps": 1, "val_limit": 3, "threads": 1}
    return TrainConfig(model="ssdlite320_mobilenet_v3_large", data=(source,), val=(source,), out=out, **defaults | more)


@pytest.fixture(scope="module")
def trained(squares, tmp_path_factory):
    config = _config(
        squares, tmp_path_factory.mktemp("training") / "out", min_sizes=(64,), licence_notes=("Squares: public domain",)
    )
    notes = Notes()
    return config, train(config, notes), notes


def test_the_model_can_be_loaded_by_its_file_alone(trained):
    """Class names and norm settings travel in the fp16 file."""
    config, card, _ = trained
    spec = find_model(config.model)
    loaded = load_model(spec, parse_weights(str(config.out / card["weights"]["file"]), spec))
    assert loaded.classes == ("square",)
    with safe_open(config.out / "model.safetensors", framework="pt") as file:
        assert {file.get_tensor(name).dtype for name in file.keys()} <= {torch.float16, torch.int64}  # noqa: SIM118


def test_the_card_tells_data_recipe_accuracy_and_licences(trained):
    """All that somebody needs to judge the model, and to train it again."""
    config, card, _ = trained
    assert card == json.loads((config.out / "model.json").read_text(encoding="utf-8"))
    assert card["classes"] == ["square"]
    assert card["data"][0]["images"] == 12
    assert card["licences"] == ["Squares: public domain"]
    assert card["training"]["steps"] == 3
    (accuracy,) = card["validation"].values()
    assert accuracy["images"] == 3
    assert {"AP", "AP50", "APs"} <= accuracy["coco"].keys()
    assert {"prediction_iou", "recall"} <= accuracy["report"].keys()


def test_a_start_that_can_be_used_is_validated_beside_its_result(trained, squares, tmp_path):
    """What it was before is what the training before it ended with; random parameters are not worth a line."""
    config, card, _ = trained
    assert card["validation_untuned"] == {}
    more = _config(squares, tmp_path / "out", weights=str(config.out / "model.safetensors"), min_sizes=(64,))
    tuned = train(more)
    (before,), (after,) = tuned["validation_untuned"].values(), tuned["validation"].values()
    (ended,) = card["validation"].values()
    assert before["coco"] == ended["coco"]
    assert before["difference"] is None
    assert after["difference"].keys() >= {"AP", "recall"}


def test_boxes_and_masks_are_judged_before_and_after():
    """On the same images: here the same detector twice, which differs by nothing."""
    data = traffic_camera(2, 7, size=(320, 180))
    module = build_module(find_model("maskrcnn_mobilenet_v3_large_fpn"), 2)
    module.transform.min_size, module.rpn._post_nms_top_n["testing"] = (96,), 20
    models = {name: Judged(module, ("car",)) for name in (UNTUNED, TRAINED)}
    found = validate(models, data, limit=None, progress=TrainProgress())
    assert found[TRAINED]["masks"]["AP"] is not None
    assert found[TRAINED]["difference"]["mask_AP"]["estimate"] == 0
    boxes = {UNTUNED: Judged(module, ("car",), masks=False), TRAINED: Judged(module, ("car",))}
    assert validate(boxes, data, limit=1, progress=TrainProgress())[UNTUNED]["masks"] is None


def test_the_card_names_no_folder_host_or_user(trained, squares):
    """It is made to be published."""
    config, _, _ = trained
    text = (config.out / "model.json").read_text(encoding="utf-8")
    assert str(squares) not in text
    assert str(config.out) not in text
    assert not re.search(r'"/|/home|/tmp|/root', text)


def test_progress_tells_every_step_and_what_was_chosen(trained):
    """Precision and its reason, and that an option has no effect on this model."""
    _, card, notes = trained
    assert [report.step for report in notes.steps] == [1, 2, 3]
    assert notes.steps[-1].eta_s == 0
    assert any(card["software"]["precision_reason"] in line for line in notes.said)
    assert any("--min-sizes does nothing" in line for line in notes.said)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "holds another training's results; add --resume"),
        ({"resume": True, "seed": 4}, "seed was 0 and is now 4"),
        ({"resume": True, "batch_size": 3, "weight_decay": 0.5}, "batch size was 2 and is now 3; weight decay was"),
    ],
    ids=["without --resume", "another seed", "two differences"],
)
def test_a_folder_with_another_training_is_refused_naming_what_differs(trained, change, expected):
    """Nothing in the folder changes."""
    config, _, _ = trained
    before = {path.name: path.read_bytes() for path in config.out.iterdir()}
    with pytest.raises(OutputError, match=expected):
        train(dataclasses.replace(config, **change))
    assert before == {path.name: path.read_bytes() for path in config.out.iterdir()}


def test_a_finished_training_has_nothing_to_resume(trained):
    """It returns the card again; the number of workers is no difference."""
    config, card, _ = trained
    notes = Notes()
    assert train(dataclasses.replace(config, resume=True, workers=1), notes) == card
    assert "finished" in notes.said[-1]


def test_a_folder_with_other_files_is_refused(squares, tmp_path):
    """Before anything is loaded."""
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match="found other files"):
        train(_config(squares, tmp_path))


def test_sources_with_different_classes_are_refused_naming_both(squares, tmp_path):
    """With the map that would mend it."""
    config = dataclasses.replace(
        _config(squares, tmp_path / "out"),
        val=(parse_source(f"{squares}?classes=circle"),),
    )
    with pytest.raises(DataError, match=r"expected the classes of .* \(square\), found circle; .*map=square="):
        train(config)
    assert not (tmp_path / "out").exists()


def test_a_loss_that_is_not_finite_stops_the_training_naming_step_and_images(squares, tmp_path):
    """An absurd learning rate gets there in a few steps; skipping such batches would hide it."""
    config = _config(squares, tmp_path / "out", learning_rate=1e30, warmup_steps=0, steps=30, precision="fp32")
    with pytest.raises(
        DetqError, match=r"stopped at step \d+: expected finite numbers, found .*\.png.*--learning-rate"
    ):
        train(config)
    assert not (tmp_path / "out" / "model.json").exists()


def test_a_damaged_image_stops_the_training_which_goes_on_once_it_is_mended(squares, tmp_path):
    """Only decoding finds it, perhaps days after the start: the steps before it are saved."""
    data, out = tmp_path / "data", tmp_path / "out"
    shutil.copytree(squares, data)
    victim = data / "images" / f"{epoch_order(0, 0, 12)[2]:02}.png"  # of the second step
    whole = victim.read_bytes()
    victim.write_bytes(whole[:-40])
    config = dataclasses.replace(_config(data, out, steps=2, min_sizes=(64,)), val=())
    with pytest.raises(DataError, match=r"\.png is damaged.*; then go on with the same command and --resume, .*out"):
        train(config)
    assert not (out / "model.json").exists()
    victim.write_bytes(whole)
    notes = Notes()
    train(dataclasses.replace(config, resume=True), notes)
    assert "going on after step 1 of 2" in notes.said
    assert [report.step for report in notes.steps] == [2]


def test_a_data_set_without_masks_cannot_train_a_mask_model(squares, tmp_path):
    """It is named before anything is loaded or written."""
    config = dataclasses.replace(_config(squares, tmp_path / "out"), model="maskrcnn_mobilenet_v3_large_fpn")
    with pytest.raises(DataError, match=r"squares.*expected an instance mask for every object"):
        train(config)
    assert not (tmp_path / "out").exists()


def test_a_frozen_part_comes_out_as_it_went_in(squares, tmp_path):
    """Also its batch norms' statistics; the rest learns."""
    config = _config(squares, tmp_path / "out", freeze="backbone", precision="fp32")
    card = train(config)
    assert "only rpn, roi_heads, head trained (--freeze backbone)" in card["training"]["optimizer"]
    spec = find_model(config.model)
    after = load_model(spec, parse_weights(str(config.out / "model.safetensors"), spec)).module.state_dict()
    before = {name: value.half().to(value.dtype) for name, value in build_module(spec, 2).state_dict().items()}
    changed = {name for name, value in after.items() if not value.equal(before[name])}
    assert changed
    assert {name.partition(".")[0] for name in changed} == {"head"}


def test_all_but_mask_leaves_the_whole_mask_branch_to_learn_and_nothing_else(squares, tmp_path):
    """torchvision's mask head and mask predictor; boxes stay to the bit."""
    model = "maskrcnn_mobilenet_v3_large_fpn"
    module = maskrcnn_mobilenet_v3_large_fpn(num_classes=2, weights=None, weights_backbone=None).train()
    freeze(module, dataclasses.replace(_config(squares, tmp_path / "out"), model=model, freeze="all-but-mask"))
    learning = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    assert learning == {name for name, _ in module.named_parameters() if ".mask_" in name}
    assert {name.split(".")[1] for name in learning} == {"mask_head", "mask_predictor"}


def test_a_part_that_the_model_does_not_have_cannot_be_the_only_one_to_learn(squares, tmp_path):
    """Nothing is written for a training of nothing."""
    config = _config(squares, tmp_path / "out", freeze="all-but-mask")
    with pytest.raises(DetqError, match=r"--freeze all-but-mask: nothing of ssdlite.* would be left to train"):
        train(config)
    assert not (tmp_path / "out").exists()


def test_values_beyond_fp16_are_refused_naming_the_tensor():
    """Stored as infinity they would ruin the model silently."""
    check_half({"fine": torch.tensor([65504.0, 1e-9, 1 - 1e-5]), "count": torch.tensor([2**40])})
    with pytest.raises(WeightsError, match=r"head\.weight cannot be stored in fp16: its largest value is 1e\+05"):
        check_half({"head.weight": torch.tensor([1.0, -1e5])})


def test_norms_and_biases_are_not_decayed():
    """Vectors on one side, weights on the other, none lost."""
    module = build_module(find_model("ssdlite320_mobilenet_v3_large"), 2)
    decayed, others = split_decayed(module)
    assert all(parameter.ndim >= 2 for parameter in decayed)
    assert all(parameter.ndim == 1 for parameter in others)
    assert len(decayed) + len(others) == len(list(module.parameters()))


@pytest.mark.parametrize("spec", MODELS, ids=lambda spec: spec.name)
def test_every_model_of_the_zoo_takes_a_step_on_scenes_with_masks_and_on_background(spec, tmp_path):
    """Finite losses, among them the mask loss where there is one, and parameters that move."""
    data = traffic_camera(2, 7, size=(320, 180))
    config = TrainConfig(model=spec.name, data=(parse_source("x"),), out=tmp_path, steps=2, warmup_steps=0)
    images = TrainingImages([Source(data)], data.classes, seed=0, augmented=True, masks=spec.has_masks)
    module = build_module(spec, 2).train()
    before = {name: value.clone() for name, value in module.named_parameters()}
    optimizer = make_optimizer(module, learning_rate=1e-4, weight_decay=1e-4)
    sides = () if module.transform.fixed_size else (96,)
    learner = Learner(module, optimizer, config, Compute("cpu", "fp32", ""), sides, 2)
    sample = images.load(0)
    background = dataclasses.replace(sample, target=sample.target[np.zeros(len(sample.target), np.bool_)])
    learner.prepare(0)
    losses = learner.learn([sample, background], 0)
    assert ("loss_mask" in losses) == spec.has_masks
    assert any(not value.equal(before[name]) for name, value in module.named_parameters())


def test_auto_precision_says_why_and_determinism_is_restored():
    """Whatever this machine has."""
    compute = choose_compute("auto")
    assert compute.precision in {"fp32", "bf16"}
    assert compute.why
    before = torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory
    with deterministic():
        assert torch.are_deterministic_algorithms_enabled()
    after = torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory
    assert after == before
