"""The verdict on a whole run, from what was measured and what was saved."""

from __future__ import annotations

import dataclasses

import pytest

from detq.baseline import Choice
from detq.gate import Tolerances, Verdict, judge, render
from detq.metrics.packed import pack, unpack
from tests.matches import RIGHT, packed

RECORD = "pytest benchmarks --detq-gate-update"


def run_gate(make, now, before, *, same_class=True, tolerances=None, **selected):
    choice = make.choice(*before, same_class=same_class) if before else Choice(None, same_class=False)
    run = {item.variant: item for item in now}
    chosen = make.selection(*(run or [f"{make.model}-fp32"]), **selected)
    return judge(run, choice, chosen, tolerances or Tolerances(), record=RECORD)


def failing(outcome):
    return {(item.kind, item.name, item.verdict) for item in outcome.evidence if item.verdict.fails}


def test_a_run_like_the_baseline_passes(make):
    """Every figure is judged and none fails."""
    outcome = run_gate(make, [make.entry()], [make.entry()])
    assert not outcome.failed
    assert {item.kind for item in outcome.evidence} == {"latency", "accuracy", "weights", "int8"}
    assert {item.verdict for item in outcome.evidence} == {Verdict.PASS}


WHOLE = {
    "peak_bytes": 100_000_000,
    "artifact_bytes": 2_000_000,
    "int8_by_stage": {"backbone": 0.0, "box_head": 1.0},
    "masks": RIGHT,
    "found": [4] * 24,
    "kept": [4] * 24,
}
"""What a benchmark may hold beside what every one holds."""

AP_ALONE, AP50_ALONE = (*RIGHT[:5], *(57,) * 5), (57, *RIGHT[1:])
"""Found at each IoU threshold: AP is lower by 0.015, AP50 is not; AP50 by 0.03, AP by 0.003."""


@pytest.mark.parametrize(
    ("change", "kind", "name"),
    [
        ({"time_s": 0.112}, "latency", "median"),
        ({"right": AP_ALONE}, "accuracy", "AP"),
        ({"right": AP50_ALONE}, "accuracy", "AP50"),
        ({"masks": AP_ALONE}, "accuracy", "mask AP"),
        ({"masks": AP50_ALONE}, "accuracy", "mask AP50"),
        ({"kept": [3] * 24}, "accuracy", "fp32 detections kept"),
        ({"artifact_bytes": 2_012_000}, "weights", "artifact_bytes"),
        ({"recall": 0.78}, "accuracy", "recall"),
        ({"weight_bytes": 1_006_000}, "weights", "weight_bytes"),
        ({"int8_share": 0.65}, "int8", "int8_share"),
        ({"peak_bytes": 142_000_000}, "memory", "peak"),
        ({"int8_by_stage": {"backbone": 0.0, "box_head": 0.98}}, "int8", "int8_share of box_head"),
        ({"int8_by_stage": {"backbone": 0.0}}, "int8", "int8_share of box_head"),
    ],
)
def test_each_figure_that_is_worse_beyond_tolerance_fails_by_itself(make, change, kind, name):
    """Slower, less accurate, larger, or less quantized."""
    outcome = run_gate(make, [make.entry(**WHOLE | change)], [make.entry(**WHOLE)])
    assert outcome.failed
    assert failing(outcome) == {(kind, name, Verdict.REGRESSION)}


def test_ap_that_neither_run_has_is_said_not_to_be_judged(make):
    """Images without objects have none; silence would look like a pass."""
    entry = dataclasses.replace(make.entry(), matches={"": unpack(pack([{}] * 24))})
    outcome = run_gate(make, [entry], [entry])
    assert [item.verdict for item in outcome.evidence if item.name == "AP"] == [Verdict.INCONCLUSIVE]


@pytest.mark.parametrize(
    ("without", "names"),
    [
        ({"right": None}, {"AP", "AP50"}),
        ({"masks": None}, {"mask AP", "mask AP50"}),
        ({"found": (), "kept": ()}, {"fp32 detections kept"}),
    ],
)
def test_accuracy_that_is_no_longer_judged_is_missing(make, without, names):
    """It would be the way around the gate."""
    outcome = run_gate(make, [make.entry(**WHOLE | without)], [make.entry(**WHOLE)])
    assert failing(outcome) == {("accuracy", name, Verdict.MISSING) for name in names}


