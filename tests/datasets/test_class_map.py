"""Which class of a file becomes which class of detq."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detq.datasets.class_map import ClassTable, parse_class_map
from detq.errors import DataError, DetqError, UnknownNameError

NAMES = {0: "pedestrian", 1: "car", 2: "car", 3: "bike", 5: "7"}


def test_names_that_occur_twice_become_one_class():
    """DAWN's classes 1 and 2 are both cars."""
    table = ClassTable.of(NAMES)
    assert table.classes == ("pedestrian", "car", "bike", "7")
    assert [table.label(key) for key in NAMES] == [0, 1, 1, 2, 3]


def test_an_unknown_class_number_is_no_class():
    """The reader turns it into a sentence with file and line."""
    with pytest.raises(KeyError):
        ClassTable.of(NAMES).label(4)


@pytest.mark.parametrize("class_map", ["vehicle=car", "vehicle=1,2", " vehicle = 1 , 2 ;", "vehicle=1;vehicle=2"])
def test_a_map_takes_names_and_numbers(class_map):
    """The left-hand names are the classes; what is not on the right is left out."""
    table = ClassTable.of(NAMES, class_map)
    assert table.classes == ("vehicle",)
    assert [table.label(key) for key in NAMES] == [-1, 0, 0, -1, -1]


def test_a_number_that_is_only_a_name_is_the_name():
    """DAWN has a class called 7, which is its fifth."""
    assert ClassTable.of(NAMES, "odd=7").label(5) == 0


def test_a_number_that_is_a_name_and_a_number_is_refused():
    """There is no guessing which was meant."""
    with pytest.raises(DataError, match=r"'1' is both the name of class 0 and the number of class 'car'"):
        ClassTable.of({0: "1", 1: "car"}, "x=1")


def test_classes_without_names_go_by_number():
    """They are called by it in counts, and a name in the map cannot be meant."""
    table = ClassTable.unnamed("car=1,2")
    assert [table.label(key) for key in (0, 1, 2, 99)] == [-1, 0, 0, -1]
    assert table.name(99) == "99"
    with pytest.raises(DataError, match=r"'truck' in 'truck=truck' is a name.*add --classes"):
        ClassTable.unnamed("truck=truck")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("car", r"expected NAME=CLASS,CLASS such as car=1,2, found 'car'"),
        ("=1", r"found '=1'"),
        ("car=", r"found 'car='"),
        ("", r"found ''"),
        ("a=1;b=1", r"class '1' cannot become both 'a' and 'b'"),
    ],
)
def test_a_malformed_map_is_a_sentence(text, message):
    """It says what is expected and what was found."""
    with pytest.raises(DataError, match=message):
        parse_class_map(text)


def test_a_class_given_by_name_and_by_number_to_two_classes_is_refused():
    """As one that is given twice by name is."""
    with pytest.raises(DataError, match=r"gives class 'car' to two classes"):
        ClassTable.of(NAMES, "a=car;b=2")


def test_a_class_that_is_not_there_is_refused_with_the_closest():
    """A misspelt name must not silently leave all boxes out."""
    with pytest.raises(UnknownNameError, match=r"unknown class in --map 'pedestrain'.*0 \(pedestrian\)"):
        ClassTable.of(NAMES, "person=pedestrain")


@given(st.text(alphabet="ab12=,; ", max_size=20))
def test_no_text_breaks_the_map(text):
    """A map, or a sentence."""
    try:
        table = ClassTable.of(NAMES, text)
    except DetqError:
        return
    assert all(-1 <= label < len(table.classes) for label in table.labels.values())
