"""Frozen dataclasses to JSON and back."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detq.records import from_json, to_json


@dataclass(frozen=True)
class Part:
    name: str
    share: float | None = None


@dataclass(frozen=True)
class Whole:
    count: int
    good: bool
    parts: tuple[Part, ...]
    by_name: dict[str, Part]


PARTS = st.builds(Part, st.text(), st.none() | st.floats(allow_nan=False, allow_infinity=False))
WHOLES = st.builds(
    Whole, st.integers(), st.booleans(), st.lists(PARTS).map(tuple), st.dictionaries(st.text(), PARTS, max_size=3)
)


@given(WHOLES)
def test_a_record_survives_the_way_through_json(whole):
    """What is written is what is read, tuples and nested records included."""
    assert from_json(Whole, json.loads(json.dumps(to_json(whole))), "file") == whole


def test_numpy_numbers_are_written_as_plain_ones():
    """A NumPy float among the results does not break `json.dumps`."""
    assert json.dumps(to_json(Part("a", np.float64(0.5)))) == '{"name": "a", "share": 0.5}'


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "file must be an object, got []"),
        ({"name": 3}, "file: name must be of type str, got 3"),
        ({"share": 1.0}, "file: the key 'name' is missing"),
        ({"name": "a", "share": "much"}, "file: share must be a number, got 'much'"),
        ({"name": "a", "share": True}, "file: share must be a number, got True"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(value, message):
    """The message says which key of which file holds what."""
    with pytest.raises(ValueError, match=r"^file") as caught:
        from_json(Part, value, "file")
    assert str(caught.value) == message


def test_a_wrong_value_deep_inside_is_named_with_its_path():
    """Nested places are spelled out."""
    whole = {"count": 1, "good": True, "parts": [{"name": "a"}, {"name": 2}], "by_name": {}}
    with pytest.raises(ValueError, match=r"file: parts\[1\]: name must be of type str, got 2"):
        from_json(Whole, whole, "file")


def test_unknown_keys_are_left_out():
    """A file written by a later version with more in it can still be read."""
    assert from_json(Part, {"name": "a", "new": 1}, "file") == Part("a")


def test_a_boolean_is_no_integer():
    """JSON's true does not pass for 1."""
    with pytest.raises(ValueError, match="count must be an integer"):
        from_json(Whole, {"count": True, "good": True, "parts": [], "by_name": {}}, "file")
