"""What the paired gate says about one variant, from what was measured of it."""

from __future__ import annotations

import dataclasses
import json
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from detq.errors import OutputError
from detq.gate import Outcome, Tolerances, Verdict
from detq.gate.accuracy import Labelled, accuracy_tests, judge_accuracy
from detq.gate.evidence import Evidence
from detq.gate.latency import judge_latency, slowest_stage, speed_drift
from detq.gate.paired_table import render_paired
from detq.gate.report import FORMAT, as_json, as_junit, as_markdown, check_reports, github_lines, write_reports
from detq.gate.resources import growth_mb, judge_resources
from detq.gate.trial import Side, Trial
from detq.types import Detections, GroundTruth

ALPHA = 0.001
IMAGES = 24
VARIANT = "tiny.model:build-dynamic_int8"


def truths(images=IMAGES):
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 200, (images, 3, 2))
    return [GroundTruth(np.hstack([xy, xy + 40]), np.zeros(3, np.int64)) for xy in corners]


def found(shift=0.0, *, drop=0, label=0):
    """Every object, moved to the right by `shift` pixels, without the first `drop` of each image."""
    return [
        Detections(
            (truth.boxes + np.float32([shift, 0, shift, 0]))[drop:],
            np.full(3 - drop, 0.9),
            np.full(3 - drop, label),
        )
        for truth in truths()
    ]


def trial(*, pairs=200, slow=1.0, stage="backbone", seed=0, detections=None, leak=0.0, **head):
    """A variant whose images take 100 ms with noise of 3 %, of which `stage` takes more in the head."""
    rng = np.random.default_rng(seed)
    sides = []
    for name in ("head", "base", "control"):
        parts = {"backbone": 60.0, "box_head": 40.0}
        if name == "head":
            parts[stage] += 100 * (slow - 1)
        noise = np.exp(rng.normal(0, 0.03, pairs))
        sides.append(
            Side(
                times_ms=(sum(parts.values()) * noise).tolist(),
                stages_ms=[{key: value * factor for key, value in parts.items()} for factor in noise],
                held_bytes=[int(5e8 + (leak * 1e6 * place if name == "head" else 0)) for place in range(pairs)],
                detections=found() if detections is None or name != "head" else detections,
                weight_bytes=1_000_000,
                file_bytes=1_100_000,
                peak_bytes=200_000_000 + (int(leak * 1e6 * pairs) if name == "head" else 0),
                int8_share=0.66,
                int8_by_stage={"backbone": 0.5, "box_head": 1.0},
            )
        )
    sides[0] = dataclasses.replace(sides[0], **head)
    return Trial(VARIANT, True, *sides, images=[place % IMAGES for place in range(pairs)])


def failing(evidence):
    return {item.name for item in evidence if item.verdict.fails}


def test_the_same_code_passes_in_every_figure():
    """And the percentile that 200 pairs say nothing about is not judged at all."""
    same = trial()
    evidence = [
        *judge_latency(same, ALPHA, Tolerances()),
        *judge_accuracy(same, Labelled(("car",), truths()), found(), ALPHA, Tolerances()),
        *judge_resources(same, Tolerances()),
    ]
    assert {item.verdict for item in evidence} == {Verdict.PASS}
    assert {item.name for item in evidence if item.kind == "latency"} == {"median", "p90"}
    assert {"AP", "AP50", "recall", "fp32 detections kept", "peak", "growth", "int8_share of box_head"} <= {
        item.name for item in evidence
    }


def test_the_99th_percentile_is_judged_from_500_pairs_on():
    """And fails where only the slowest images got slower."""
    assert "p99" not in {item.name for item in judge_latency(trial(pairs=499), ALPHA, Tolerances())}
    slow = trial(pairs=600)
    slow.head.times_ms[::25] = [400.0] * 24
    assert failing(judge_latency(slow, ALPHA, Tolerances())) == {"p99"}


@pytest.mark.parametrize("stage", ["backbone", "box_head"])
def test_a_slower_variant_fails_and_the_stage_that_slowed_is_named(stage):
    """10 % of the whole image, in one stage."""
    evidence = judge_latency(trial(slow=1.1, stage=stage), ALPHA, Tolerances())
    assert "median" in failing(evidence)
    assert f"most of it in {stage}" in evidence[0].detail
    assert evidence[0].change == pytest.approx(0.1, abs=0.01)
    assert 0 < evidence[0].low < 0.1 < evidence[0].high


