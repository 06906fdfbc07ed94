"""A built variant: image in, detections out."""

from __future__ import annotations

import functools
import gc
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import to_tensor

from detq.errors import QuantizationError, UnknownNameError
from detq.predictor import as_detections, build_predictor
from detq.quantization import recipes
from detq.quantization.plan import Plan, StageRule
from detq.tensors import as_tensor
from detq.variants import Variant


def test_the_image_is_converted_as_torchvision_does(noise):
    """Bit for bit, for any memory layout and for read-only arrays."""
    expected = to_tensor(Image.fromarray(noise))
    frozen = noise.copy()
    frozen.setflags(write=False)
    for image in (noise, frozen, noise[:, ::-1][:, ::-1], np.asfortranarray(noise)):
        assert torch.equal(as_tensor(image), expected)
        assert as_tensor(image).is_contiguous()
    assert as_tensor(noise[:1, :1]).shape == (3, 1, 1)


def test_fp32_gives_torchvisions_own_answer(fp32_predictor, noise):
    """torchvision's eager module is the oracle; labels start at 0 in detq."""
    with torch.inference_mode():
        (expected,) = fp32_predictor.module([to_tensor(Image.fromarray(noise))])
    found = fp32_predictor(noise)
    assert len(found) > 0
    np.testing.assert_array_equal(found.boxes, expected["boxes"].numpy())
    np.testing.assert_array_equal(found.scores, expected["scores"].numpy())
    np.testing.assert_array_equal(found.labels + 1, expected["labels"].numpy())
    assert (found.boxes.dtype, found.scores.dtype, found.labels.dtype) == (np.float32, np.float32, np.int64)
    assert (np.diff(found.scores) <= 0).all()


def test_prediction_is_repeatable_and_leaves_torchs_settings_alone(int8_predictor, noise):
    """Two calls give the same; threads and grad mode are the caller's."""
    threads, grad = torch.get_num_threads(), torch.is_grad_enabled()
    first, again = int8_predictor(noise), int8_predictor(noise)
    np.testing.assert_array_equal(first.boxes, again.boxes)
    assert (torch.get_num_threads(), torch.is_grad_enabled()) == (threads, grad)


def test_int8_finds_nearly_the_same(fp32_predictor, int8_predictor, noise):
    """Same weights, rounded: the best score hardly moves."""
    assert int8_predictor(noise).scores[0] == pytest.approx(fp32_predictor(noise).scores[0], abs=0.05)
    assert int8_predictor.weight_bytes < 0.5 * int8_predictor.fp32_weight_bytes


def test_background_drops_out_and_the_best_comes_first():
    """A one-stage head can answer with label 0, and a user's own detector need not sort."""
    found = as_detections(
        {
            "boxes": torch.tensor([[0.0, 0, 1, 1], [0, 0, 2, 2], [0, 0, 3, 3]]),
            "scores": torch.tensor([0.2, 0.9, 0.8]),
            "labels": torch.tensor([1, 0, 2]),
        }
    )
    assert found.labels.tolist() == [1, 0]
    assert found.boxes[:, 2].tolist() == [3.0, 1.0]


def test_masks_are_cut_at_half():
    """torchvision gives probabilities; detq's masks are bool."""
    answer = {
        "boxes": torch.zeros(1, 4),
        "scores": torch.ones(1),
        "labels": torch.ones(1, dtype=torch.int64),
        "masks": torch.tensor([[[[0.4, 0.5], [0.6, 0.0]]]]),
    }
    assert as_detections(answer).masks.full().tolist() == [[[False, True], [True, False]]]
    assert as_detections(answer, masks=False).masks is None


def test_small_masks_are_pasted_into_their_boxes_when_somebody_asks():
    """An engine that leaves pasting to the reader answers with a square of probabilities a box."""
    answer = {
        "boxes": torch.tensor([[4.0, 2, 12, 10]]),
        "scores": torch.ones(1),
        "labels": torch.ones(1, dtype=torch.int64),
        "masks": torch.ones(1, 1, 28, 28),
    }
    full = as_detections(answer, (20, 30)).masks.full()
    assert full.shape == (1, 20, 30)
    assert full[0, 2:10, 4:12].all()
    assert full.sum() <= 10 * 10


