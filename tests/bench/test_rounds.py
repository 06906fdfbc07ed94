"""More rounds for what is undecided, within a budget."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from detq.bench.results import Recorded
from detq.bench.rounds import Budget, take_rounds
from detq.datasets.base import Dataset
from detq.types import GroundTruth


class Clock:
    """A second goes by for each image."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def run():
    def start(undecided, seconds, images=2, models=1):
        clock, asked = Clock(), []
        recorded = Recorded(
            dataset=SimpleNamespace(spec=Dataset),
            predictors={name: SimpleNamespace(variant=SimpleNamespace(id=f"m-{name}")) for name in ("fp32", "a", "b")},
            rounds_ms={name: [[1.0] * images] for name in ("fp32", "a", "b")},
            detections={},
            truths=[GroundTruth.empty()] * images,
            image_ids=[str(place) for place in range(images)],
            control_ms=[[1.0] * images],
            proposals=None,
            samples=[],
        )

        def measure(recipes, number, over):
            asked.append((number, *recipes))
            for rows in (*(recorded.rounds_ms[name] for name in recipes), recorded.control_ms):
                rows.append([])
            for _ in range(images):
                clock.now += 1
                for name in recipes:
                    recorded.rounds_ms[name][-1].append(1.0)
                recorded.control_ms[-1].append(1.0)
                if over():
                    break

        budget = Budget(seconds, models, clock)
        budget.begin()
        clock.now += images
        take_rounds(recorded, undecided, measure, budget, lambda _: None)
        budget.end()
        return recorded, asked, budget

    return start


def test_only_what_is_undecided_runs_again_beside_fp32_and_rounds_double_before_each_look(run):
    """Fp32 is decided at once and goes on all the same: speed-ups are over fp32 of the same moment."""
    until = {"m-fp32": 1, "m-a": 2, "m-b": 3}
    recorded, asked, _ = run(lambda variant, _times, look: look < until[variant], 1000)
    assert asked == [(1, "fp32", "a", "b"), (2, "fp32", "b"), (3, "fp32", "b")]
    assert {name: len(rows) for name, rows in recorded.rounds_ms.items()} == {"fp32": 4, "a": 2, "b": 4}
    assert recorded.looks == {"a": 2, "b": 3}
    assert len(recorded.times("a").rounds_s) == 2


def test_the_budget_ends_it_in_the_middle_of_a_round_and_never_before_the_first_is_whole(run):
    """Images measured until then count."""
    recorded, _, _ = run(lambda *_: True, 7)
    assert [len(row) for row in recorded.rounds_ms["b"]] == [2, 2, 2, 1]
    assert [len(row) for row in recorded.control_ms] == [2, 2, 2, 1]
    recorded, asked, _ = run(lambda *_: True, 1)
    assert not asked
    assert len(recorded.rounds_ms["a"]) == 1


def test_what_a_model_does_not_need_of_its_share_is_left_to_the_next(run):
    """Two models with 20 seconds: the first needs 2, the second may take 18."""
    _, _, budget = run(lambda *_: False, 20, models=2)
    budget.begin()
    assert budget.left() == 18
    first = Budget(20, 2, Clock())
    first.begin()
    assert first.left() == 10, "no more than its share, as nobody knows what the second will need"
