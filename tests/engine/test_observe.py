"""Calibrating the stages of a whole detector."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from detq.engine import static_int8
from detq.engine.build import build_staged
from detq.engine.calibration import CalibrationChoice
from detq.engine.capability import capability
from detq.engine.dense import DenseStages
from detq.engine.quantize import Programs
from detq.errors import QuantizationError
from detq.quantization.plan import Plan, StageRule
from detq.quantization.recipes import INT8
from tests.engine.small import small_detector

pytestmark = pytest.mark.skipif(static_int8.unsupported_reason() is not None, reason="torchao is not installed")


@pytest.fixture
def threads():
    """Set torch's threads; they are set back."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def _programs(detector, choice=None):
    stages = DenseStages(detector, pixels=True)
    return Programs(
        detector,
        stages,
        tuple(detector.backbone(torch.zeros(1, 3, 64, 64))),
        pixels=True,
        calibration=(choice or CalibrationChoice(images=2)).draw(),
        found=capability(),
        say=print,
    )


def _quantized():
    """Return the numbers of the box head's quantized graph: weights, biases, scales and zero points."""
    programs = _programs(small_detector(min_size=320, max_size=480))
    with torch.no_grad():
        graph = programs.observe({"box_head": INT8.rule("box_head")})["box_head"].convert()
    settings = [[value for value in node.args if isinstance(value, float)] for node in graph.graph.nodes]
    return settings, {name: value.clone() for name, value in graph.state_dict().items()}


def test_a_graph_is_the_same_on_any_number_of_threads(threads):
    """Sums in another order would differ in a last digit, and decide which activations are rounded up."""
    found = []
    for number in (1, 2):
        threads(number)
        found.append(_quantized())
        assert torch.get_num_threads() == number
    (settings, state), (other_settings, other_state) = found
    assert settings == other_settings
    assert any(settings)
    assert state.keys() == other_state.keys()
    assert all(torch.equal(value, other_state[name]) for name, value in state.items())


def test_a_stage_that_nobody_asked_for_in_int8_may_see_no_data():
    """Other stages are calibrated with it because that costs nothing; without detections there are no masks."""
    programs = _programs(small_detector(masks=True, box_score_thresh=1.0))
    rules = {stage: INT8.rule(stage) for stage in ("box_head", "mask_head")}
    with torch.no_grad():
        assert programs.observe(rules, needed={"box_head"}).keys() == {"box_head"}
        with pytest.raises(QuantizationError, match="mask_head saw no data in 2 calibration images"):
            programs.observe(rules)


def test_a_flat_image_is_padded_to_what_an_int8_backbone_takes(tmp_path):
    """One block of 32 pixels high after resizing: black below it, in calibration and afterwards; fp32 needs no such."""
    rng = np.random.default_rng(0)
    for name, size in (("a.png", (8, 160, 3)), ("b.png", (120, 160, 3))):
        Image.fromarray(rng.integers(0, 256, size, np.uint8)).save(tmp_path / name)
    detector = small_detector(max_size=320)
    programs = _programs(detector, CalibrationChoice(str(tmp_path)))
    with torch.no_grad():
        assert programs.observe({"backbone": INT8.rule("backbone")})["backbone"].example[0].shape[2:] == (64, 320)
    image, calibration = torch.rand(3, 8, 160), CalibrationChoice(images=1).draw()
    for precision, known in (("int8", (64, 320)), ("fp32", (32, 320))):
        plan = Plan().with_rule("backbone", StageRule("inductor", precision))
        staged = build_staged(detector, plan, calibration=calibration)
        staged([image])
        assert staged.canvases.known == (known,)