def test_what_an_older_baseline_does_not_have_is_inconclusive_and_what_this_platform_does_not_say_too(make):
    """Memory, files, masks, what is kept and the share by stage came later; such a file still vouches for the rest."""
    outcome = run_gate(make, [make.entry(**WHOLE)], [make.entry()])
    assert not outcome.failed
    open_ones = {item.name: item.detail for item in outcome.evidence if item.verdict is Verdict.INCONCLUSIVE}
    later = {"mask AP", "mask AP50", "fp32 detections kept", "artifact_bytes", "peak", "int8_share by stage"}
    assert set(open_ones) == later
    assert all("is not in the baseline" in detail and RECORD in detail for detail in open_ones.values())
    here = make.entry(**{key: value for key, value in WHOLE.items() if not key.endswith("_bytes")})
    found = run_gate(make, [here], [make.entry(**WHOLE)]).evidence
    peak = next(item for item in found if item.name == "peak")
    assert (peak.verdict, peak.detail) == (Verdict.INCONCLUSIVE, "this platform does not say")
    assert not [item for item in found if item.verdict.fails]


@pytest.mark.parametrize(
    "change",
    [
        {"time_s": 0.109},
        {"right": (*RIGHT[:6], *(59,) * 4)},
        {"recall": 0.791},
        {"weight_bytes": 1_004_000},
        {"int8_share": 0.6595},
    ],
)
def test_a_figure_that_is_worse_within_tolerance_passes(make, change):
    """Noise does not fail a build."""
    assert not run_gate(make, [make.entry(**change)], [make.entry()]).failed


@pytest.mark.parametrize(
    "change",
    [{"time_s": 0.08}, {"right": (62,) * 10}, {"recall": 0.85}, {"weight_bytes": 500_000}, {"int8_share": 0.7}],
)
def test_better_than_the_baseline_passes_and_asks_for_a_refresh(make, change):
    """Otherwise the next regression could eat up the gain unseen."""
    now = make.entry(**change)
    outcome = run_gate(make, [now], [make.entry()])
    assert not outcome.failed
    assert outcome.improved
    text = render(outcome, {now.variant: now}, record=RECORD)
    assert f"refresh it with `{RECORD}`" in text
    assert "gate: passed" in text


def test_on_another_machine_class_latency_is_inconclusive_and_the_rest_is_judged(make):
    """Times do not carry from one CPU to another; AP, bytes and shares do."""
    outcome = run_gate(make, [make.entry(time_s=9.0)], [make.entry()], same_class=False)
    assert not outcome.failed
    latency = next(item for item in outcome.evidence if item.kind == "latency")
    assert latency.verdict is Verdict.INCONCLUSIVE
    assert RECORD in latency.detail
    assert run_gate(make, [make.entry(right=(50,) * 10)], [make.entry()], same_class=False).failed
    assert run_gate(make, [make.entry(int8_share=0.1)], [make.entry()], same_class=False).failed


def test_on_another_machine_class_only_an_absurd_speed_up_fails(make):
    """Int8 that is slower than fp32 by a quarter is broken on any CPU."""
    slow = {"estimate": 0.75, "low": 0.7, "high": 0.8}
    outcome = run_gate(make, [make.entry(speedup=slow)], [make.entry()], same_class=False)
    assert failing(outcome) == {("speedup", "speed-up over fp32", Verdict.REGRESSION)}
    assert not run_gate(make, [make.entry(speedup=slow)], [make.entry()]).failed
    loose = Tolerances(speedup_floor=0.7)
    assert not run_gate(make, [make.entry(speedup=slow)], [make.entry()], same_class=False, tolerances=loose).failed


def test_a_variants_own_tolerance_counts_for_it_alone(make):
    """One noisy variant does not make the gate blind for the others."""
    now, fp32 = make.entry(time_s=0.125), make.entry(f"{make.model}-fp32", time_s=0.125)
    saved = [make.entry(), make.entry(f"{make.model}-fp32")]
    loose = Tolerances(variants={now.variant: Tolerances(latency=0.3)})
    outcome = run_gate(make, [now, fp32], saved, tolerances=loose)
    assert {item.variant for item in outcome.evidence if item.verdict.fails} == {fp32.variant}


