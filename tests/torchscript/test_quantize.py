"""Quantizing TorchScript files: what becomes int8, what it is close to, and what is refused and why."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from typer.testing import CliRunner

from detq.cli import app
from detq.errors import ModelFileError, QuantizationError
from detq.quantization import dynamic_int8
from detq.quantization.frozen import freeze
from detq.quantization.script_layers import layers_of, nodes_of
from detq.quantization.scripted import quiet_torchscript, script_detector
from detq.torchscript import TorchScriptPredictor, quantize, quantize_script, read_script


class _Head(nn.Module):
    """As Detectron2's: what torch's own pass can follow."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.fc1 = nn.Linear(4, 6)
        self.fc2 = nn.Linear(6, 2, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        return self.fc2(self.fc1(self.conv(image[None]).mean((2, 3))).relu())


def _head(kind):
    torch.manual_seed(0)
    module, image = _Head().eval(), torch.rand(3, 16, 16)
    with quiet_torchscript():
        script = torch.jit.trace(module, (image,)) if "traced" in kind else torch.jit.script(module)
        return module, (freeze(script) if "frozen" in kind else script), image


@pytest.mark.parametrize("kind", ["scripted", "traced", "scripted, frozen", "traced, frozen"])
@pytest.mark.parametrize("way", ["_by_torch", "_by_rewriting"])
def test_every_linear_layer_becomes_what_quantize_dynamic_makes_of_it(kind, way):
    """The same weights and the same rounding in both ways; the module given stays as it was."""
    module, script, image = _head(kind)
    with quiet_torchscript():
        made = getattr(quantize, way)(script).eval()
    expected = dynamic_int8.apply(module)
    with torch.inference_mode():
        assert torch.allclose(made(image), expected(image), atol=1e-6)
        assert not torch.equal(made(image), module(image))
        assert torch.allclose(script(image), module(image), atol=1e-6)
    kinds = [node.kind() for node in nodes_of(made.inlined_graph)]
    assert kinds.count("quantized::linear_dynamic") == sum(layer.int8 for layer in layers_of(made)) == 2
    assert "aten::linear" not in kinds


def test_a_linear_layer_that_was_traced_as_addmm_counts_too():
    """Older versions of torch wrote it so, and files live long."""

    class Old(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.rand(2, 3)), nn.Parameter(torch.rand(2))

        def forward(self, rows: Tensor) -> Tensor:
            return torch.addmm(self.bias, rows, self.weight.t())

    with quiet_torchscript():
        script = torch.jit.script(Old().eval())
        made = quantize._by_rewriting(script)
    rows = torch.rand(5, 3)
    with torch.inference_mode():
        assert torch.allclose(made(rows), script(rows), atol=0.03)
        assert not torch.equal(made(rows), script(rows))


def test_a_file_of_which_a_part_would_stay_in_floating_point_is_refused():
    """A product that is scaled fits no int8 kernel: half of the layers in int8 is not what somebody asked for."""

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(3, 3)
            self.weight, self.bias = nn.Parameter(torch.rand(2, 3)), nn.Parameter(torch.rand(2))

        def forward(self, rows: Tensor) -> Tensor:
            return torch.addmm(self.bias, self.first(rows), self.weight.t(), alpha=2.0)

    with quiet_torchscript():
        script = torch.jit.script(Scaled().eval())
    with pytest.raises(QuantizationError, match=r"model\.ts: 2 linear layers could not all be converted"):
        quantize_script(script, "model.ts")


def test_torchs_own_pass_gives_up_on_torchvisions_detectors_and_ours_does_not(fp32_predictor, int8_predictor, noise):
    """It cannot follow the image list; the rewritten graph scores as the eager recipe does."""
    made = quantize_script(script_detector(fp32_predictor.module), "model.ts")
    assert made.way == "rewritten graph"
    assert made.layers == (
        "model.roi_heads.box_head.fc6",
        "model.roi_heads.box_head.fc7",
        "model.roi_heads.box_predictor.cls_score",
        "model.roi_heads.box_predictor.bbox_pred",
    )
    image = torch.from_numpy(noise).permute(2, 0, 1) / 255
    with torch.inference_mode():
        (found,), (expected,) = made.module([image]), int8_predictor.module([image])
    assert found["scores"].tolist() == pytest.approx(expected["scores"].tolist(), abs=1e-3)


def test_what_is_int8_already_is_refused():
    """Twice quantized is a mistake in somebody's pipeline."""
    made = quantize_script(_head("scripted")[1], "head.ts")
    with pytest.raises(QuantizationError, match=r"again\.ts: it is quantized already: 2 int8 layers"):
        quantize_script(made.module, "again.ts")


def test_without_linear_layers_there_is_nothing_to_do():
    """Convolutions have no dynamic kernels; the message says so instead of writing the same file again."""
    with quiet_torchscript():
        script = torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 1, 1)).eval())
    with pytest.raises(QuantizationError, match="of its 2 layers with weights none is linear"):
        quantize_script(script, "conv.ts")


