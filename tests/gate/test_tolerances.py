"""Tolerances come from [tool.detq.gate] and are checked."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

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


@pytest.mark.parametrize("name", ["latency", "ap"])
def test_no_tolerance_at_all_is_refused_only_where_figures_are_noisy(name):
    """AP of the same code is the same; its time never is."""
    if name == "latency":
        with pytest.raises(DetqError, match=r"latency: expected a number above 0, got 0; the figure differs"):
            tolerances_from({name: 0})
    else:
        assert tolerances_from({name: 0}).ap == 0


DYNAMIC = "fasterrcnn_mobilenet_v3_large_fpn-dynamic_int8"


def test_a_variant_can_have_tolerances_of_its_own():
    """What it leaves out is as for all; other variants, also of a user's own detector, take no notice."""
    own = "mypkg.detector:build-dynamic_int8"
    found = tolerances_from({"ap": 0.02, "variants": {DYNAMIC: {"latency": 0.3}, own: {"ap": 0.1}}})
    assert (found.of(DYNAMIC).latency, found.of(DYNAMIC).ap) == (0.3, 0.02)
    assert (found.of(own).latency, found.of(own).ap) == (0.1, 0.1)
    assert (found.of("other-fp32").latency, found.of("other-fp32").ap) == (0.1, 0.02)


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"fasterrcnn-dynamic": {}}, r"\[tool\.detq\.gate\.variants\.fasterrcnn-dynamic\]: unknown variant"),
        ({DYNAMIC: {"latency": 2}}, rf"variants\.{DYNAMIC}\] latency: expected a number from 0 up to"),
        ({DYNAMIC: {"lattency": 0.1}}, "did you mean latency"),
        ({DYNAMIC: 0.1}, "expected a table of tolerances, got 0.1"),
        (0.1, "variants: expected a table for each variant, got 0.1"),
    ],
)
def test_a_mistake_in_a_variants_tolerances_is_a_sentence_that_names_it(table, sentence):
    """A tolerance for a variant that does not exist would not be in force."""
    with pytest.raises(DetqError, match=sentence):
        tolerances_from({"variants": table})


def test_the_table_of_the_documentation_has_every_tolerance_with_its_default():
    """docs/gate.md is where people look them up."""
    text = (Path(__file__).resolve().parents[2] / "docs" / "gate.md").read_text(encoding="utf-8")
    for item in fields(Tolerances):
        if item.name != "variants":
            assert f"| `{item.name}` | {item.default:g} |" in text
