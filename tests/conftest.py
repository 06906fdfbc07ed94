"""What every test may ask for: Hypothesis profiles and the data that only development machines and CI have."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("ci", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("dev", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder beside the checkout with real photos and weights; they are too large, or not ours, to commit."""
    folder = Path(os.environ.get("DETQ_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        if os.environ.get("DETQ_REQUIRE_SHARED"):
            pytest.fail(f"DETQ_REQUIRE_SHARED is set, but there is no folder {folder}")
        pytest.skip(f"needs the development data in {folder} (set DETQ_SHARED to its path)")
    return folder


@pytest.fixture(scope="session")
def noise() -> np.ndarray:
    """A small image on which a detector with random weights finds something: uint8, 120 × 160 pixels."""
    return np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)


@pytest.fixture(scope="session")
def fp32_predictor(noise):
    """The smallest two-stage detector with random weights, proved on `noise`. Do not change it."""
    from detq.predictor import build_predictor

    return build_predictor("fasterrcnn_mobilenet_v3_large_320_fpn-fp32", weights="random", prove_on=noise)


@pytest.fixture(scope="session")
def int8_predictor(noise):
    """The same detector in dynamic int8. Do not change it."""
    from detq.predictor import build_predictor

    return build_predictor("fasterrcnn_mobilenet_v3_large_320_fpn-dynamic_int8", weights="random", prove_on=noise)
