"""`TorchScriptPredictor`: every kind of file, the original frame, threads, pickles, and clear errors."""

from __future__ import annotations

import io
import pickle
import shutil
import threading
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

import detq
from detq.errors import DetqError, ModelFileError, UnsupportedError
from detq.masks import full_size
from detq.models.detectron2.masks import Detectron2Masks
from detq.quantization.scripted import quiet_torchscript
from detq.torchscript import TorchScriptPredictor, quantize_script, read_script, write_script
from detq.torchscript.conventions import _read_traced
from detq.torchscript.postprocess import resize_shortest_edge, to_original_frame

NAMES = ["Scripted", "ScriptedList", "Traced", "TracedBoxes"]


def _pasted(masks, boxes, size):
    """Detectron2's `paste_masks_in_image` at threshold 0.5, written from its definition: every pixel of the image."""
    height, width = size
    pasted = np.zeros((len(masks), height, width), bool)
    for number, (mask, box) in enumerate(zip(masks, torch.tensor(boxes), strict=True)):
        x = (torch.arange(width) + 0.5 - box[0]) / (box[2] - box[0]) * 2 - 1
        y = (torch.arange(height) + 0.5 - box[1]) / (box[3] - box[1]) * 2 - 1
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=2)
        values = torch.nn.functional.grid_sample(mask[None, None], grid[None].float(), align_corners=False)
        pasted[number] = (values[0, 0] >= 0.5).numpy()
    return pasted


@pytest.mark.parametrize("name", NAMES)
def test_detectron2s_exports_are_answered_in_the_original_frame(exported, toys, bgr, name):
    """Resized by the shortest edge with Pillow, 0 to 255, BGR; boxes scaled back and clipped; labels from 0.

    60 × 90 px become 101 × 152, so that the two axes have different scales.
    """
    predictor = TorchScriptPredictor(exported[name], min_size_test=101)
    assert predictor.convention == ("detectron2-scripted" if name.startswith("S") else "detectron2-traced")
    resized = np.asarray(Image.fromarray(bgr).resize((152, 101), Image.Resampling.BILINEAR), np.float32)
    with torch.inference_mode():
        boxes, classes, masks, scores = toys.Finder()(torch.from_numpy(resized.transpose(2, 0, 1).copy()))
    expected = (boxes * torch.tensor([90 / 152, 60 / 101, 90 / 152, 60 / 101])).clamp(min=0)
    expected[:, 0::2], expected[:, 1::2] = expected[:, 0::2].clamp(max=90), expected[:, 1::2].clamp(max=60)
    found = predictor(bgr)
    assert len(found) > 1
    np.testing.assert_allclose(found.boxes, expected, rtol=1e-6)
    np.testing.assert_array_equal(found.scores, scores)
    np.testing.assert_array_equal(found.labels, classes)
    if name in {"Scripted", "Traced"}:
        np.testing.assert_array_equal(full_size(found.masks), _pasted(masks[:, 0], found.boxes, (60, 90)))
    else:
        assert found.masks is None


def test_the_answer_has_detectron2s_names(exported, bgr):
    """What `outputs["instances"].get_fields()` has, as arrays."""
    predictor = TorchScriptPredictor(str(exported["Traced"]), min_size_test=120)
    fields = predictor(bgr).to_instances_dict()
    assert {name: (value.dtype.name, value.shape) for name, value in fields.items() if name != "image_size"} == {
        "pred_boxes": ("float32", (3, 4)),
        "scores": ("float32", (3,)),
        "pred_classes": ("int64", (3,)),
        "pred_masks": ("bool", (3, 60, 90)),
    }
    assert fields["image_size"] == (60, 90)
    assert sorted(fields["pred_classes"]) == [0, 0, 1]
    assert "pred_masks" not in TorchScriptPredictor(exported["TracedBoxes"])(bgr).to_instances_dict()


