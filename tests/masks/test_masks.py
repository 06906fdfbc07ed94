"""Masks in their several forms: small until somebody asks, and then all the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as oracle

from detq.masks import InstanceMasks, PastedMasks, RleMasks, as_rle, decode_runs, encode_crop, full_size
from detq.types import Detections, select_classes

SIZE = (40, 30)
BOXES = np.asarray([[2, 3, 20, 30], [-5, -5, 12, 12], [29, 39, 60, 60], [50, 50, 60, 60]], np.float32)


def _kinds() -> dict[str, object]:
    probabilities = np.random.default_rng(0).uniform(0, 1, (4, 28, 28)).astype(np.float32)
    instances = InstanceMasks(probabilities, BOXES, SIZE)
    pasted = instances.full()
    return {
        "crops": instances,
        "pasted": PastedMasks(pasted.astype(np.float32)),
        "run lengths": RleMasks(instances.rle(), SIZE),
        "arrays": pasted,
    }


@pytest.mark.parametrize("kind", _kinds())
def test_every_kind_gives_the_same_pixels_and_run_lengths(kind):
    """Also the mask of a box outside the image, which is empty."""
    masks, expected = _kinds()[kind], _kinds()["arrays"]
    np.testing.assert_array_equal(full_size(masks), expected)
    assert full_size(masks).dtype == np.bool_
    theirs = oracle.encode(np.asfortranarray(expected.transpose(1, 2, 0).astype(np.uint8)))
    assert [rle["counts"] for rle in as_rle(masks)] == [rle["counts"].decode() for rle in theirs]
    assert all(rle["size"] == list(SIZE) for rle in as_rle(masks))


@pytest.mark.parametrize("kind", _kinds())
@pytest.mark.parametrize("keep", [np.asarray([2, 0]), np.asarray([True, False, True, True]), slice(1, 3), slice(0, 0)])
def test_every_kind_can_be_indexed_like_an_array(kind, keep):
    """By an index array, a boolean mask or a slice."""
    masks, expected = _kinds()[kind], _kinds()["arrays"][keep]
    assert len(masks[keep]) == len(expected)
    np.testing.assert_array_equal(full_size(masks[keep]), expected)


@pytest.mark.parametrize("kind", _kinds())
def test_detections_carry_any_kind(kind):
    """Selecting and relabelling take it along, and compacting turns it into run lengths."""
    found = Detections(BOXES, [0.9, 0.8, 0.7, 0.6], [0, 1, 0, 1], _kinds()[kind])
    cars = select_classes(found, ("car", "bus"), ("bus",))
    np.testing.assert_array_equal(full_size(cars.masks), _kinds()["arrays"][[1, 3]])
    compact = found.compact()
    assert isinstance(compact.masks, RleMasks)
    np.testing.assert_array_equal(full_size(compact.masks), _kinds()["arrays"])


@settings(max_examples=150)
@given(
    hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9)),
    st.tuples(*[st.integers(0, 4)] * 4),
)
def test_a_crop_is_encoded_as_the_whole_mask_would_be(pixels, margins):
    """pycocotools is the oracle, to the letter; decoding gives the mask back."""
    whole = np.pad(pixels, (margins[:2], margins[2:]))
    rle = encode_crop(pixels, (margins[0], margins[2]), whole.shape)
    expected = oracle.encode(np.asfortranarray(whole.astype(np.uint8)))
    assert rle == {"size": list(whole.shape), "counts": expected["counts"].decode()}
    np.testing.assert_array_equal(decode_runs(rle), whole)


def test_an_empty_crop_is_an_empty_mask():
    """What a mask outside the image leaves."""
    rle = encode_crop(np.zeros((0, 0), np.bool_), (0, 0), SIZE)
    assert not decode_runs(rle).any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: InstanceMasks(np.zeros((2, 28, 28)), BOXES, SIZE), r"shape \(4, M, M\) .* got \(2, 28, 28\)"),
        (lambda: InstanceMasks(np.zeros((4, 1, 28, 28)), BOXES, SIZE), r"got \(4, 1, 28, 28\)"),
        (lambda: PastedMasks(np.zeros((4, 1, 40, 30))), r"shape \(N, height, width\)"),
        (lambda: RleMasks([{"size": [3, 4], "counts": "<"}], SIZE), r"size \[40, 30\], got \[3, 4\]"),
        (lambda: Detections(BOXES[:1], [1], [0], _kinds()["crops"]), r"masks must be 1 to go with 1 boxes, got 4"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(make, message):
    """At once, with what was expected."""
    with pytest.raises(ValueError, match=message):
        make()
