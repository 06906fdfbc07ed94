"""How ranges are chosen, against brute force and NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detq.engine.calibration import OBSERVERS

observers = pytest.importorskip("detq.engine.observers", reason="torchao is not installed")

LEVELS = 256


def _observer(choice, batches, *, quant_max=255):
    made = observers.RangeObserver(
        choice=choice, dtype=torch.uint8, quant_min=0, quant_max=quant_max, qscheme=torch.per_tensor_affine, eps=2**-12
    )
    for batch in batches:
        made(batch)
    return made


def _squared_error(observer, values):
    scale, zero = observer.calculate_qparams()
    rounded = torch.fake_quantize_per_tensor_affine(values, float(scale), int(zero), 0, observer.quant_max)
    return float(((rounded - values) ** 2).mean())


@st.composite
def activations(draw):
    """Values as activation functions leave them: many zeros, a long tail, at times negative ones, in two batches."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))
    spread = draw(st.floats(0.1, 20.0))
    values = torch.randn(20_000, generator=generator) * spread
    values[:10] *= draw(st.floats(1.0, 8.0))
    if draw(st.booleans()):
        values = values.relu()
    return values


@settings(deadline=None, max_examples=15)
@given(activations(), st.sampled_from([127, 255]))
def test_least_squares_never_does_worse_than_the_whole_range(values, quant_max):
    """Clipping a tail has to pay; where it does not, the whole range is among the candidates."""
    chosen = _squared_error(_observer("mse", [values], quant_max=quant_max), values)
    whole = _squared_error(_observer("minmax", [values], quant_max=quant_max), values)
    assert chosen <= whole * 1.05 + 1e-9


def test_least_squares_clips_a_tail_where_levels_are_few():
    """With 16 levels for a normal distribution, the best uniform quantizer clips at some 2.9 deviations (Max, 1960)."""
    values = torch.randn(500_000, generator=torch.Generator().manual_seed(1))
    histogram = torch.histc(values, 2048, min=-6, max=6)
    low, high = observers.least_squares(histogram, -6.0, 6.0, 16)
    assert 2.3 < -low < 3.3
    assert 2.3 < high < 3.3


@settings(deadline=None, max_examples=15)
@given(activations())
def test_the_whole_range_is_that_of_all_batches(values):
    """Min-max loses nothing, in whatever order the images came."""
    made = _observer("minmax", values.split(7_000))
    scale, zero = (float(one) for one in made.calculate_qparams())
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    assert scale == pytest.approx((high - low) / 255, rel=1e-5)
    assert zero == round(-low / scale)


@settings(deadline=None, max_examples=15)
@given(activations())
def test_a_percentile_is_numpys_up_to_a_bin(values):
    """The share is counted in a histogram, so an end is known to its bin."""
    made = _observer("percentile", [values])
    low, high = observers.percentile(made.histogram, float(made.min_val), float(made.max_val), LEVELS)
    expected = np.percentile(values.numpy(), [0.005, 99.995])
    assert np.allclose([low, high], expected, atol=2 * float(made.max_val - made.min_val) / made.bins)


@settings(deadline=None, max_examples=25)
@given(st.sampled_from(OBSERVERS), activations(), st.sampled_from([127, 255]), st.floats(-30, 30))
def test_zero_stays_zero(choice, values, quant_max, shift):
    """Padding is zero: a range without it would turn a border into an object."""
    made = _observer(choice, [values + shift], quant_max=quant_max)
    scale, zero = made.calculate_qparams()
    rounded = torch.fake_quantize_per_tensor_affine(torch.zeros(1), float(scale), int(zero), 0, quant_max)
    assert float(rounded) == 0.0
    assert 0 <= int(zero) <= quant_max


@pytest.mark.parametrize("choice", OBSERVERS)
def test_a_map_of_zeros_has_a_scale(choice):
    """A dead channel or an empty image must not divide by zero."""
    scale, zero = _observer(choice, [torch.zeros(100)]).calculate_qparams()
    assert float(scale) > 0
    assert int(zero) == 0


def test_an_observer_that_saw_nothing_says_so():
    """A default scale would be silent nonsense."""
    with pytest.raises(ValueError, match="seen no value"):
        _observer("mse", []).calculate_qparams()


def test_every_observer_that_can_be_named_exists():
    """The command line's list imports no torch, so it is kept twice."""
    assert set(OBSERVERS) == set(observers.CHOICES)