@pytest.mark.parametrize("name", NAMES)
def test_nothing_found_is_an_ordinary_case(exported, name):
    """A dark image: no boxes, and masks of the image's size."""
    found = TorchScriptPredictor(exported[name], min_size_test=64)(np.zeros((50, 70, 3), np.uint8))
    assert found.boxes.shape == (0, 4)
    if found.masks is not None:
        assert full_size(found.masks).shape == (0, 50, 70)


def test_the_order_of_channels_is_what_the_caller_says(exported, torchvision_file, bgr, noise):
    """BGR by default, as cv2.imread gives; RGB by `input_format`; and read-only or strided arrays are arrays."""
    for file, image in ((exported["Scripted"], bgr), (torchvision_file, noise)):
        by_default = TorchScriptPredictor(file)(image)
        rgb = TorchScriptPredictor(file, input_format="RGB")(image[:, :, ::-1])
        assert len(by_default) > 0
        np.testing.assert_array_equal(rgb.boxes, by_default.boxes)
        np.testing.assert_array_equal(rgb.scores, by_default.scores)
    for_rgb = TorchScriptPredictor(exported["Scripted"], network_format="RGB")
    np.testing.assert_array_equal(for_rgb(bgr[:, :, ::-1]).boxes, TorchScriptPredictor(exported["Scripted"])(bgr).boxes)


def test_torchvisions_own_scripted_detector_is_understood(torchvision_file, fp32_predictor, noise):
    """It returns (losses, detections), resizes by itself, and its labels start at 1."""
    found = TorchScriptPredictor(torchvision_file, input_format="RGB")(noise)
    expected = fp32_predictor.predict(noise)
    assert len(found) > 0
    np.testing.assert_allclose(found.boxes[0], expected.boxes[0], atol=0.01)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-4)
    assert found.to_instances_dict()["image_size"] == noise.shape[:2]


def test_scores_below_the_threshold_drop_out(exported, bgr):
    """Detectron2's `SCORE_THRESH_TEST` is baked into its exports; this one can only be stricter."""
    every, sure = (TorchScriptPredictor(exported["Traced"], score_threshold=value)(bgr) for value in (0.0, 0.9))
    assert 0 < len(sure) < len(every)
    assert (sure.scores >= 0.9).all()
    assert len(sure.masks) == len(sure)
    exact = float(sure.scores[-1])  # of exactly the threshold
    assert len(TorchScriptPredictor(exported["Traced"], score_threshold=exact)(bgr)) == len(sure)


