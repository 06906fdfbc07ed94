"""Where randomness comes from, and what colours do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detq.training.augment import augment, batch_short_side, sample_rng
from detq.training.photometry import add_noise, blur, colour_matrix, recolour
from detq.types import GroundTruth


def _image(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def test_an_augmentation_depends_on_seed_epoch_and_position_alone():
    """The same three numbers give the same bytes; another of any of them gives others."""
    truth = GroundTruth(np.asarray([[4, 4, 20, 20]], np.float32), np.zeros(1, np.int64))

    def bytes_of(*numbers):
        image, objects = augment(_image(), truth, sample_rng(*numbers))
        return image.tobytes() + objects.boxes.tobytes()

    first = bytes_of(1, 2, 3)
    assert first == bytes_of(1, 2, 3)
    assert len({first, bytes_of(0, 2, 3), bytes_of(1, 0, 3), bytes_of(1, 2, 0)}) == 4


def test_every_short_side_is_drawn_and_each_step_always_draws_the_same():
    """Resuming at a step must find the size that the step had."""
    drawn = [batch_short_side(5, step, (64, 96, 128)) for step in range(60)]
    assert set(drawn) == {64, 96, 128}
    assert drawn[17] == batch_short_side(5, 17, (64, 96, 128))


@given(st.integers(0, 255))
def test_factors_of_one_and_no_rotation_change_nothing(value):
    """The neutral colour matrix is the identity on bytes."""
    image = np.full((2, 2, 3), value, np.uint8)
    image[0, 0] = [255 - value, value, 7]
    neutral = colour_matrix(brightness=1, contrast=1, saturation=1, hue=0)
    assert np.array_equal(recolour(image, neutral), image)


@given(st.floats(-3, 3), st.floats(0, 2), st.integers(0, 255))
def test_gray_stays_gray_under_saturation_and_hue(hue, saturation, value):
    """Both work around the gray axis."""
    matrix = colour_matrix(brightness=1, contrast=1, saturation=saturation, hue=hue)
    assert matrix @ [value, value, value, 1] == pytest.approx([value] * 3, abs=1e-6)


def test_no_saturation_gives_gray():
    """All channels of each pixel are equal, up to the rounding of bytes."""
    gray = recolour(_image(), colour_matrix(brightness=1, contrast=1, saturation=0, hue=0.1))
    assert np.ptp(gray.astype(int), axis=2).max() <= 1


def test_blur_and_noise_keep_shape_and_type_and_the_caller_s_image():
    """They return new images."""
    image = _image()
    before = image.copy()
    for changed in (blur(image, 1.0), add_noise(image, 10.0, np.random.default_rng(0))):
        assert (changed.shape, changed.dtype) == (image.shape, np.uint8)
        assert not np.array_equal(changed, image)
    assert np.array_equal(image, before)