def test_a_detector_that_is_not_divided_has_no_slowest_stage():
    """The total is judged all the same."""
    slow = trial(slow=1.1)
    for _, side in slow.sides():
        side.stages_ms = [{}] * 200
    assert slowest_stage(slow) is None
    assert "median" in failing(judge_latency(slow, ALPHA, Tolerances()))


def test_faster_code_is_an_improvement():
    """10 % of the image."""
    assert judge_latency(trial(slow=0.9), ALPHA, Tolerances())[0].verdict is Verdict.IMPROVEMENT


def test_few_pairs_decide_nothing_and_a_control_that_differs_says_so():
    """A machine on which the same code differs by 8 % cannot tell 5 %."""
    few = judge_latency(trial(pairs=5, slow=1.05), ALPHA, Tolerances())
    assert few[0].verdict is Verdict.INCONCLUSIVE
    assert "longer --budget" in few[0].detail
    unsteady = trial(slow=1.05)
    unsteady.control.times_ms = [value * 1.08 for value in unsteady.control.times_ms]
    found = judge_latency(unsteady, ALPHA, Tolerances())[0]
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "base's own code differed by" in found.detail


def test_a_machine_that_slows_down_halfway_is_noticed_by_the_base_alone():
    """And the ratio of the commits does not feel it."""
    throttled = trial()
    for _, side in throttled.sides():
        side.times_ms = [value * (1 if place < 100 else 1.5) for place, value in enumerate(side.times_ms)]
    assert judge_latency(throttled, ALPHA, Tolerances())[0].verdict is Verdict.PASS


@pytest.mark.parametrize("pairs", [IMAGES, 200], ids=["each image once", "several times"])
@pytest.mark.parametrize(
    ("slow", "factor", "part"),
    [
        (slice(0, 0), 1.0, ""),
        (slice(2 / 3, 1), 1.5, "the last third"),
        (slice(1 / 3, 2 / 3), 1.5, "the middle third"),
        (slice(0, 1 / 3), 1.5, "the first third"),
    ],
    ids=["steady", "throttled", "preempted halfway", "warmed up"],
)
def test_a_machine_that_does_other_work_for_a_part_of_the_time_is_noticed(pairs, slow, factor, part):
    """By the base's two processes; also where every image was seen only once."""
    unsteady = trial(pairs=pairs)
    for _, side in unsteady.sides():
        for place in range(round(slow.start * pairs), round(slow.stop * pairs)):
            side.times_ms[place] *= 1.5
    found, where = speed_drift(unsteady)
    assert found == pytest.approx(factor, rel=0.05)
    assert where == part


def test_a_stop_of_the_clock_for_one_image_decides_nothing():
    """A virtual machine that was moved: one image of a minute among 200."""
    moved = trial()
    moved.head.times_ms[77] = 60_000.0
    assert {item.verdict for item in judge_latency(moved, ALPHA, Tolerances())} == {Verdict.PASS}


@pytest.mark.parametrize(
    ("detections", "names"),
    [
        (found(12), {"AP", "precision", "prediction_iou", "ground_truth_iou"}),
        (found(drop=1), {"AP", "recall", "fp32 detections kept"}),
        (found(label=1), {"AP", "AP50", "recall", "fp32 detections kept"}),
    ],
    ids=["shifted", "lost", "another class"],
)
def test_less_accurate_detections_fail_in_the_figures_that_see_it(detections, names):
    """A wrong scale, lost objects, and an off-by-one class."""
    worse = trial(detections=detections)
    evidence = judge_accuracy(worse, Labelled(("car", "bus"), truths()), found(), ALPHA, Tolerances())
    assert names <= failing(evidence)


def test_without_labels_only_the_fp32_detections_kept_are_judged():
    """The base's own fp32 stands in for the truth."""
    evidence = judge_accuracy(trial(detections=found(drop=1)), Labelled(("car",), None), found(), ALPHA, Tolerances())
    assert failing(evidence) == {"fp32 detections kept"}
    assert len(evidence) == 1


def masked(items, *, narrower=0):
    """The same with a mask that fills each box, except for columns at its right."""
    result = []
    for item in items:
        masks = np.zeros((len(item), 256, 256), np.bool_)
        for mask, (left, top, right, bottom) in zip(masks, item.boxes.astype(int), strict=True):
            mask[top:bottom, left : right - narrower] = True
        result.append(dataclasses.replace(item, masks=masks).compact())
    return result