def test_a_slower_machine_is_told_from_slower_code_by_the_control(make):
    """Where a fixed piece of arithmetic slowed down as much, nothing is decided; a faster machine hides nothing."""

    def with_control(time_s, control_s):
        return dataclasses.replace(make.entry(time_s=time_s), control_s=(control_s,) * 24)

    before = with_control(0.1, 0.010)
    drifted = run_gate(make, [with_control(0.13, 0.013)], [before])
    assert not drifted.failed
    assert "at another speed" in drifted.evidence[0].detail
    assert run_gate(make, [with_control(0.13, 0.0105)], [before]).failed
    faster = run_gate(make, [with_control(0.07, 0.007)], [before])
    assert faster.evidence[0].verdict is Verdict.PASS
    hidden = run_gate(make, [with_control(0.1, 0.007)], [before])
    assert hidden.evidence[0].verdict is Verdict.INCONCLUSIVE


def test_a_machine_that_changed_its_speed_meanwhile_is_mentioned_once_a_model(make):
    """Seen by the control beside every image, in this run or when the baseline was recorded; it decides nothing."""
    said = "took 40% more time in the last third of the measurement than in the rest: the machine throttled"
    names = [f"{make.model}-{recipe}" for recipe in ("fp32", "dynamic_int8")]
    throttled = {name: make.entry(name, unsteady=said) for name in names}
    steady = {name: make.entry(name) for name in names}
    for run, saved, begins in (
        (throttled, steady, "a fixed piece of arithmetic took 40%"),
        (steady, throttled, "when the baseline was recorded, a fixed piece of arithmetic took 40%"),
    ):
        outcome = judge(run, make.choice(*saved.values()), make.selection(*names), Tolerances(), record=RECORD)
        (note,) = outcome.notes
        assert note.startswith(f"{make.model}: {begins}")
        assert not outcome.failed


def test_a_shorter_run_is_judged_on_exactly_its_own_images(make):
    """The rest of the baseline's images were slower and worse: that is no improvement of the run."""
    before = make.entry(images=24)
    others = unpack(packed(8, (10,) * 10))
    before = dataclasses.replace(
        before,
        times_s=before.times_s[:16] + (0.5,) * 8,
        metrics=dict(before.metrics) | {"recall": before.metrics["recall"][:16] + (0.1,) * 8},
        matches={"": before.matches[""][:16] + others},
    )
    outcome = run_gate(make, [make.entry(images=16)], [before])
    assert {item.verdict for item in outcome.evidence} == {Verdict.PASS}


def _some_worse(entry, images, right):
    """The same with other matches in the first few images, and as many fewer objects kept."""
    worse = unpack(packed(images, right))
    kept = tuple(count - (place < images) for place, count in enumerate(entry.reference_kept))
    return dataclasses.replace(entry, matches={"": worse + entry.matches[""][images:]}, reference_kept=kept)


def test_what_a_few_images_lost_by_chance_is_inconclusive_and_what_all_lost_fails(make):
    """A graph that is quantized anew rounds some activations otherwise: objects near a threshold come and go."""
    before = make.entry(found=[4] * 24, kept=[4] * 24)
    chance = run_gate(make, [_some_worse(before, 2, (30,) * 10)], [before])
    found = {item.name: item for item in chance.evidence if item.kind == "accuracy"}
    for name in ("AP", "AP50", "fp32 detections kept"):
        assert found[name].change > found[name].tolerance, name
        assert found[name].verdict is Verdict.INCONCLUSIVE, name
        assert "too few images to tell chance from loss; take more --detq-images" in found[name].detail, name
    lost = run_gate(make, [_some_worse(before, 22, (40,) * 10)], [before])
    assert {name for _, name, _ in failing(lost)} == {"AP", "AP50", "fp32 detections kept"}


@pytest.mark.parametrize("what", ["weights", "images"])
def test_a_run_on_other_weights_or_other_images_fails_and_says_so(make, what):
    """Two figures of different things cannot vouch for each other."""
    now = make.benchmark()
    if what == "weights":
        now["extra_info"]["weights"] = "file: other.safetensors"
    else:
        now["extra_info"]["per_image"]["images"] = ["ffff0000"] * 24
    from detq.baseline import entry_from_json

    outcome = run_gate(make, [entry_from_json(now, "test")], [make.entry()])
    assert failing(outcome) == {("presence", "inputs", Verdict.MISSING)}