@pytest.mark.parametrize("kind", ["Scripted", "Traced", "torchvision"])
def test_threads_share_one_predictor(exported, torchvision_file, bgr, noise, kind):
    """Each image gets its own answer, whichever threads ran at the same time; also the first, compiling calls."""
    file = torchvision_file if kind == "torchvision" else exported[kind]
    base = noise if kind == "torchvision" else bgr
    images = [np.roll(base, 8 * number, axis=1) for number in range(4)]
    expected = list(map(TorchScriptPredictor(file), images))
    predictor, found, ready = TorchScriptPredictor(file), {}, threading.Barrier(4)

    def work(number):
        ready.wait()
        found[number] = [predictor(images[number]) for _ in range(2)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, answer in enumerate(expected):
        for mine in found[number]:
            np.testing.assert_array_equal(mine.labels, answer.labels)
            np.testing.assert_allclose(mine.boxes, answer.boxes, atol=1e-3)


def test_it_pickles_through_the_files_bytes(exported, bgr, tmp_path):
    """For worker processes; also after the file has gone, but not with somebody else's bytes."""
    path = tmp_path / "model.ts"
    shutil.copy(exported["Traced"], path)
    predictor = TorchScriptPredictor(path, min_size_test=120, classes=["a", "b"])
    path.unlink()
    twin = pickle.loads(pickle.dumps(predictor))  # noqa: S301  # our own bytes
    assert (twin.classes, twin.name, twin.convention) == (("a", "b"), str(path), "detectron2-traced")
    np.testing.assert_array_equal(twin(bgr).boxes, predictor(bgr).boxes)
    again = pickle.loads(pickle.dumps(twin))  # noqa: S301
    np.testing.assert_array_equal(again(bgr).boxes, predictor(bgr).boxes)

    shutil.copy(exported["Traced"], path)
    predictor = TorchScriptPredictor(path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    with path.open("r+b") as stream:
        stream.write(content)
    with pytest.raises(ModelFileError, match="was overwritten since it was loaded"):
        pickle.dumps(predictor)


def test_a_graph_that_names_another_device_is_told_this_one(tmp_path, bgr):
    """Tracing on a GPU writes its name into the graph; without that GPU the file would be of no use."""

    class OnGpu(nn.Module):
        def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
            boxes = torch.ones(1, 4, device="cuda:0") * image.max() / 255 * torch.tensor([1.0, 2.0, 30.0, 40.0])
            return boxes, torch.zeros(1, dtype=torch.int64), torch.ones(1), torch.tensor(image.shape[1:])

    with quiet_torchscript():
        torch.jit.script(OnGpu()).save(str(tmp_path / "gpu.ts"))
    found = TorchScriptPredictor(tmp_path / "gpu.ts", min_size_test=0)(bgr)
    assert found.boxes.tolist() == [[1, 2, 30, 40]]


def test_int8_layers_are_refused_on_cuda_with_the_reason(exported, tmp_path):
    """PyTorch's dynamic int8 kernels are CPU kernels; there is no device to try here, and none is needed."""
    made = quantize_script(read_script(exported["Traced"]).module, "toy")
    write_script(tmp_path / "int8.ts", made.module, {})
    with pytest.raises(UnsupportedError, match="1 of its layers are dynamic int8, which PyTorch computes on a CPU"):
        TorchScriptPredictor(tmp_path / "int8.ts", device="cuda")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_a_device_is_refused(exported):
    """Not a traceback from deep inside torch."""
    with pytest.raises(UnsupportedError, match="torch sees no CUDA device here"):
        TorchScriptPredictor(exported["Traced"], device="cuda")


class _Squares(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        return image * image


class _Words(nn.Module):
    def forward(self, text: str) -> str:
        return text


class _Other(nn.Module):
    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        return [{"boxes": images[0].mean((1, 2)), "labels": torch.zeros(3)}]


class _Classifier(nn.Sequential):
    def __init__(self) -> None:
        last = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))
        super().__init__(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), *last)


class _Exports(nn.Module):
    @torch.jit.export
    def run(self, image: Tensor) -> Tensor:
        return image


class _Fails(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        return image.reshape(17, -1)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (_Squares(), r"it answered with a tensor of shape \(3, 224, 320\) instead of 4 or 5 tensors"),
        (_Words(), r"its forward takes str; expected one of List\[Tensor\]"),
        (_Other(), "its answer has no scores"),
        (_Fails(), "RuntimeError: "),
        (_Exports(), "its forward takes no argument"),
        (_Classifier(), "it raised "),
    ],
    ids=["an image filter", "no image", "half a detector", "one that fails", "no forward", "a classifier"],
)
def test_a_file_that_is_no_detector_says_what_it_is(module, message, tmp_path):
    """One sentence with the file, what was expected and what was found."""
    with quiet_torchscript():
        torch.jit.script(module.eval()).save(str(tmp_path / "other.ts"))
    with pytest.raises(ModelFileError, match=rf"other\.ts is not a detector.*{message}") as caught:
        TorchScriptPredictor(tmp_path / "other.ts")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_torchscript_says_so(tmp_path, exported):
    """A checkpoint, half a file, no file, an empty one, text, a folder, another archive."""
    torch.save({"a": torch.zeros(1)}, tmp_path / "model.pth")
    (tmp_path / "half.ts").write_bytes(exported["Traced"].read_bytes()[:3000])
    (tmp_path / "empty.ts").touch()
    (tmp_path / "text.ts").write_text("hello", encoding="utf-8")
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("a.txt", "a")
    for name, message in {
        "model.pth": "found a checkpoint of torch.save",
        "half.ts": "something else or half of one",
        "empty.ts": "unreadable",
        "text.ts": "something else",
        "nowhere.ts": "no such file",
        ".": "unreadable",
        "photos.zip": "found another archive",
    }.items():
        with pytest.raises(ModelFileError, match=message):
            TorchScriptPredictor(tmp_path / name)


