"""What every test may ask for: Hypothesis profiles and the data that only development machines and CI have."""

from __future__ import annotations

import os
from pathlib import Path

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
