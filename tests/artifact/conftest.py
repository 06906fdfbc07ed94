"""One small variant, compiled once: as a predictor and as a file."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import pytest

from detq.datasets.synthetic import traffic_camera
from detq.engine.calibration import CalibrationChoice, draw
from detq.variants import Variant


@pytest.fixture(scope="session")
def calibration():
    """Four small frames."""
    return draw(traffic_camera(4, 200, (160, 120)), CalibrationChoice(images=4))


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """A cache of this session's own."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETQ_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def exported(calibration, noise, tmp_path_factory):
    """A file with a small detector in mixed_int8, what the export said, and the sentences on what took long."""
    from detq.artifact.save import export_variant

    path = tmp_path_factory.mktemp("artifact") / "tiny.detq"
    said: list[str] = []
    variant = Variant("tests.artifact.tiny:build", "mixed_int8")
    made = export_variant(variant, path, image=noise, calibration=calibration, say=said.append)
    return path, made, said


@pytest.fixture
def artifact(exported, tmp_path) -> Path:
    """A copy of the file that a test may damage."""
    return Path(shutil.copy(exported[0], tmp_path / "tiny.detq"))


@contextlib.contextmanager
def no_compiler(monkeypatch, tmp_path):
    """Take the C++ compilers away."""
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path))
        patch.delenv("CXX", raising=False)
        yield