def test_worse_masks_fail_also_where_the_boxes_stay_and_none_at_all_are_missing():
    """Mask AP is judged where the base finds masks and the images have them."""
    labelled = Labelled(("car",), masked(truths()), masks=True)

    def judge(head):
        made = trial(pairs=IMAGES, detections=head)
        made.base.detections = made.control.detections = masked(found())
        evidence = judge_accuracy(made, labelled, made.base.detections, ALPHA, Tolerances())
        return {item.name: item.verdict for item in evidence}

    worse = judge(masked(found(), narrower=12))
    assert worse["mask AP"] is Verdict.REGRESSION
    assert worse["AP"] is Verdict.PASS
    assert len(worse) == accuracy_tests(masks=True) == accuracy_tests(masks=False) + 2
    assert judge(found())["mask AP"] is Verdict.MISSING


def test_a_difference_that_a_few_images_make_is_not_decided():
    """One object of 72 is more than the tolerance, and no proof."""
    few = found()
    few[0] = few[0][1:]
    evidence = judge_accuracy(trial(detections=few), Labelled(("car",), truths()), found(), ALPHA, Tolerances())
    assert not failing(evidence)
    assert any("give it more --images" in item.detail for item in evidence)


def test_random_weights_have_no_accuracy():
    """It is said, not passed."""
    random = dataclasses.replace(trial(), meaningful=False)
    (only,) = judge_accuracy(random, Labelled(("car",), truths()), found(), ALPHA, Tolerances())
    assert only.verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"weight_bytes": 1_010_000}, {"weight_bytes"}),
        ({"file_bytes": 2_000_000}, {"artifact_bytes"}),
        ({"file_bytes": None}, set()),
        (
            {"int8_share": 0.6, "int8_by_stage": {"backbone": 0.4, "box_head": 1.0}},
            {"int8_share", "int8_share of backbone"},
        ),
        ({"int8_share": 0.0, "int8_by_stage": {}}, {"int8_share", "int8_share of backbone", "int8_share of box_head"}),
        ({"leak": 1.0}, {"peak", "growth"}),
        ({"leak": 0.3}, {"peak", "growth"}),
        ({"leak": 0.1}, set()),
    ],
)
def test_more_bytes_less_int8_and_a_leak_fail(change, names):
    """Weights in fp32, a layer left out, a recipe that does nothing, a megabyte an image."""
    assert failing(judge_resources(trial(**change), Tolerances())) == names


def test_memory_that_nobody_can_measure_is_not_judged_and_a_single_jump_is_no_leak():
    """A platform without /proc; an image that needed a larger buffer."""
    unknown = trial(peak_bytes=None, held_bytes=[None] * 200)
    assert {item.kind for item in judge_resources(unknown, Tolerances())} == {"weights", "int8"}
    (short,) = [item for item in judge_resources(trial(pairs=40), Tolerances()) if item.name == "growth"]
    assert short.verdict is Verdict.INCONCLUSIVE
    still = [100_000_000] * 64
    assert growth_mb(still) == 0
    assert growth_mb(still[:35] + [300_000_000] * 29) == 0
    assert growth_mb([*still[:35], 300_000_000, *still[36:]]) == 0
    assert growth_mb([value + 1_000_000 * place for place, value in enumerate(still)]) == pytest.approx(1.0)


OUTCOME = Outcome(
    (
        Evidence("latency", "median", VARIANT, Verdict.REGRESSION, 0.11, 0.1, 0.1, 0.03, "slower, 10 %", 0.08, 0.12),
        Evidence("latency", "p90", VARIANT, Verdict.INCONCLUSIVE, 0.1, 0.1, 0.0, 0.1, "why", -np.inf, np.inf),
        Evidence("weights", "weight_bytes", VARIANT, Verdict.PASS, 1e6, 1e6, 0.0, 0.005),
    ),
    ("a note",),
    nothing=False,
    vanished=(),
)
ABOUT = {"base": "main"}, {VARIANT: {"pairs": 64, "noise_floor": 0.004}}


def test_json_names_its_format_and_holds_every_figure_with_its_interval():
    """Strict JSON: an interval without an end has null there."""
    document = json.loads(json.dumps(as_json(OUTCOME, *ABOUT), allow_nan=False))
    assert document["format"] == FORMAT == "detq-gate/1"
    assert (document["verdict"], document["failed"]) == ("regression", True)
    variant = document["variants"][VARIANT]
    assert variant["pairs"] == 64
    assert variant["evidence"][0]["low"] == 0.08
    assert variant["evidence"][1]["low"] is None


