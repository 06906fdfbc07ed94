"""From a checkpoint and a config to a model of the zoo, or to all the reasons why not."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from detq.cli import app
from detq.errors import DetqError, OutputError, WeightsError
from detq.models.build import build_module, config_of
from detq.models.detectron2.anchors import Detectron2Anchors
from detq.models.detectron2.build import build
from detq.models.detectron2.config import Detectron2Config
from detq.models.detectron2.convert import convert
from detq.models.detectron2.importing import import_checkpoint
from detq.models.detectron2.interpret import zoo_config
from detq.models.detectron2.names import to_torchvision
from detq.models.detectron2.options import ZOO
from detq.models.detectron2.shapes import expected_shapes
from detq.models.state import save_state
from detq.models.weights import load_model, parse_weights
from detq.models.zoo import find_model
from detq.predictor import build_predictor
from detq.training.config import TrainConfig, parse_source
from detq.training.start import load_start

FASTER = "faster_rcnn_R_50_FPN_3x"
MODEL = "detectron2_fasterrcnn_resnet50_fpn"
NARROW = Detectron2Config(num_classes=2, box_width=8)


def _zeros(config: Detectron2Config) -> dict[str, torch.Tensor]:
    """All tensors of a checkpoint, without their memory."""
    return {name: torch.zeros(1).expand(shape) for name, shape in expected_shapes(config).items()}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A Faster R-CNN with two classes, all zeros: a small file, because torch stores the zero once."""
    path = tmp_path_factory.mktemp("checkpoint") / "model_final.pth"
    torch.save({"model": _zeros(Detectron2Config(num_classes=2))}, path)
    return path


@pytest.fixture(autouse=True)
def _no_large_files(tmp_path):
    """Pytest keeps folders of several runs."""
    yield
    for path in tmp_path.rglob("*.safetensors"):
        path.unlink()


def test_the_expected_tensors_are_those_that_detectron2_saves(shared):
    """Names, shapes and order of its own list."""
    listed = json.loads((shared / "detectron2" / "tensors.json").read_text(encoding="utf-8"))
    found = expected_shapes(zoo_config("mask_rcnn_R_50_FPN_3x"))
    assert list(found.items()) == [(name, tuple(shape)) for name, shape in listed.items()]


@pytest.mark.parametrize("name", sorted(ZOO))
def test_every_tensor_has_its_place_in_the_model(name):
    """None is left over and none is missing, and all shapes fit, for each config."""
    config = zoo_config(name)
    found = {key: value.shape for key, value in to_torchvision(_zeros(config)).items()}
    with torch.device("meta"):
        own = build(config).state_dict()
    assert found == {key: value.shape for key, value in own.items()}


def test_background_comes_first():
    """Detectron2 scores it last, and has neither boxes nor masks for it."""
    given = {
        "roi_heads.box_predictor.cls_score.bias": torch.tensor([1.0, 2, 9]),
        "roi_heads.box_predictor.bbox_pred.bias": torch.arange(8.0),
        "roi_heads.mask_head.predictor.weight": torch.tensor([[1.0], [2]]),
    }
    found = to_torchvision(given)
    assert found["roi_heads.box_predictor.cls_score.bias"].tolist() == [9, 1, 2]
    assert found["roi_heads.box_predictor.bbox_pred.bias"].tolist() == [0, 0, 0, 0, *range(8)]
    assert found["roi_heads.mask_predictor.mask_fcn_logits.weight"].tolist() == [[0], [1], [2]]


def test_differences_are_all_listed_by_part():
    """Missing, unknown and misshapen tensors in every part."""
    tensors = _zeros(Detectron2Config(masks=True, num_classes=2))
    for name in ("backbone.bottom_up.res2.0.conv1.weight", "roi_heads.box_head.fc1.bias"):
        del tensors[name]
    tensors |= {
        "backbone.fpn_lateral2.weight": torch.zeros(8, 256, 1, 1),
        "proposal_generator.rpn_head.extra.bias": torch.zeros(1),
        "ema.decay": torch.zeros(()),
    }
    tensors = {name: value for name, value in tensors.items() if not name.startswith("roi_heads.mask_head")}
    with pytest.raises(WeightsError) as error:
        convert(Path("model_final.pth"), tensors, Detectron2Config(name="mine", masks=True, num_classes=2))
    message = str(error.value)
    for part in (
        "the file seems to be for --config faster_rcnn_R_50_FPN_3x",
        "expected the 307 tensors of mine with 2 classes",
        "backbone missing: backbone.bottom_up.res2.0.conv1.weight",
        "FPN of another shape: backbone.fpn_lateral2.weight 8×256×1×1 instead of 256×256×1×1",
        "RPN not in the model: proposal_generator.rpn_head.extra.bias",
        "box head missing: roi_heads.box_head.fc1.bias",
        "mask head missing: all 12",
        "other not in the model: ema.decay",
    ):
        assert part in message
    assert "\n" not in message


