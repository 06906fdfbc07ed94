"""The tables of a run, for the terminal and for Markdown."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from detq.report.document import tables_of, to_markdown
from detq.report.table import Table, bytes_text, interval_text
from detq.report.tables import agreement_table, context_lines, proposals_table, summary_table, time_table
from detq.results import Interval


def test_the_first_table_has_time_speed_memory_size_and_int8_share(make_result):
    """One row a variant; what is not known is n/a."""
    table = time_table(make_result())
    fp32, int8 = (dict(zip(table.columns, row, strict=True)) for row in table.rows)
    assert (fp32["total s"], fp32["median ms"], fp32["int8 MACs"]) == ("20.0", "100.0", "0 %")
    assert int8["speed-up over fp32 (95 %)"] == "1.18 (1.15 to 1.21)"
    assert (int8["peak memory"], int8["weights"], int8["int8 MACs"]) == ("n/a", "34.2 MB", "62.5%")


def test_labelled_data_gets_accuracy_and_unlabelled_data_agreement(make_result, agreeing):
    """Never both."""
    labelled = [table.title for table in tables_of(make_result())]
    unlabelled = [table.title for table in tables_of(make_result(agreement=agreeing))]
    assert [title.split(" on ")[0] for title in labelled[:2]] == ["Time and size", "Accuracy"]
    assert unlabelled[1] == "Agreement with fp32 at score 0.7"
    assert not any(title.startswith("Accuracy") for title in unlabelled)


def test_the_last_table_has_time_and_ap_side_by_side(make_result, agreeing):
    """A row a variant, as the poster's tables; mask AP where there is one; nothing where there are no labels."""
    result = make_result()
    *_, table = tables_of(result)
    assert table == summary_table(result)
    assert table.columns == ("variant", "s an image", "× as fast", "box AP", "− fp32 (95 %)")
    assert table.rows[0] == ("fp32", "0.100", "1", "0.5000", "")
    assert table.rows[1] == ("dynamic_int8", "0.085", "1.18", "0.5000", "+0.0000 (-0.0010 to +0.0010)")
    masked = {name: replace(one.accuracy, masks={"AP": 0.4}) for name, one in result.variants.items()}
    variants = {name: replace(one, accuracy=masked[name]) for name, one in result.variants.items()}
    both = summary_table(replace(result, variants=variants))
    assert both.columns[5:] == ("mask AP", "− fp32 (95 %)")
    assert [row[5:] for row in both.rows] == [("0.4000", ""), ("0.4000", "n/a")]
    assert summary_table(make_result(agreement=agreeing)) is None


def test_many_variants_are_a_row_each_in_a_terminal(make_result, with_rival):
    """Side by side nobody could read them; `report.md` has their differences all the same."""
    result = make_result()
    for name in ("bf16", "static_int8"):
        result = with_rival(result, name, (1.3, 1.2, 1.4))
    table = next(table for table in tables_of(result, terminal=True) if table.title.startswith("Accuracy"))
    assert [row[0] for row in table.rows] == ["fp32", "dynamic_int8", "bf16", "static_int8"]
    assert dict(zip(table.columns, table.rows[1], strict=True))["AP75"] == "0.5000"
    console = Console(file=io.StringIO(), width=160)
    console.print(table.to_rich())
    assert "…" not in console.file.getvalue()
    assert "report.md" in table.notes[-1]
    assert "| F1, one to one |" in to_markdown(result)


def test_agreement_shows_shares_iou_and_shift(make_result, agreeing):
    """Shares in percent, the score shift with its sign."""
    row = agreement_table(make_result(agreement=agreeing)).rows[0]
    assert row == ("dynamic_int8", "99.10%", "99.00%", "0.9700", "+0.0010", "0.0020", "0.0500")


