"""Which class an annotation has."""

from __future__ import annotations

import pytest

from detq.datasets.category_from import CategoryRule, attribute_paths, look_up
from detq.datasets.options import Options, category_rule
from detq.errors import DataError

REGION = {
    "region_attributes": {"Clases": " Vehículo ", "a.b": {"c": "deep"}, "kind": {"car": True, "bus": False}, "n": 3}
}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("region_attributes.Clases", "Vehículo"),
        ("region_attributes.a.b.c", "deep"),
        ("region_attributes.kind", "car"),
        ("region_attributes.n", "3"),
    ],
)
def test_a_path_leads_to_a_class(path, expected):
    """Texts, numbers, a ticked box; attribute names may hold dots."""
    assert CategoryRule(path).find(REGION, "region 0") == expected


def test_a_fallback_is_for_what_has_none():
    """Alone it is the class of all."""
    assert CategoryRule("region_attributes.x", "car").find(REGION, "region 0") == "car"
    assert CategoryRule("region_attributes.Clases", "car").find(REGION, "region 0") == "Vehículo"
    assert CategoryRule(None, "car").find(REGION, "region 0") == "car"
    assert look_up(REGION, "region_attributes.Clases.more") is None


def test_the_name_for_all_is_one():
    """Spaces around it are none of it, and nothing else than spaces is no name."""
    assert category_rule(Options(category=" car "), "label") == CategoryRule(None, "car")
    with pytest.raises(DataError, match="--category: expected a name, found ' '"):
        category_rule(Options(category=" "), "label")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, r"region 0: expected a class at label, found nothing; fill it in, or .* --category NAME"),
        ("  ", r"expected a class at label, found '  '"),
        ({}, r"expected a class at label, found \{\}"),
        ({"a": True, "b": True}, r"expected one class at label, found 2 \(a, b\); tick one of them"),
        ([1], r"expected a name at label, found \[1\]; choose another path"),
    ],
)
def test_what_is_no_class_is_a_sentence(value, expected):
    """Where, what was expected, what was found, what to do."""
    with pytest.raises(DataError, match=expected):
        CategoryRule("label").find({"label": value}, "region 0")


def test_the_paths_of_a_file_are_listed_with_examples():
    """Coordinates are none of them."""
    records = [REGION, {"region_attributes": {"Clases": "Moto"}, "shape_attributes": {"name": "rect"}}]
    assert attribute_paths(records) == (
        "region_attributes.Clases (Vehículo, Moto), region_attributes.a.b.c (deep), region_attributes.kind (car), "
        "region_attributes.n (3)"
    )
    assert attribute_paths([{}]) == "no attribute at all"
