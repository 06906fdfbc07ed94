"""The learning rate over a training, and how many steps there are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detq.training.schedule import FLOOR, learning_rate, total_steps

plans = st.tuples(st.integers(1, 500), st.integers(0, 600), st.floats(1e-6, 1.0))


@given(plans)
def test_rates_are_positive_and_never_above_the_base(plan):
    """Also where the warm-up is longer than the training."""
    total, warmup, base = plan
    rates = [learning_rate(step, base=base, warmup=warmup, total=total) for step in range(total)]
    assert all(0 < rate <= base * (1 + 1e-12) for rate in rates)


@given(plans)
def test_rates_rise_during_the_warm_up_and_fall_after_it(plan):
    """One peak, at its end."""
    total, warmup, base = plan
    rates = [learning_rate(step, base=base, warmup=warmup, total=total) for step in range(total)]
    up, down = rates[:warmup], rates[warmup:]
    assert up == sorted(up)
    assert down == sorted(down, reverse=True)


def test_the_last_step_has_the_floor_rate_and_the_first_a_share_of_the_warm_up():
    """The ends of the schedule, exactly."""
    assert learning_rate(0, base=1.0, warmup=10, total=100) == pytest.approx(0.1)
    assert learning_rate(10, base=1.0, warmup=10, total=100) == pytest.approx(1.0)
    assert learning_rate(99, base=1.0, warmup=10, total=100) == pytest.approx(FLOOR)


@given(st.integers(1, 10_000), st.integers(1, 64), st.floats(0.01, 20))
def test_epochs_become_the_fewest_steps_that_show_every_image_so_often(images, batch, epochs):
    """Rounded up, at least one."""
    steps = total_steps(images=images, batch_size=batch, epochs=epochs, steps=None)
    assert steps >= 1
    assert (steps - 1) * batch < epochs * images <= steps * batch + 1e-6 or steps == 1


def test_given_steps_are_taken_as_they_are():
    """--steps wins over the size of the data."""
    assert total_steps(images=10, batch_size=4, epochs=None, steps=7) == 7
