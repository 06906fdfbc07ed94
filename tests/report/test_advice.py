"""The closing line: which variant to ship, and why."""

from __future__ import annotations

import pytest

from detq.report.advice import TOLERANCES, advise
from detq.results import AgreementSummary, Interval


def test_a_faster_variant_that_loses_nothing_is_shipped(make_result):
    """Speed-up clear of 1, every interval within its tolerance."""
    assert advise(make_result()) == (
        "Ship dynamic_int8: it is 1.18× as fast as fp32 (1.15 to 1.21), and no metric lost more than tolerated "
        "(AP 0.003, the report's metrics 0.005)."
    )


def test_the_fastest_of_several_is_shipped(make_result, with_rival):
    """The order in which they were named does not matter."""
    assert advise(with_rival(make_result(), "static_int8", (3.0, 2.9, 3.1))).startswith("Ship static_int8: it is 3.00×")
    assert advise(with_rival(make_result(), "slow", (1.05, 1.01, 1.1))).startswith("Ship dynamic_int8")


@pytest.mark.parametrize("metric", TOLERANCES)
def test_a_certain_loss_keeps_fp32(make_result, metric):
    """The whole interval beyond the tolerance: the line names metric, loss and interval."""
    line = advise(make_result(differences={metric: Interval(-0.02, -0.03, -0.01)}))
    assert line.startswith("Ship fp32: dynamic_int8 lost accuracy:")
    assert f"{metric} changed by -0.0200 (-0.0300 to -0.0100)" in line


def test_the_fastest_variant_with_a_loss_gives_way_to_the_next(make_result, with_rival):
    """A slower variant that keeps its accuracy is better than none."""
    lossy = make_result(differences={"AP": Interval(-0.02, -0.03, -0.01)}, speedup=(3.0, 2.9, 3.1))
    keeping = with_rival(make_result(), "second", (1.1, 1.05, 1.2)).variants["second"]
    lossy.variants["second"] = keeping
    assert advise(lossy).startswith("Ship second")


@pytest.mark.parametrize(("estimate", "named"), [(-0.001, True), (-0.004, False)])
def test_a_faster_variant_that_more_images_may_show_to_be_better_is_named(make_result, with_rival, estimate, named):
    """Who sees a variant of twice the speed left out wants to know why; one that probably loses more is no hope."""
    result = make_result(differences={"AP": Interval(estimate, -0.009, 0.007)}, speedup=(3.0, 2.9, 3.1))
    result.variants["safe"] = with_rival(make_result(), "safe", (1.1, 1.05, 1.2)).variants["safe"]
    line = advise(result)
    assert line.startswith("Ship safe: it is 1.10×")
    expected = "dynamic_int8 may be better: it is 3.00× as fast as fp32 (2.90 to 3.10), but on 200 images AP changed by"
    assert (expected in line) is named


def test_a_slower_variant_is_not_shipped(make_result):
    """An interval below 1 decides."""
    assert advise(make_result(speedup=(0.8, 0.7, 0.9))) == (
        "Ship fp32: dynamic_int8 is 0.80× as fast as fp32 (0.70 to 0.90)."
    )


def test_a_wide_interval_asks_for_images(make_result):
    """Neither loss nor safety is shown, so the line says how many images would tell."""
    line = advise(make_result(differences={"AP": Interval(-0.001, -0.009, 0.007)}))
    assert line.startswith("Not enough images to say, so keep fp32 for now: dynamic_int8 is 1.18×")
    # The half width of 0.008 has to shrink to the 0.002 that are left to the tolerance: 16 times the images.
    assert "on 200 images AP changed by -0.0010 (-0.0090 to +0.0070), and 0.003 is tolerated; about 3200 images" in line


def test_an_estimate_on_the_tolerance_gets_no_number_of_images(make_result):
    """No number of images would tell, so none is named."""
    line = advise(make_result(differences={"AP": Interval(-0.003, -0.009, 0.003)}))
    assert "images would tell" not in line


def test_an_unclear_speed_is_not_shipped(make_result):
    """An interval that holds 1 decides nothing."""
    assert advise(make_result(speedup=(1.02, 0.9, 1.1))).startswith("Not enough images to say")


def test_a_handful_of_images_decides_nothing(make_result):
    """A bootstrap over twelve images is too sure of itself."""
    assert advise(make_result(images=12)).startswith("Not enough images to say: 12 is fewer than 30")


def test_random_weights_get_no_advice(make_result):
    """Times only, and accuracy is n/a."""
    line = advise(make_result(meaningful=False))
    assert line.startswith("No advice, because the weights are random and accuracy is n/a")
    assert "1.18×" in line


def test_without_labels_agreement_is_reported(make_result, agreeing):
    """Nothing is shipped on agreement alone."""
    line = advise(make_result(agreement=agreeing))
    assert "has 99.1% of its detections, and 1.0% of its own are new" in line
    assert "only labels can tell its accuracy" in line


def test_without_labels_and_detections_there_is_nothing_to_compare(make_result):
    """Empty roads all night."""
    nothing = AgreementSummary(0, 0, None, None, None, None, None, None)
    assert "nothing was found" in advise(make_result(agreement=nothing))


def test_without_labels_a_slow_variant_keeps_fp32(make_result, agreeing):
    """No speed, no reason to look further."""
    assert advise(make_result(agreement=agreeing, speedup=(0.9, 0.8, 1.1))).startswith("Ship fp32")


def test_fp32_alone_has_no_rival(make_result):
    """The line says what to add."""
    assert advise(make_result(recipes=0)).startswith("Only fp32 was measured")
