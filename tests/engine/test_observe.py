"""Calibrating the stages of a whole detector."""

from __future__ import annotations

import pytest
import torch

from detq.engine import static_int8
from detq.engine.calibration import CalibrationChoice
from detq.engine.capability import capability
from detq.engine.dense import DenseStages
from detq.engine.quantize import Programs
from detq.quantization.recipes import INT8
from tests.engine.small import small_detector

pytestmark = pytest.mark.skipif(static_int8.unsupported_reason() is not None, reason="torchao is not installed")


@pytest.fixture
def threads():
    """Set torch's threads; they are set back."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def _quantized():
    """Return the numbers of the box head's quantized graph: weights, biases, scales and zero points."""
    detector = small_detector(min_size=320, max_size=480)
    stages = DenseStages(detector, pixels=True)
    programs = Programs(
        detector,
        stages,
        tuple(detector.backbone(torch.zeros(1, 3, 64, 64))),
        pixels=True,
        calibration=CalibrationChoice(images=2).draw(),
        found=capability(),
        say=print,
    )
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