@pytest.mark.parametrize(
    "image", [None, np.zeros((4, 4)), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8), np.zeros((3, 4, 4), np.uint8)]
)
def test_what_is_no_image_is_refused(exported, image):
    """cv2.imread answers None for a file that it cannot read."""
    with pytest.raises(DetqError, match=r"TorchScriptPredictor: (expected one uint8 image|the image has no pixels)"):
        TorchScriptPredictor(exported["Traced"])(image)


def test_wrong_options_are_refused(exported):
    """Each names the option and what it takes."""
    with pytest.raises(DetqError, match="input_format: expected 'BGR' or 'RGB', got 'GBR'"):
        TorchScriptPredictor(exported["Traced"], input_format="GBR")
    with pytest.raises(DetqError, match="device: expected 'cpu'"):
        TorchScriptPredictor(exported["Traced"], device="tpu")
    for options, message in (
        ({"network_format": None}, "network_format: expected 'BGR' or 'RGB', got None"),
        ({"classes": "car"}, r"classes: expected names in a list such as \['car', 'bus'\], got 'car'"),
        ({"classes": [1, 2]}, "classes: expected names in a list"),
        ({"score_threshold": "0.5"}, "score_threshold: expected a number from 0 to 1, got '0.5'"),
        ({"score_threshold": float("nan")}, "score_threshold: expected a number from 0 to 1, got nan"),
        ({"min_size_test": 100.5}, "min_size_test: expected a whole number of pixels from 0, got 100.5"),
        ({"max_size_test": 0}, "max_size_test: expected a whole number of pixels from 1, got 0"),
    ):
        with pytest.raises(DetqError, match=message):
            TorchScriptPredictor(exported["Traced"], **options)
    with pytest.raises(DetqError, match="expected a path or the file's bytes, got BytesIO"):
        TorchScriptPredictor(io.BytesIO(exported["Traced"].read_bytes()))


def test_a_device_of_torchs_is_a_device(exported, bgr):
    """Programs hold `torch.device`; and the predictor still pickles."""
    predictor = TorchScriptPredictor(exported["Traced"], device=torch.device("cpu"))
    assert predictor.device == "cpu"
    assert len(pickle.loads(pickle.dumps(predictor))(bgr)) == len(predictor(bgr))  # noqa: S301  # our own bytes


@pytest.mark.parametrize("shape", [(1, 3000, 3), (3000, 1, 3), (1, 1, 3)])
@pytest.mark.parametrize("name", ["Scripted", "Traced"])
def test_images_of_any_shape_are_answered(exported, name, shape):
    """However long and thin: a side has at least a pixel after resizing too."""
    found = TorchScriptPredictor(exported[name])(np.full(shape, 255, np.uint8))
    assert found.image_size == shape[:2]
    assert (found.boxes >= 0).all()


class _Diverged(nn.Module):
    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        nan = float("nan")
        boxes = torch.tensor([0.0, 0.0, 9.0, 9.0]).repeat(5, 1)
        boxes[1, 0], boxes[3], boxes[4] = nan, 5000.0, torch.tensor([1.0, 1.0, 8.0, 8.0])
        scores = torch.tensor([0.3, 0.9, nan, 0.8, 0.7])
        return boxes, torch.zeros(5, dtype=torch.int32), torch.ones(5, 1, 28, 28), scores, torch.tensor(image.shape[1:])


