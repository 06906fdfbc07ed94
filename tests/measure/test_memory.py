"""Peak memory, each variant in a process of its own."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from detq.errors import DetqError, UnsupportedError
from detq.measure.memory import measure_memory, resident_bytes
from detq.measure.peak import inference_peak

MODEL = "fasterrcnn_mobilenet_v3_large_320_fpn"


@pytest.fixture
def folder(noise, tmp_path):
    """A data set of one small image without labels."""
    Image.fromarray(noise).save(tmp_path / "noise.png")
    return {"path": str(tmp_path), "unlabelled": True}


def test_a_variants_memory_is_more_than_torchs_own(folder):
    """Building takes at least the weights, running takes more, and torch's share can be told apart."""
    use = measure_memory(f"{MODEL}-fp32", folder, weights="random", images=2)
    weights = 19_000_000 * 4
    assert use.baseline_bytes + weights * 0.9 < use.loaded_bytes < use.peak_bytes
    assert use.inference_bytes == use.peak_bytes - use.baseline_bytes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": "nowhere.pth"}, "--weights nowhere.pth: expected"),
        ({"data": {"path": "no-such-folder"}}, "no-such-folder"),
        ({"data": {"pth": "x"}}, "unexpected keyword argument"),
    ],
)
def test_what_goes_wrong_in_the_process_is_one_sentence(changes, message, folder):
    """The user sees the reason, not another process's traceback."""
    arguments = {"data": folder, "weights": "random"} | changes
    with pytest.raises(DetqError, match=f"measuring the memory of {MODEL}-fp32") as error:
        measure_memory(f"{MODEL}-fp32", arguments.pop("data"), **arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_platform_that_does_not_say_is_unsupported(tmp_path):
    """Outside Linux the table has no memory column, and the reason is told."""
    with pytest.raises(UnsupportedError, match="needs Linux"):
        resident_bytes("VmHWM", tmp_path / "status")
    (tmp_path / "status").write_text("VmRSS:\t  12 kB\n", encoding="utf-8")
    assert resident_bytes("VmRSS", tmp_path / "status") == 12 * 1024
    with pytest.raises(UnsupportedError, match="VmHWM"):
        resident_bytes("VmHWM", tmp_path / "status")


def test_the_peak_of_an_image_is_the_usual_one_and_nobodys_leftovers():
    """Of three images the middle one; what the first freed is given back before the second begins."""
    images = [np.zeros((megabytes, 1000, 1000), np.uint8) for megabytes in (60, 8, 8)]
    peak = inference_peak(np.ones_like, images)
    if peak is None:
        pytest.skip("this platform does not let the peak start anew")
    assert 7.5e6 < peak < 20e6
    assert inference_peak(len, []) is None