def test_what_a_recipe_lost_on_this_cpu_is_said_below_the_tables(make_result):
    """With the recipe's name: a ratio of bf16 that ran in fp32 is another figure."""
    result = make_result()
    lost = replace(result.variants["dynamic_int8"], notes=("int8 without VNNI", "box_pool in fp32"))
    result = replace(result, variants=result.variants | {"dynamic_int8": lost})
    lines = ["dynamic_int8: int8 without VNNI.", "dynamic_int8: box_pool in fp32."]
    assert [line for line in context_lines(result) if line.startswith("dynamic_int8: ")] == lines
    assert all(line in to_markdown(result) for line in lines)


def test_the_machine_is_told_with_what_decides_how_fast_it_is(make_result):
    """Instructions of fp32, int8 and bf16, what forbids some, cores, allocator, versions; what is known of them."""
    result = make_result()
    in_use = {"torch": "AVX512", "int8": "int8 with VNNI", "bf16": "no native bf16", "overrides": {"ISA": "X"}}
    known = {"isa_in_use": in_use, "allocator": "freed memory kept", "versions": {"torch": "2.14.1", "detq": "1.0"}}
    said = "AVX512, int8 with VNNI, no native bf16, ISA=X, 2 of 2 cores, freed memory kept, torch 2.14.1, detq 1.0."
    full = replace(result, environment=result.environment | known)
    assert [f"Machine: A CPU (V 6/1), {said}"] == [line for line in context_lines(full) if line.startswith("Machine: ")]
    assert "Machine: A CPU (V 6/1), 2 of 2 cores." in context_lines(result)


def test_the_int8_share_of_each_stage_stands_below_the_tables(make_result):
    """Of variants that run something in int8; a stage that fell back has 0 %."""
    made = make_result()
    int8 = made.variants["dynamic_int8"]
    int8 = replace(int8, proof=replace(int8.proof, by_stage={"backbone": 0.0, "box_head": 1.0}))
    lines = list(context_lines(replace(made, variants=made.variants | {"dynamic_int8": int8})))
    assert [line for line in lines if "by stage" in line] == [
        "dynamic_int8 in int8, by stage: backbone 0.0%, box_head 100.0%."
    ]


def test_random_weights_show_no_accuracy_anywhere(make_result):
    """No table, no number, and a line that says so."""
    result = make_result(meaningful=False)
    text = to_markdown(result)
    assert "Accuracy" not in text
    assert "The weights are RANDOM: times are valid, accuracy is n/a." in list(context_lines(result))
    assert "random" in text


def test_proposals_go_with_the_speed_up(make_result):
    """The median in the title, a row a part."""
    table = proposals_table(make_result())
    assert "median 462 on 60 images" in table.title
    assert table.rows == (("98 to 300", "20", "1.10 (1.00 to 1.20)"),)


def test_the_report_holds_tables_context_pictures_and_advice(make_result):
    """`report.md` can be read alone."""
    text = to_markdown(make_result())
    for part in ("### Time and size", "### Accuracy", "A CPU", "Ignored by --map: 2 boxes", "pictures/000000_a.jpg"):
        assert part in text


def test_a_bar_or_bracket_in_a_name_does_not_break_a_table():
    """Markdown cells are escaped, and rich does not take names for markup."""
    table = Table("t", ("a", "b"), (("x|y", "[red]1[/red]"),))
    assert "x\\|y" in table.to_markdown()
    console = Console(file=io.StringIO(), width=80)
    console.print(table.to_rich())
    assert "[red]1[/red]" in console.file.getvalue()


def test_a_row_of_another_length_is_refused():
    """A cell in the wrong column would be a wrong figure."""
    with pytest.raises(ValueError, match="2 cells"):
        Table("t", ("a", "b"), (("1",),))


def test_figures_are_written_with_units_or_as_not_available():
    """None is never shown as a number."""
    assert interval_text(None, 2) == "n/a"
    assert interval_text(Interval(0.001, -0.002, 0.004), 3, signed=True) == "+0.001 (-0.002 to +0.004)"
    assert (bytes_text(None), bytes_text(1_500_000)) == ("n/a", "1.5 MB")