def test_junit_has_a_case_for_each_figure():
    """A regression is a failure, what is inconclusive is skipped."""
    suite = ET.fromstring(as_junit(OUTCOME, *ABOUT)).find("testsuite")  # noqa: S314  # our own
    assert [suite.get(name) for name in ("tests", "failures", "skipped")] == ["3", "1", "1"]
    assert suite.find("testcase/failure").get("message") == "slower, 10 %"
    coloured = dataclasses.replace(OUTCOME.evidence[0], detail="\x1b[31mred\x00\udcff ← é")
    read = ET.fromstring(as_junit(dataclasses.replace(OUTCOME, evidence=(coloured,)), *ABOUT))  # noqa: S314
    assert read.find("testsuite/testcase/failure").get("message") == "\ufffd[31mred\ufffd\ufffd ← é"
    nothing = ET.fromstring(as_junit(Outcome((), (), nothing=True, vanished=()), *ABOUT))  # noqa: S314
    assert nothing.find("testsuite").get("failures") == "1"


def test_markdown_starts_with_what_failed():
    """Then come all figures."""
    text = as_markdown(OUTCOME, *ABOUT)
    assert text.startswith("## detq gate: failed")
    assert text.index("slower, 10 %") < text.index("| figure |")
    assert "| weight_bytes | 1,000,000 | 1,000,000 |" in text


def test_github_gets_an_error_for_what_fails_and_a_warning_for_what_is_open():
    """In the form of its workflow commands: GitHub takes back %3A in the title, and not in the message."""
    first, second = github_lines(OUTCOME)
    assert first == "::error title=detq gate%3A tiny.model%3Abuild-dynamic_int8::slower, 10 %25"
    assert second.startswith("::warning ")
    lines = dataclasses.replace(OUTCOME.evidence[0], detail="most of it in a: 1\nms")
    (only,) = github_lines(dataclasses.replace(OUTCOME, evidence=(lines,)))
    assert only.endswith("::most of it in a: 1%0Ams")


def test_reports_are_written_in_the_format_of_their_names_and_others_are_refused_before(tmp_path):
    """A sentence, before anything is measured."""
    paths = [tmp_path / "new" / name for name in ("gate.json", "gate.md", "gate.xml")]
    check_reports("--report", paths)
    write_reports(paths, OUTCOME, *ABOUT)
    assert all(path.stat().st_size for path in paths)
    with pytest.raises(OutputError, match=r"--report gate.txt: expected a name that ends in .json, .md, .xml"):
        check_reports("--report", [type(tmp_path)("gate.txt")])
    (tmp_path / "new.md").mkdir()
    with pytest.raises(OutputError, match=r"--report .*new.md: expected a file, found a folder"):
        check_reports("--report", [tmp_path / "new.md"])
    with pytest.raises(OutputError, match=r"expected a folder above it, found the file .*gate\.md; choose another"):
        check_reports("--report", [paths[1] / "more.md"])


def test_what_became_better_asks_to_refresh_the_baseline_also_where_another_figure_is_open():
    """In the terminal and in Markdown; otherwise the next regression could eat up the gain unseen."""
    better = dataclasses.replace(OUTCOME.evidence[0], verdict=Verdict.IMPROVEMENT, detail="")
    outcome = dataclasses.replace(OUTCOME, evidence=(better, OUTCOME.evidence[1]))
    asks = f"better beyond tolerance: {VARIANT}; refresh the baseline"
    assert asks in as_markdown(outcome, *ABOUT)
    last = render_paired(outcome, ABOUT[1]).splitlines()[-1]
    assert last.startswith("gate: passed, but 1 of 1 variant had figures")
    assert last.endswith(asks)


def test_the_table_has_a_row_for_each_variant_and_ends_with_the_verdict():
    """Figures, ratio with interval, noise floor."""
    text = render_paired(OUTCOME, ABOUT[1])
    row = next(line for line in text.splitlines() if line.startswith("dynamic_int8"))
    for part in ("110.0 ms", "1.100 (1.080 to 1.120)", "0.4%", "1.0 MB", "REGRESSION"):
        assert part in row
    assert text.splitlines()[-1] == f"gate: FAILED: {VARIANT}"


def test_with_several_models_each_row_names_its_own():
    """A recipe's name alone would stand there twice."""
    twice = [
        dataclasses.replace(item, variant=item.variant.replace("tiny", name))
        for item in OUTCOME.evidence
        for name in ("tiny", "other")
    ]
    text = render_paired(Outcome(tuple(twice), (), nothing=False, vanished=()), ABOUT[1])
    assert {line.split()[0] for line in text.splitlines()} >= {VARIANT, VARIANT.replace("tiny", "other")}