def test_blocks_that_miss_the_same_tensors_are_named_together():
    """A ResNet-50 in the place of a ResNet-101 lacks 17 blocks: 15 names, not 255."""
    with pytest.raises(WeightsError, match=r"--config faster_rcnn_R_50_FPN_3x; expected the 550") as error:
        convert(Path("w.pth"), _zeros(Detectron2Config()), Detectron2Config(depth=101))
    assert "backbone.bottom_up.res4.{6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22}.conv1.weight" in str(error.value)
    assert str(error.value).count("res4") == 15


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["head.cls_subnet.0.weight", "backbone.bottom_up.stem.conv1.weight"], "a RetinaNet"),
        (["sem_seg_head.p2.0.weight"], "a panoptic FPN"),
        (["roi_heads.keypoint_head.conv_fcn1.weight"], "a keypoint R-CNN"),
        (["roi_heads.box_head.0.fc1.weight"], "a cascade R-CNN"),
        (["roi_heads.res5.0.conv1.weight"], "an R-CNN with a C4 backbone"),
        (["backbone.res2.0.conv1.weight"], "an R-CNN with a DC5"),
        (["backbone.body.conv1.weight"], "a detector of torchvision"),
        (["stem.conv1.weight"], "a backbone without a detector"),
    ],
)
def test_another_detectors_checkpoint_is_recognised(names, what):
    """The first thing that the message says."""
    with pytest.raises(WeightsError, match=f"w.pth: the file seems to be {what}"):
        convert(Path("w.pth"), dict.fromkeys(names, torch.zeros(1)), NARROW)


def test_numbers_that_are_not_finite_are_refused():
    """A training that diverged: it would find nothing, silently."""
    tensors = _zeros(NARROW) | {"roi_heads.box_head.fc2.bias": torch.full((8,), torch.nan)}
    with pytest.raises(WeightsError, match=r"infinite or undefined numbers in roi_heads\.box_head\.fc2\.bias"):
        convert(Path("w.pth"), tensors, NARROW)


def test_what_old_checkpoints_say_twice_must_agree_with_the_config():
    """Means and anchors were stored until 2020; a checkpoint with others was trained with another config."""
    anchors = Detectron2Anchors(NARROW).cell_anchors
    stored = {f"proposal_generator.anchor_generator.cell_anchors.{k}": value for k, value in enumerate(anchors)}
    stored |= {"pixel_mean": torch.tensor([103.53, 116.28, 123.675]).reshape(3, 1, 1), "pixel_std": torch.ones(3, 1, 1)}
    stored |= {"backbone.bottom_up.stem.conv1.norm.num_batches_tracked": torch.tensor(7)}
    module = convert(Path("w.pth"), _zeros(NARROW) | stored, NARROW)
    assert config_of(module) == NARROW.to_json()
    with pytest.raises(WeightsError, match=r"pixel_std that is not the config's \(57, 57, 57 instead of 1, 1, 1\)"):
        convert(Path("w.pth"), _zeros(NARROW) | {"pixel_std": torch.full((3, 1, 1), 57.0)}, NARROW)
    for name, value in (
        ("pixel_mean", torch.tensor([123.675, 116.28, 103.53])),
        ("proposal_generator.anchor_generator.cell_anchors.3", anchors[2]),
    ):
        with pytest.raises(WeightsError, match=rf"{name} that is not the config's"):
            convert(Path("w.pth"), _zeros(NARROW) | {name: value}, NARROW)


def test_a_config_of_the_zoo_takes_the_number_of_classes_from_the_checkpoint(checkpoint, tmp_path):
    """Most people train the zoo's detectors on classes of their own; the names go into the file and its card."""
    out = tmp_path / "deep" / "weights.safetensors"
    made = import_checkpoint(checkpoint, FASTER, out, classes=["car", "bus"])
    assert (made.model, made.classes) == (MODEL, ("car", "bus"))
    loaded = load_model(find_model(MODEL), parse_weights(str(out), find_model(MODEL)))
    assert loaded.classes == ("car", "bus")
    assert config_of(loaded.module) == Detectron2Config(num_classes=2).to_json()
    card = json.loads(made.card.read_text(encoding="utf-8"))
    assert card["classes"] == ["car", "bus"]
    assert card["imported"]["checkpoint"] == "model_final.pth"
    assert card["imported"]["config"]["num_classes"] == 2
    assert str(tmp_path) not in made.card.read_text(encoding="utf-8")


