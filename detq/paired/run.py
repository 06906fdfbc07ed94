"""`run_gate`: from the arguments to one verdict for each variant, with or without somebody watching."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detq.errors import DetqError
from detq.gate import Outcome
from detq.gate.accuracy import ACCURACY_TESTS, judge_accuracy
from detq.gate.decision import ALPHA, look_alpha, shared_alpha
from detq.gate.evidence import Evidence, Verdict
from detq.gate.latency import P90_PAIRS, judge_latency, speed_drift
from detq.gate.ratio import median_ratio
from detq.gate.resources import judge_resources
from detq.gate.trial import SIDES, Trial
from detq.paired.checkout import Tree, base_tree, head_tree
from detq.paired.choice import choose_recipes
from detq.paired.code import check_detq, check_module
from detq.paired.config import GateConfig
from detq.paired.frames import Frames
from detq.paired.process import Worker, WorkerError
from detq.paired.race import race
from detq.quantization.recipes import REFERENCE
from detq.runner.progress import Progress
from detq.types import Detections

__all__ = ["PairedResult", "run_gate"]

LATENCY_TESTS = 3
DRIFT = 1.15


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
    reference: list[Detections] = field(default_factory=list)
    spent_s: float = 0.0

    def result(self) -> PairedResult:
        self._load_images()
        with self._workers() as workers:
            known = {side: self._ask(workers[side], "recipes", model=self.config.model) for side in ("head", "base")}
            recipes = choose_recipes(self.config, known["head"]["recipes"], known["base"]["recipes"], self.progress.say)
            self._variant(REFERENCE, workers, left=len(recipes), tests=len(recipes))
        for number, (recipe, sides) in enumerate(recipes.items()):
            if not self.reference:  # fp32 no longer runs, and all others are compared with it
                break
            if sides == {"head", "base"} and recipe != REFERENCE:
                with self._workers() as workers:
                    self._variant(recipe, workers, left=len(recipes) - number, tests=len(recipes))
            elif sides != {"head", "base"}:
                self.evidence.append(_one_sided(f"{self.config.model}-{recipe}", sides, self.base.name))
        if self.versions["head"] != self.versions["base"]:
            self.notes.append(
                f"the base runs with {_words(self.versions['base'])}, not {_words(self.versions['head'])}"
            )
        outcome = Outcome(tuple(self.evidence), tuple(self.notes), not self.measured, ())
        return PairedResult(outcome, self._context(), self.measured)

    def _load_images(self) -> None:
        """Decode or render every image now: later that would be done between two processes that are being timed."""
        self.progress.begin("loading images", len(self.frames))
        for index in range(len(self.frames)):
            self.frames.path(index)
            self.progress.step(index + 1)
        self.progress.end()

    @contextlib.contextmanager
    def _workers(self) -> Iterator[dict[str, Worker]]:
        """Start three processes, which import at the same time, and check whose code they run."""
        with contextlib.ExitStack() as stack:
            workers = {}
            for side in SIDES:
                tree, python = (self.head, sys.executable) if side == "head" else (self.base, self.config.base_python)
                worker = Worker(side, python, tree.paths, tree.folder, self.config.threads)
                workers[side] = stack.enter_context(worker)
                worker.tell("hello", threads=self.config.threads)
            hellos = {side: self._ask(worker) for side, worker in workers.items()}
            check_detq(self.head, self.base, hellos, own_model=":" in self.config.model)
            self.versions = {side: hello["versions"] for side, hello in hellos.items() if side != "control"}
            yield workers

    def _ask(self, worker: Worker, do: str | None = None, **question: Any) -> dict[str, Any]:
        """Return a worker's answer, to a new question or to the last one told; an error names the commit."""
        try:
            return worker.hear() if do is None else worker.ask(do, **question)
        except WorkerError as error:
            if worker.side == "head":
                raise DetqError(f"{self.head.name}: {error}") from None
            raise DetqError(f"--base {self.config.base}: {error}") from None

    def _variant(self, recipe: str, workers: Mapping[str, Worker], *, left: int, tests: int) -> None:
        """Build, measure and judge one variant; where only head fails at that, it is a regression."""
        trial = Trial(f"{self.config.model}-{recipe}")
        alpha = shared_alpha(tests * (LATENCY_TESTS + ACCURACY_TESTS))
        tolerances = self.config.tolerances.of(trial.variant)
        try:
            classes = self._build(trial, workers)
            looks = self._race(trial, workers, classes, alpha, left)
        except WorkerError as error:
            if error.side != "head":
                raise DetqError(f"--base {self.config.base}: {trial.variant} does not run: {error}") from None
            detail = f"runs at the base, and no longer in {self.head.name}: {error}"
            self.evidence.append(Evidence("presence", "measured", trial.variant, Verdict.MISSING, detail=detail))
            return
        if recipe == REFERENCE:
            self.reference = trial.base.detections
        labelled = self.frames.labelled(classes["base"])
        self.evidence += judge_latency(trial, look_alpha(looks, alpha), tolerances)
        self.evidence += judge_accuracy(trial, labelled, self.reference, alpha, tolerances)
        self.evidence += judge_resources(trial, tolerances)
        self._report(trial, looks)

    def _build(self, trial: Trial, workers: Mapping[str, Worker]) -> dict[str, tuple[str, ...]]:
        config = self.config
        self.progress.begin(f"building {trial.variant}", len(SIDES))
        built = {}
        # The base first: what it cannot do either is no regression.
        for done, side in enumerate(("base", "control", "head"), start=1):
            built[side] = workers[side].ask(
                "build",
                variant=trial.variant,
                image=self.frames.proof_path(),
                weights=config.weights,
                classes=None if config.classes is None else list(config.classes),
                seed=config.seed,
                calibration=config.calibration,
            )
            self.progress.step(done)
        self.progress.end()
        if ":" in config.model:
            check_module(self.head, self.base, built)
        trial.meaningful = all(answer["meaningful"] for answer in built.values())
        for name, part in trial.sides():
            part.int8_share, part.int8_by_stage = built[name]["int8_share"], built[name]["int8_by_stage"]
        return {side: tuple(answer["classes"]) for side, answer in built.items()}

    def _race(
        self,
        trial: Trial,
        workers: Mapping[str, Worker],
        classes: Mapping[str, tuple[str, ...]],
        alpha: float,
        left: int,
    ) -> int:
        """Measure until the latency is decided or the variant's share of the time that is left is used up."""
        tolerances = self.config.tolerances.of(trial.variant)

        def decided(trial: Trial, look: int) -> bool:
            found = judge_latency(trial, look_alpha(look, alpha), tolerances)
            open_ones = [item for item in found if item.verdict is Verdict.INCONCLUSIVE]
            return len(trial.images) >= P90_PAIRS and not open_ones

        self.progress.begin(f"measuring {trial.variant}", len(self.frames))
        start = time.monotonic()
        looks = race(
            trial,
            workers,
            self.frames,
            classes,
            decided=decided,
            budget_s=max(0.0, self.config.budget_s - self.spent_s) / left,
            seed=self.config.seed,
            step=self.progress.step,
        )
        self.spent_s += time.monotonic() - start
        self.progress.end()
        for name, side in trial.sides():
            sizes = workers[name].ask("finish")
            side.weight_bytes, side.peak_bytes = sizes["weight_bytes"], sizes["peak_bytes"]
        return looks

    def _report(self, trial: Trial, looks: int) -> None:
        drift = speed_drift(trial)
        if not 1 / DRIFT < drift < DRIFT:
            self.notes.append(
                f"{trial.variant}: the base's own code took {abs(drift - 1):.0%} {'more' if drift > 1 else 'less'} "
                "time at the end than at the start: the machine throttled, or did other work; images are compared in "
                "pairs all the same"
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
            "model": config.model,
            "data": self.frames.name,
            "images": len(self.frames),
            "threads": config.threads,
            "budget_s": config.budget_s,
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
