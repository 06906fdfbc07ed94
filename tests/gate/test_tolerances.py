"""Tolerances come from [tool.detq.gate] and are checked."""

from __future__ import annotations

import pytest

from detq.errors import DetqError, UnknownNameError
from detq.gate import Tolerances, tolerances_from


def test_what_the_table_leaves_out_keeps_its_default():
    """An empty table is the defaults."""
    assert tolerances_from({}) == Tolerances()
    assert tolerances_from({"latency": 0.2}) == Tolerances(latency=0.2)


@pytest.mark.parametrize("value", [-0.1, 1, 2.0, "10 %", True, float("nan"), None])
def test_a_tolerance_that_is_no_fraction_is_refused(value):
    """10 means 1000 % and would let everything pass."""
    with pytest.raises(DetqError, match=r"\[tool\.detq\.gate\] latency: expected a number from 0 up to"):
        tolerances_from({"latency": value})


def test_a_misspelt_key_offers_the_close_one():
    """A tolerance under another name would not be in force."""
    with pytest.raises(UnknownNameError, match="did you mean latency"):
        tolerances_from({"latncy": 0.1})