def test_accuracy_that_means_nothing_is_not_judged(make):
    """Random weights have times and sizes, and no accuracy."""
    random = dataclasses.replace(make.entry(), matches={}, metrics={})
    outcome = run_gate(make, [random], [random])
    assert not outcome.failed
    assert {item.verdict for item in outcome.evidence if item.kind == "accuracy"} == {Verdict.INCONCLUSIVE}
    lost = run_gate(make, [random], [make.entry()])
    assert lost.failed


def test_a_variant_that_the_baseline_does_not_know_fails_and_prints_the_command(make):
    """A new variant is gated from its first day."""
    new = make.entry(f"{make.model}-static_int8")
    outcome = run_gate(make, [make.entry(), new], [make.entry()])
    assert outcome.failed
    text = render(outcome, {}, record=RECORD)
    assert f"static_int8: is not in the baseline; accept it with `{RECORD}`" in text


def test_without_any_baseline_everything_is_missing(make):
    """An empty folder of baselines is no silent pass."""
    outcome = run_gate(make, [make.entry()], [])
    assert outcome.failed
    assert any("no baseline at all" in note for note in outcome.notes)


def test_a_renamed_variant_fails_twice_once_as_new_and_once_as_vanished(make):
    """A rename silently ends a comparison unless somebody accepts it."""
    outcome = run_gate(make, [make.entry(f"{make.model}-int8")], [make.entry()])
    assert {item.variant for item in outcome.evidence if item.verdict is Verdict.MISSING} == {
        f"{make.model}-int8",
        f"{make.model}-dynamic_int8",
    }
    assert outcome.vanished == (f"{make.model}-dynamic_int8",)


def test_a_model_that_vanished_fails_unless_models_were_chosen(make):
    """Choosing one model says nothing about the others; choosing none says everything is meant."""
    other = make.entry("gone-fp32")
    assert run_gate(make, [make.entry()], [make.entry(), other]).vanished == ("gone-fp32",)
    assert not run_gate(make, [make.entry()], [make.entry(), other], every_model=False).failed
    assert not run_gate(make, [make.entry()], [make.entry(), other], known=(make.model, "gone")).failed


def test_variants_that_were_deselected_are_not_expected_but_mentioned(make):
    """`-k dynamic` judges what is left and says that something was left out."""
    fp32 = make.entry(f"{make.model}-fp32")
    registered = [f"{make.model}-fp32", f"{make.model}-dynamic_int8"]
    outcome = run_gate(make, [make.entry()], [make.entry(), fp32], registered=registered)
    assert not outcome.failed
    assert outcome.notes == ("1 of 2 variants were deselected and are not judged",)


def test_a_variant_that_was_selected_and_not_measured_fails(make):
    """A skipped benchmark is not a passed one."""
    both = [f"{make.model}-fp32", f"{make.model}-dynamic_int8"]
    run = {make.entry().variant: make.entry()}
    outcome = judge(run, make.choice(make.entry()), make.selection(*both), Tolerances(), record=RECORD)
    assert failing(outcome) == {("presence", "measured", Verdict.MISSING)}


def test_a_run_that_measured_nothing_fails_and_prints_the_command(make):
    """All skipped, all deselected, or no such test: nothing measured is nothing shown."""
    deselected = make.selection(registered=[make.entry().variant])
    assert judge({}, make.choice(make.entry()), deselected, Tolerances(), record=RECORD).failed
    outcome = judge({}, make.choice(make.entry()), make.selection(), Tolerances(), record=RECORD)
    assert outcome.failed
    text = render(outcome, {}, record=RECORD)
    assert "nothing was measured" in text
    assert "gate: FAILED" in text
    assert RECORD in text


def test_the_table_shows_every_variant_with_its_figures(make):
    """A row a variant, the change beside each figure, and the verdict in words."""
    now = make.entry(time_s=0.2, right=(50,) * 10)
    text = render(run_gate(make, [now], [make.entry()]), {now.variant: now}, record=RECORD)
    cost, found = (line for line in text.splitlines() if line.startswith("dynamic_int8 "))
    assert "200.0 ms (+100.0%)" in cost
    assert "+100.0% to +100.0%" in cost
    assert "0.5050 (-0.0990)" in found
    assert "REGRESSION" in found
    assert "median of 24 images 100.0 → 200.0 ms (+100.0%, interval +100.0% to +100.0%)" in text
