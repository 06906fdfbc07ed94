"""`run_gate`: from the arguments to one verdict for each variant, with or without somebody watching."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detq.errors import DetqError
from detq.gate import Outcome
from detq.gate.accuracy import accuracy_tests, judge_accuracy
from detq.gate.decision import ALPHA, look_alpha, shared_alpha
from detq.gate.drift import drift_words
from detq.gate.evidence import Evidence, Verdict
from detq.gate.latency import P90_PAIRS, judge_latency, speed_drift
from detq.gate.ratio import median_ratio
from detq.gate.resources import judge_resources
from detq.gate.trial import Trial
from detq.paired.checkout import Tree, base_tree, head_tree
from detq.paired.choice import choose_recipes
from detq.paired.code import check_module
from detq.paired.config import GateConfig, may_have_masks
from detq.paired.frames import Frames
from detq.paired.process import WorkerError
from detq.paired.race import race
from detq.paired.sides import Sides
from detq.quantization.recipes import REFERENCE
from detq.runner.progress import Progress
from detq.types import Detections
from detq.variants import Variant

__all__ = ["PairedResult", "run_gate"]

LATENCY_TESTS = 3


@dataclass(frozen=True)
class PairedResult:
    """What a run of the paired gate found.

    Attributes:
        outcome: the evidence on every variant, and notes.
        context: what was compared, on what: ready for JSON.
        variants: id -> pairs, looks and noise floor of what was measured.
    """

    outcome: Outcome
    context: dict[str, Any]
    variants: dict[str, dict[str, Any]]


def run_gate(config: GateConfig, progress: Progress | None = None) -> PairedResult:
    """Compare the working tree with a commit, variant by variant.

    Everything that was started or checked out is gone afterwards, also after an error or Ctrl-C.

    Raises:
        DetqError: a mistake in the arguments, a base that cannot be built, or data that cannot be read.
    """
    head = head_tree(config.folder)
    with (
        base_tree(head, config.base) as base,
        tempfile.TemporaryDirectory(prefix="detq-gate-images-") as images,
    ):
        return _Run(config, head, base, Frames(config, Path(images)), progress or Progress()).result()


@dataclass
class _Run:
    config: GateConfig
    head: Tree
    base: Tree
    frames: Frames
    progress: Progress
    evidence: list[Evidence] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    measured: dict[str, dict[str, Any]] = field(default_factory=dict)
    versions: dict[str, Any] = field(default_factory=dict)
    references: dict[str, list[Detections]] = field(default_factory=dict)
    spent_s: float = 0.0
    tests: int = 0

    def result(self) -> PairedResult:
        with self._sides().running() as sides:
            self._load_images()
            self.versions = sides.hear_versions()
            chosen = self._choose(sides)
            common = [one for one in chosen if chosen[one] == {"head", "base"}]
            self.tests = sum(LATENCY_TESTS + accuracy_tests(masks=may_have_masks(one.model)) for one in common)
            self._variant(common[0], sides, left=len(common))
        for one, found in chosen.items():
            if found != {"head", "base"}:
                self.evidence.append(_one_sided(one.id, found, self.base.name))
            elif one.recipe != REFERENCE and one.model not in self.references:
                self.notes.append(f"{one.id} was not compared: {one.model}-{REFERENCE}, its reference, no longer runs")
            elif one != common[0]:
                with self._sides().running() as sides:
                    sides.hear_versions()
                    self._variant(one, sides, left=len(common) - common.index(one))
        if self.versions["head"] != self.versions["base"]:
            self.notes.append(
                f"the base runs with {_words(self.versions['base'])}, not {_words(self.versions['head'])}"
            )
        outcome = Outcome(tuple(self.evidence), tuple(self.notes), not self.measured, ())
        return PairedResult(outcome, self._context(), self.measured)

    def _sides(self) -> Sides:
        return Sides(self.config, self.head, self.base)

    def _choose(self, sides: Sides) -> dict[Variant, set[str]]:
        """Return the variants of all models, each with the sides that have it."""
        chosen: dict[Variant, set[str]] = {}
        for model in self.config.models:
            known = {side: sides.ask(side, "recipes", model=model)["recipes"] for side in ("base", "head")}
            recipes = choose_recipes(self.config, model, known["head"], known["base"], self.progress.say)
            chosen |= {Variant(model, recipe): found for recipe, found in recipes.items()}
        return chosen

    def _load_images(self) -> None:
        """Decode or render every image now: later that would be done between two processes that are being timed."""
        self.progress.begin("loading images", len(self.frames))
        for index in range(len(self.frames)):
            self.frames.path(index)
            self.progress.step(index + 1)
        self.progress.end()

    def _variant(self, variant: Variant, sides: Sides, *, left: int) -> None:
        """Build, measure and judge one variant; where only head fails at that, it is a regression."""
        trial = Trial(variant.id)
        alpha, tolerances = shared_alpha(self.tests), self.config.tolerances.of(trial.variant)
        try:
            built = self._build(trial, sides)
            looks = self._race(trial, sides, built, alpha, left)
        except WorkerError as error:
            if error.side != "head":
                raise DetqError(f"--base {self.config.base}: {trial.variant} does not run: {error}") from None
            detail = f"runs at the base, and no longer in {self.head.name}: {error}"
            self.evidence.append(Evidence("presence", "measured", trial.variant, Verdict.MISSING, detail=detail))
            return
        if variant.recipe == REFERENCE:
            self.references[variant.model] = trial.base.detections
        labelled = self.frames.labelled(built["base"]["classes"])
        self.evidence += judge_latency(trial, look_alpha(looks, alpha), tolerances)
        self.evidence += judge_accuracy(trial, labelled, self.references[variant.model], alpha, tolerances)
        self.evidence += judge_resources(trial, tolerances)
        self._report(trial, looks, masks=built["base"]["has_masks"] and not labelled.masks)

    def _build(self, trial: Trial, sides: Sides) -> Mapping[str, dict[str, Any]]:
        self.progress.begin(f"building {trial.variant}", 1)
        built = sides.build(trial.variant, self.frames.proof_path)
        self.progress.end()
        check_module(self.head, self.base, built)
        trial.meaningful = all(answer["meaningful"] for answer in built.values())
        for name, part in trial.sides():
            part.int8_share, part.int8_by_stage = built[name]["int8_share"], built[name]["int8_by_stage"]
        return built

    def _race(self, trial: Trial, sides: Sides, built: Mapping[str, Mapping[str, Any]], alpha: float, left: int) -> int:
        """Measure until the latency is decided or the variant's share of the time that is left is used up."""
        tolerances = self.config.tolerances.of(trial.variant)

        def decided(trial: Trial, look: int) -> bool:
            found = judge_latency(trial, look_alpha(look, alpha), tolerances)
            open_ones = [item for item in found if item.verdict is Verdict.INCONCLUSIVE]
            return len(trial.images) >= P90_PAIRS and not open_ones

        budget_s = max(0.0, self.config.budget_s - self.spent_s) / left
        most = max(1, round(budget_s))
        self.progress.begin(f"measuring {trial.variant}, seconds of budget", most)
        start = time.monotonic()
        looks = race(
            trial,
            sides.workers,
            self.frames,
            {side: tuple(answer["classes"]) for side, answer in built.items()},
            decided=decided,
            budget_s=budget_s,
            seed=self.config.seed,
            # Nobody knows how many images it will take; the time is known.
            step=lambda _: self.progress.step(min(most, int(time.monotonic() - start))),
            masks=bool(built["base"]["has_masks"]),
        )
        self.spent_s += time.monotonic() - start
        self.progress.end()
        for name, side in trial.sides():
            sizes = sides.workers[name].ask("finish")
            side.weight_bytes, side.peak_bytes = sizes["weight_bytes"], sizes["peak_bytes"]
            side.file_bytes = sizes["file_bytes"]
        return looks

    def _report(self, trial: Trial, looks: int, *, masks: bool) -> None:
        drift, part = speed_drift(trial)
        if said := drift_words(drift, part):
            self.notes.append(f"{trial.variant}: the base's own code {said}; images are compared in pairs all the same")
        if masks and trial.meaningful and not self.config.unlabelled:
            self.notes.append(
                f"{trial.variant}: masks are not judged: not every object of {self.frames.name} has an instance mask"
            )
        ratio = median_ratio(trial.head.times_ms, trial.base.times_ms, trial.control.times_ms, ALPHA)
        self.measured[trial.variant] = {
            "pairs": len(trial.images),
            "looks": looks,
            "noise_floor": ratio.floor - 1,
            "machine_drift": drift - 1,
        }

    def _context(self) -> dict[str, Any]:
        config = self.config
        return {
            "base": config.base,
            "base_commit": self.base.name,
            "model": ", ".join(config.models),
            "data": self.frames.name,
            "images": len(self.frames),
            "threads": config.threads,
            "budget_s": config.budget_s,
            "measured_s": round(self.spent_s, 1),
            "seed": config.seed,
            "versions": self.versions,
        }


def _words(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _one_sided(variant: str, sides: set[str], base: str) -> Evidence:
    if sides == {"head"}:
        detail = f"is new: {base} does not have it, so there is nothing to compare it with"
        return Evidence("presence", "measured", variant, Verdict.INCONCLUSIVE, detail=detail)
    detail = f"is in {base} and no longer here: removed, or renamed"
    return Evidence("presence", "measured", variant, Verdict.MISSING, detail=detail)