def test_what_is_no_number_drops_out_and_the_best_comes_first(tmp_path, bgr):
    """Detectron2 drops such boxes itself; a foreign network may not, nor sort, nor have int64 for classes."""
    with quiet_torchscript():
        torch.jit.script(_Diverged()).save(str(tmp_path / "diverged.ts"))
    found = TorchScriptPredictor(tmp_path / "diverged.ts", min_size_test=0)(bgr)
    np.testing.assert_allclose(found.scores, [0.7, 0.3])
    assert found.boxes.tolist() == [[1, 1, 8, 8], [0, 0, 9, 9]]
    assert [int(mask.sum()) for mask in full_size(found.masks)] == [49, 81]
    assert found.labels.dtype == np.int64


class _DivergedDicts(nn.Module):
    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        boxes, scores = (
            torch.tensor([1.0, 1.0, 8.0, 8.0]).repeat(3 * len(images), 1),
            torch.tensor([0.9, float("nan"), 0.7]),
        )
        boxes[0, 2] = float("nan")
        return [{"boxes": boxes, "scores": scores, "labels": torch.ones(len(boxes), dtype=torch.int64)}]


def test_what_is_no_number_drops_out_of_torchvisions_answers_too(tmp_path, bgr):
    """torchvision keeps such boxes, and nobody could draw them."""
    with quiet_torchscript():
        torch.jit.script(_DivergedDicts()).save(str(tmp_path / "diverged.ts"))
    found = TorchScriptPredictor(tmp_path / "diverged.ts")(bgr)
    assert found.boxes.tolist() == [[1, 1, 8, 8]]
    np.testing.assert_allclose(found.scores, [0.7])


def test_it_is_part_of_the_api():
    """Imported when it is first used: `import detq` loads no torch."""
    assert detq.TorchScriptPredictor is TorchScriptPredictor
    assert "TorchScriptPredictor" in detq.__all__


@given(
    corner=st.tuples(st.floats(-20, 60), st.floats(-20, 40)),
    side=st.tuples(st.floats(0.2, 90), st.floats(0.2, 70)),
    seed=st.integers(0, 9),
)
def test_masks_are_pasted_as_detectron2_pastes_them(corner, side, seed):
    """Any box, also beyond the border; every pixel but those that lie at 0.5 to rounding."""
    box = np.asarray([[corner[0], corner[1], corner[0] + side[0], corner[1] + side[1]]], np.float32)
    mask = torch.rand(1, 28, 28, generator=torch.Generator().manual_seed(seed))
    found = Detectron2Masks(mask.numpy(), box, (44, 61)).full()
    assert found.shape == (1, 44, 61)
    np.testing.assert_array_equal(found, _pasted(mask, box, (44, 61)))


def test_an_image_that_fits_is_not_resized():
    """Not even copied; and the long side is bounded."""
    image = np.zeros((40, 60, 3), np.uint8)
    assert resize_shortest_edge(image, 40, 1333) is image
    assert resize_shortest_edge(image, 0, 10) is image
    assert resize_shortest_edge(image, 80, 90).shape == (60, 90, 3)


def test_boxes_are_scaled_from_the_frame_that_the_export_names():
    """A network may have resized by itself; a size of 0 is none."""
    fields = {"boxes": torch.tensor([[0.0, 0, 10, 20]]), "scores": torch.ones(1), "labels": torch.zeros(1).long()}
    for size, box in (((50, 100), [0, 0, 20, 40]), ((0, 0), [0, 0, 10, 20])):
        found = to_original_frame(fields | {"image_size": torch.tensor(size)}, (100, 200), (100, 200))
        assert found.boxes.tolist() == [box]


def test_heat_maps_of_keypoints_are_no_masks():
    """Detectron2's traced exports name nothing: masks have one channel, heat maps one for each keypoint."""
    boxes, labels, size = torch.zeros(2, 4), torch.zeros(2).long(), torch.tensor([20, 30])
    heat_maps, keypoints, masks = torch.zeros(2, 17, 8, 8), torch.zeros(2, 17, 3), torch.zeros(2, 1, 8, 8)
    scores = torch.zeros(2)
    assert "masks" not in _read_traced((boxes, labels, heat_maps, keypoints, scores, size))
    assert _read_traced((boxes, labels, heat_maps, keypoints, masks, scores, size))["masks"] is masks