def test_nothing_found_is_an_ordinary_case():
    """Shapes stay (0, 4) and (0,)."""
    found = as_detections(
        {"boxes": torch.zeros(0, 4), "scores": torch.zeros(0), "labels": torch.zeros(0, dtype=torch.int64)}
    )
    assert found.boxes.shape == (0, 4)


def _alive(shape) -> int:
    """How many fp32 linear layers with a weight of this shape are in memory."""
    layers = [item for item in gc.get_objects() if type(item) is torch.nn.Linear]
    return sum(layer.weight.shape == shape for layer in layers)


def test_an_int8_predictor_does_not_keep_the_fp32_weights(fp32_predictor):
    """Its memory is what is measured; a hidden fp32 copy would more than double it."""
    shape = fp32_predictor.module.roi_heads.box_head.fc6.weight.shape
    gc.collect()
    before = _alive(shape)
    predictor = build_predictor("fasterrcnn_mobilenet_v3_large_320_fpn-dynamic_int8", weights="random")
    assert predictor.proof is None
    assert before > 0
    assert _alive(shape) == before


def test_an_image_without_proposals_is_passed_over_for_the_proof(shared):
    """The first image of a night's recording may be an empty road; the next ones are not."""
    weights = str(shared / "weights" / "car_fasterrcnn_mobilenet_v3_large_fpn.pth")
    build = functools.partial(
        build_predictor, "fasterrcnn_mobilenet_v3_large_320_fpn-dynamic_int8", weights=weights, classes=["car"]
    )
    empty = np.zeros((8, 8, 3), np.uint8)
    photo = np.asarray(Image.open(min((shared / "data/dawn/test").rglob("*.jpg"))).convert("RGB"))
    with pytest.raises(QuantizationError, match="shows objects"):
        build(prove_on=empty)
    assert build(prove_on=[empty, photo]).proof.share > 0


def test_building_says_what_the_recipe_loses_on_this_cpu(monkeypatch, command_line, tmp_path):
    """A CPU without bf16 runs in fp32 what was asked for in bf16; nobody should take its time for the other's."""
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    plan = Plan(box_pool=StageRule("eager", "bf16"))
    lossy = replace(recipes.find_recipe("channels_last_fp32"), name="lossy", plan=plan)
    monkeypatch.setattr(recipes, "_BY_NAME", {"lossy": lossy})
    said: list[str] = []
    made = build_predictor(Variant("tests.artifact.tiny:build", "lossy"), say=said.append)
    assert made.notes == ("box_pool in fp32 instead of bf16, which this CPU does not have natively",)
    assert said == [f"lossy: {made.notes[0]}"]
    Image.new("RGB", (64, 48)).save(tmp_path / "dark.png")
    what = ("--variant", "tests.artifact.tiny:build-lossy", "--out", str(tmp_path), "--threads", "1")
    code, told = command_line("predict", str(tmp_path / "dark.png"), *what)
    assert code == 0
    assert told.err.count(made.notes[0]) == 1


def test_an_unknown_variant_is_named():
    """The same message as on the command line."""
    with pytest.raises(UnknownNameError, match="unknown variant 'yolo-fp32'"):
        build_predictor("yolo-fp32")


def test_a_variant_made_by_hand_still_has_to_convert_something():
    """The declaration is one guard, the recipe is the other."""
    with pytest.raises(QuantizationError, match="nothing would run in int8"):
        build_predictor(Variant("ssdlite320_mobilenet_v3_large", "dynamic_int8"), weights="random")


def test_the_shared_checkpoint_finds_cars_on_a_real_photo(shared):
    """Trained weights, a real photo, both recipes: confident cars that agree."""
    weights = str(shared / "weights" / "car_fasterrcnn_mobilenet_v3_large_fpn.pth")
    photo = np.asarray(Image.open(min((shared / "data/dawn/test").rglob("*.jpg"))).convert("RGB"))
    found = {}
    for recipe in ("fp32", "dynamic_int8"):
        predictor = build_predictor(
            f"fasterrcnn_mobilenet_v3_large_fpn-{recipe}", weights=weights, classes=["car"], prove_on=photo
        )
        assert predictor.classes == ("car",)
        found[recipe] = predictor(photo)
    assert found["fp32"].scores[0] > 0.9
    assert found["fp32"].boxes[0] == pytest.approx(found["dynamic_int8"].boxes[0], abs=3)