def _detq(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_detectron2_export_is_quantized_from_file_to_file(exported, tmp_path, bgr):
    """Its conventions stay, what lay beside the module stays, and the proof is that of the new file."""
    source, out, photo = tmp_path / "model.ts", tmp_path / "model.int8.ts", tmp_path / "photo.png"
    script = read_script(exported["Scripted"]).module
    known = json.dumps({"format": "detq-torchscript/1", "fp32_weight_bytes": 12345})
    with quiet_torchscript():
        torch.jit.save(script, str(source), _extra_files={"mine.txt": "kept", "detq.json": known})
    Image.fromarray(bgr[:, :, ::-1]).save(photo)
    done = _detq("quantize", source, "--out", out, "--image", photo, "--threads", "1", "--json")
    assert done.exception is None
    result = json.loads(done.stdout)
    assert result["layers"] == ["model.head"]
    assert 0 < result["proof"]["share"] <= 1
    assert result["detections"]["before"] == result["detections"]["after"] > 0
    assert result["bytes"] == {"before": source.stat().st_size, "after": out.stat().st_size}
    content = read_script(out)
    assert content.extra == {"mine.txt": b"kept"}
    assert content.metadata["recipe"] == "torchscript_dynamic_int8"
    assert content.metadata["fp32_weight_bytes"] == 12345, "of the eager model, which the file's own constants are not"
    before, after = TorchScriptPredictor(source), TorchScriptPredictor(out)
    assert after.convention == "detectron2-scripted"
    sizes = [one.script.count_weight_bytes() for one in (after, before)]
    assert [result["proof"][name] for name in ("weight_bytes", "fp32_weight_bytes")] == sizes
    np.testing.assert_array_equal(after(bgr).boxes, before(bgr).boxes)


def test_what_is_found_is_counted_before_and_after(toys, tmp_path, bgr):
    """Two objects of three hang on a weight that int8 rounds to nothing, so the new file finds fewer than the old."""
    old, new, image = tmp_path / "model.ts", tmp_path / "model.int8.ts", np.ascontiguousarray(bgr[:, :, ::-1])
    with quiet_torchscript():
        torch.jit.trace(toys.Delicate().eval(), (torch.full((3, 96, 128), 200.0),)).save(str(old))
    Image.fromarray(image).save(tmp_path / "photo.png")
    done = _detq("quantize", old, "--out", new, "--image", tmp_path / "photo.png", "--threads", "1", "--json")
    before, after = (len(TorchScriptPredictor(path, input_format="RGB")(image)) for path in (old, new))
    assert json.loads(done.stdout)["detections"] == {"before": before, "after": after}
    assert before > after > 0


def test_a_refused_file_leaves_nothing_behind(exported, tmp_path):
    """Neither half a file nor an empty one; and what exists is not overwritten unasked."""
    out = tmp_path / "out.ts"
    dark = tmp_path / "dark.png"
    Image.new("RGB", (64, 48)).save(dark)
    done = _detq("quantize", exported["Traced"], "--out", out, "--image", dark, "--threads", "1")
    assert isinstance(done.exception, QuantizationError)
    assert "an image that shows objects" in str(done.exception)
    (tmp_path / "text.ts").write_text("hello", encoding="utf-8")
    assert isinstance(_detq("quantize", tmp_path / "text.ts", "--out", out).exception, ModelFileError)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dark.png", "text.ts"]
    out.touch()
    assert "add --overwrite" in str(_detq("quantize", exported["Traced"], "--out", out).exception)


def test_metadata_of_another_format_is_refused(exported, tmp_path):
    """A later detq may write what this one cannot read."""
    path = tmp_path / "later.ts"
    with quiet_torchscript():
        torch.jit.save(read_script(exported["Traced"]).module, str(path), _extra_files={"detq.json": '{"format": "x"}'})
    with pytest.raises(ModelFileError, match="expected metadata of format detq-torchscript/1, found x"):
        read_script(path)
    assert any(name.endswith("extra/detq.json") for name in zipfile.ZipFile(path).namelist())
