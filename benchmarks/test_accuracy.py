"""That each variant finds what fp32 finds; how much exactly is the gate's to judge."""

from __future__ import annotations

import numpy as np
import pytest

# A broken layer costs far more, honest int8 far less; a car more or less in each of n images is some 0.4 / n.
LARGEST_DIFFERENCE = 0.05
ONE_OBJECT = 0.4


def test_detections_are_sound(detq_result):
    """Boxes have corners in order inside the image, scores lie in [0, 1], best first."""
    for found in detq_result.detections:
        assert np.isfinite(found.boxes).all()
        assert (found.boxes[:, 2:] >= found.boxes[:, :2]).all()
        assert ((found.scores >= 0) & (found.scores <= 1)).all()
        assert (np.diff(found.scores) <= 0).all()
    for sample, found in zip(detq_result.samples, detq_result.detections, strict=False):
        assert found.boxes.min(initial=0) >= 0
        assert (found.boxes <= [sample.width, sample.height] * 2).all()


def test_accuracy_is_close_to_fp32(detq_result, detq_reference):
    """No variant's AP or report metric differs from fp32's by more than a handful of images can explain."""
    if not detq_result.meaningful:
        pytest.skip("these weights mean nothing")
    allowed = LARGEST_DIFFERENCE + ONE_OBJECT / len(detq_result.truths)
    for name, value in detq_reference.info["accuracy"].items():
        if value is not None:
            assert detq_result.info["accuracy"][name] == pytest.approx(value, abs=allowed), name