def test_a_users_config_travels_with_the_weights(checkpoint, tmp_path):
    """The zoo's model is built as the file says: smaller images and a higher threshold here."""
    config = tmp_path / "mine.yaml"
    config.write_text(
        "_BASE_: Base-RCNN-FPN.yaml\nMODEL: {ROI_HEADS: {NUM_CLASSES: 2, SCORE_THRESH_TEST: 0.5}}\n"
        "INPUT: {MIN_SIZE_TEST: 320}\n",
        encoding="utf-8",
    )
    out = tmp_path / "w.safetensors"
    import_checkpoint(checkpoint, str(config), out, classes=["car", "bus"])
    module = load_model(find_model(MODEL), parse_weights(str(out), find_model(MODEL))).module
    assert (module.transform.min_size, module.roi_heads.score_thresh) == ((320,), 0.5)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, r"--classes: expected the names of the 2 classes .* got none"),
        ({"classes": ["car"]}, r"of the 2 classes .* got 1 \(car\)"),
        ({"classes": ["car", "bus"], "out": "w.pth"}, r"expected a path that ends in \.safetensors"),
        ({"classes": ["car", "bus"], "config": "mask_rcnn_R_50_FPN_3x"}, "mask head missing: all 12"),
        ({"classes": ["car", "bus"], "config": "mask_rcnn_R_50_FPN_2x"}, "did you mean mask_rcnn_R_50_FPN"),
    ],
)
def test_what_cannot_be_imported_leaves_nothing_behind(checkpoint, tmp_path, options, expected):
    """One sentence each."""
    given = {"config": FASTER, "out": "w.safetensors", "classes": None} | options
    with pytest.raises(DetqError, match=expected):
        import_checkpoint(checkpoint, given["config"], tmp_path / given["out"], classes=given["classes"])
    assert list(tmp_path.iterdir()) == []


def test_files_that_exist_are_kept(checkpoint, tmp_path):
    """The weights' or the card's; with `overwrite` both are replaced."""
    out = tmp_path / "w.safetensors"
    (tmp_path / "w.json").write_text("{}", encoding="utf-8")
    with pytest.raises(OutputError, match=r"w\.json exists; add --overwrite"):
        import_checkpoint(checkpoint, FASTER, out, classes=["car", "bus"])
    assert not out.exists()
    assert import_checkpoint(checkpoint, FASTER, out, classes=["car", "bus"], overwrite=True).card.stat().st_size > 100


def test_weights_of_torchvision_and_of_detectron2_are_not_taken_for_each_other(tmp_path):
    """All names and shapes fit, and the detections would be wrong."""
    theirs, ours = find_model("fasterrcnn_resnet50_fpn"), find_model(MODEL)
    deeper = find_model("detectron2_fasterrcnn_resnet101_fpn")
    for spec in (theirs, ours):
        save_state(tmp_path / f"{spec.name}.safetensors", build_module(spec, 3), ["car", "bus"], spec.name)
    imported = str(tmp_path / f"{ours.name}.safetensors")
    for spec in (theirs, deeper):
        with pytest.raises(WeightsError, match=f"imported from Detectron2; use --model {MODEL}"):
            load_model(spec, parse_weights(imported, spec))
    with pytest.raises(WeightsError, match="found no Detectron2 config in its metadata; import the checkpoint first"):
        load_model(ours, parse_weights(str(tmp_path / f"{theirs.name}.safetensors"), ours))


def test_without_weights_the_message_says_how_to_get_them():
    """There are none to download."""
    spec = find_model(MODEL)
    with pytest.raises(WeightsError, match=r"no weights for .* give --weights FILE with what detq import-detectron2"):
        load_model(spec, parse_weights(None, spec))


