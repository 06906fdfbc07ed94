"""Interleaved per-image times."""

from __future__ import annotations

import gc
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from detq.masks import RleMasks
from detq.measure.split import watching
from detq.measure.timing import interleave, percentiles, variant_order
from detq.tensors import as_tensor
from detq.types import Detections, Sample
from tests.engine.small import small_detector


class Images:
    """Ten blank images; it notes which were decoded."""

    def __init__(self):
        self.loaded = []

    def load(self, index):
        self.loaded.append(index)
        return Sample(f"image-{index}", np.full((2, 2, 3), index, np.uint8))


class Recorder:
    """A variant that notes the image it was given, and whether Python's garbage collector was on."""

    def __init__(self, sleep_s=0.0):
        self.seen, self.collecting, self.sleep_s = [], [], sleep_s

    def __call__(self, image):
        self.seen.append(int(image[0, 0, 0]))
        self.collecting.append(gc.isenabled())
        time.sleep(self.sleep_s)
        return Detections.empty()


def _run(indices, *, seed=3, warmup=0, names=("fp32", "dynamic_int8", "other")):
    predictors = {name: Recorder() for name in names}
    return predictors, list(interleave(predictors, Images(), indices, seed=seed, warmup=warmup))


def test_every_variant_runs_once_on_every_image_in_data_set_order():
    """The times are paired: no image is missing for any variant."""
    predictors, rows = _run(range(5))
    assert [sample.image_id for sample, _ in rows] == [f"image-{index}" for index in range(5)]
    assert all({one.variant for one in measured} == set(predictors) for _, measured in rows)
    assert all([one.order for one in measured] == [0, 1, 2] for _, measured in rows)
    assert all(predictor.seen == [0, 1, 2, 3, 4] for predictor in predictors.values())


class Small:
    """A small detector of torchvision's with masks."""

    def __init__(self):
        self.module, self.has_masks = small_detector(masks=True), True

    def __call__(self, image):
        with torch.inference_mode():
            self.module([as_tensor(image)])
        return Detections.empty()


def _hooked(module):
    return [path for path, child in module.named_modules() if child._forward_hooks or child._forward_pre_hooks]


def test_detectors_with_masks_are_divided_into_parts_that_add_up(noise):
    """And they are left without hooks; a variant without torchvision's parts is not divided."""

    class Noise(Images):
        def load(self, index):
            return Sample(f"image-{index}", noise)

    predictors = {"fp32": Small(), "other": Recorder()}
    for _, measured in interleave(predictors, Noise(), range(3), seed=0, warmup=0):
        for one in measured:
            if one.variant == "other":
                assert one.split is None
                continue
            parts = one.split.to_row()
            assert min(parts) > 0
            assert one.split.model_ms > one.split.preprocess_ms
            assert sum(parts) == pytest.approx(one.elapsed_ms)
    assert not _hooked(predictors["fp32"].module)


def test_the_reference_of_detectors_without_masks_is_torchvisions_module_without_hooks(fp32_predictor):
    """Not even a microsecond of ours is in its times; with masks two hooks divide them."""
    with watching(fp32_predictor) as marks:
        assert not _hooked(fp32_predictor.module)
    assert marks.split(1, 2) is None
    small = Small()
    with watching(small):
        assert _hooked(small.module) == ["transform", "roi_heads"]


def test_masks_are_compacted_between_the_variants():
    """Full-size masks of several variants at once would be gigabytes."""

    def predict(image):
        return Detections([[0, 0, 2, 2]], [1], [0], np.ones((1, *image.shape[:2]), np.bool_))

    ((_, measured),) = interleave({"fp32": predict}, Images(), [0], seed=0)
    assert isinstance(measured[0].detections.masks, RleMasks)


def test_a_run_that_goes_on_has_the_order_it_would_have_had():
    """The order of variants belongs to (seed, image), whatever ran before."""
    _, whole = _run(range(8))
    _, rest = _run(range(5, 8))
    assert [[one.variant for one in measured] for _, measured in whole[5:]] == [
        [one.variant for one in measured] for _, measured in rest
    ]


@given(st.integers(0, 2**32), st.integers(0, 2**40))
def test_an_order_is_a_permutation_that_repeats(seed, index):
    """Every variant once; the same seed and image give the same order."""
    names = ["a", "b", "c"]
    assert sorted(variant_order(names, seed, index)) == names
    assert variant_order(names, seed, index) == variant_order(names, seed, index)


def test_every_variant_goes_first_about_equally_often():
    """What runs first finds colder caches; over many images that must not favour a variant."""
    first = [variant_order(["a", "b"], 0, index)[0] for index in range(1000)]
    assert 420 < first.count("a") < 580


def test_warm_up_is_not_timed_and_uses_the_first_images():
    """The first calls allocate and pack; they are nobody's latency."""
    predictors, rows = _run([4, 5], warmup=3)
    assert predictors["fp32"].seen == [4, 5, 4, 4, 5]
    assert len(rows) == 2


def test_nothing_to_measure_needs_no_warm_up():
    """A resumed run may be complete already."""
    predictors, rows = _run([], warmup=2)
    assert rows == []
    assert predictors["fp32"].seen == []


def test_the_collector_is_off_inside_the_timed_region_and_back_between_images():
    """A collection takes longer than some detectors; the consumer's garbage must still go."""
    predictors = {"fp32": Recorder()}
    for _ in interleave(predictors, Images(), range(3), seed=0, warmup=0):
        assert gc.isenabled()
    assert predictors["fp32"].collecting == [False, False, False]


def test_the_collector_is_restored_after_an_error():
    """A variant that fails must not leave the process without garbage collection."""

    def fails(_image):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        next(interleave({"fp32": fails}, Images(), [0], seed=0, warmup=0))
    assert gc.isenabled()


def test_times_are_in_milliseconds_and_leave_decoding_out():
    """Twenty milliseconds of work read as twenty."""

    class Slow(Images):
        def load(self, index):
            time.sleep(0.05)
            return super().load(index)

    ((_, (measured,)),) = interleave({"fp32": Recorder(0.02)}, Slow(), [0], seed=0, warmup=0)
    assert 20 <= measured.elapsed_ms < 45


def test_images_are_loaded_one_at_a_time():
    """A set of a million images must not be decoded ahead."""
    images = Images()
    rows = interleave({"fp32": Recorder()}, images, range(10), seed=0, warmup=0)
    next(rows)
    assert images.loaded == [0]


@given(st.lists(st.floats(0.01, 1e5), min_size=1, max_size=40))
def test_a_summary_is_ordered_and_agrees_with_numpy(times):
    """Median ≤ p90 ≤ p99 ≤ the longest; the total is in seconds."""
    summary = percentiles(times)
    assert summary.images == len(times)
    assert summary.median_ms == pytest.approx(np.median(times))
    assert summary.median_ms <= summary.p90_ms <= summary.p99_ms <= max(times) * (1 + 1e-12)
    assert summary.total_s == pytest.approx(summary.mean_ms * len(times) / 1000)


def test_percentiles_are_interpolated_between_times():
    """Of 0 to 100 ms, one each, the median, p90 and p99 are 50, 90 and 99 ms."""
    summary = percentiles(range(101))
    assert (summary.median_ms, summary.p90_ms, summary.p99_ms) == (50, 90, 99)


def test_no_times_are_an_error():
    """A run in which nothing was measured must not look like a fast one."""
    with pytest.raises(ValueError, match="nothing was measured"):
        percentiles([])