def test_training_on_other_classes_keeps_the_config(checkpoint, tmp_path):
    """A new predictor, and everything else as it was imported."""
    out = tmp_path / "w.safetensors"
    config = tmp_path / "mine.yaml"
    config.write_text(
        "_BASE_: Base-RCNN-FPN.yaml\nMODEL: {ROI_HEADS: {NUM_CLASSES: 2}, RPN: {NMS_THRESH: 0.6}}\n", encoding="utf-8"
    )
    import_checkpoint(checkpoint, str(config), out, classes=["car", "bus"])
    training = TrainConfig(
        model=MODEL, data=(parse_source("x"),), out=tmp_path, steps=1, weights=str(out), new_predictor=True
    )
    start = load_start(training, find_model(MODEL), ["tram", "bus", "car"])
    assert start.module.rpn.nms_thresh == 0.6
    save_state(out, start.module, start.classes, MODEL)
    loaded = load_model(find_model(MODEL), parse_weights(str(out), find_model(MODEL)))
    assert loaded.module.rpn.nms_thresh == 0.6
    assert loaded.classes == ("tram", "bus", "car")


def test_a_faster_r_cnn_starts_a_mask_r_cnn_with_its_config(tmp_path):
    """The mask head is new; the rest is as it was imported. Torchvision's weights are no start for it."""
    mask = find_model("detectron2_maskrcnn_resnet50_fpn")
    faster = {find_model(MODEL): Detectron2Config(num_classes=1, nms=0.3), find_model("fasterrcnn_resnet50_fpn"): None}
    for spec, config in faster.items():
        module = build_module(spec, 2, config=config and config.to_json())
        save_state(tmp_path / f"{spec.name}.safetensors", module, ["car"], spec.name)
    ours, theirs = (tmp_path / f"{spec.name}.safetensors" for spec in faster)
    start = load_start(_training(tmp_path, mask.name, ours), mask, ["car"])
    assert (start.module.roi_heads.nms_thresh, start.fresh) == (0.3, "the mask head")
    assert Detectron2Config.from_json(config_of(start.module)).model == mask.name
    with pytest.raises(WeightsError, match="import the checkpoint first"):
        load_start(_training(tmp_path, mask.name, theirs), mask, ["car"])
    with pytest.raises(WeightsError, match=f"use --model {MODEL}"):
        load_start(_training(tmp_path, "maskrcnn_resnet50_fpn", ours), find_model("maskrcnn_resnet50_fpn"), ["car"])


def _training(folder: Path, model: str, weights: Path) -> TrainConfig:
    return TrainConfig(model=model, data=(parse_source("x"),), out=folder, steps=1, weights=str(weights))


def test_the_command_says_what_comes_next(checkpoint, tmp_path, monkeypatch):
    """The zoo's name of the model, and the file."""
    monkeypatch.chdir(tmp_path)
    options = ["--config", FASTER, "--classes", "car,bus", "--out", "w.safetensors"]
    done = CliRunner().invoke(app, ["import-detectron2", str(checkpoint), *options])
    assert done.exit_code == 0
    assert "w.safetensors, w.json: 2 classes (car, bus)" in done.stdout
    assert f"detq run --model {MODEL} --weights w.safetensors" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w.json", "w.safetensors"]
    done = CliRunner().invoke(app, ["import-detectron2", str(checkpoint), *options, "--overwrite", "--json"])
    assert json.loads(done.stdout)["classes"] == ["car", "bus"]


def test_a_mistake_is_one_sentence_and_exit_code_2(payload, tmp_path, monkeypatch, command_line):
    """As a user meets it: the payload in a checkpoint of the model zoo."""
    thing, target = payload
    (tmp_path / "model.pkl").write_bytes(pickle.dumps({"model": thing}))
    monkeypatch.chdir(tmp_path)
    code, said = command_line("import-detectron2", "model.pkl", "--config", FASTER, "--out", "w.safetensors")
    assert (code, said.out) == (2, "")
    assert said.err == (
        "detq: model.pkl: refused, because it asks for posix.system; expected only dicts, lists, strings, numbers and "
        "NumPy arrays, as in Detectron2's model zoo\n"
    )
    assert not target.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["model.pkl"]


def test_dynamic_int8_quantizes_the_box_head_of_an_imported_detector(noise, tmp_path):
    """Recipes apply to it as to any other model of the zoo."""
    module = build(Detectron2Config(num_classes=2, min_size=96, max_size=160)).eval()
    save_state(tmp_path / "w.safetensors", module, ["car", "bus"], MODEL)
    predictor = build_predictor(f"{MODEL}-dynamic_int8", weights=str(tmp_path / "w.safetensors"), prove_on=noise)
    assert predictor.proof is not None
    assert predictor.proof.by_stage["box_head"] == 1
    assert len(predictor.predict(noise))
