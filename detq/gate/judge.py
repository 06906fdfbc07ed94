"""The verdict on a whole run: every variant that should be there, compared, or said to be missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from detq.baseline.entry import Entry
from detq.baseline.store import Choice
from detq.gate.compare import compare
from detq.gate.decision import ALPHA, shared_alpha
from detq.gate.evidence import Evidence, Verdict
from detq.gate.saved import SAVED_LATENCY_TESTS
from detq.gate.saved_accuracy import SAVED_ACCURACY_TESTS
from detq.gate.tolerances import Tolerances

__all__ = ["Outcome", "Selection", "judge", "latency_alpha"]


@dataclass(frozen=True)
class Selection:
    """What a run set out to measure.

    Attributes:
        models: the models it was asked for.
        every_model: True where nobody chose: a model that only the baseline knows has then vanished.
        registered: ids of all variants of those models.
        selected: ids of those that `-k`, a node id or the like left in.
        known_models: every model that exists, chosen or not.
    """

    models: frozenset[str]
    every_model: bool
    registered: frozenset[str]
    selected: frozenset[str]
    known_models: frozenset[str]


@dataclass(frozen=True)
class Outcome:
    """What the gate found.

    Attributes:
        evidence: all comparisons, in the order of the variants.
        notes: sentences about the run as a whole.
        nothing: True where no variant was measured at all.
        vanished: ids that the baseline has and that exist no more.
    """

    evidence: tuple[Evidence, ...]
    notes: tuple[str, ...]
    nothing: bool
    vanished: tuple[str, ...]

    @property
    def failed(self) -> bool:
        """Whether the build fails."""
        return self.nothing or any(item.verdict.fails for item in self.evidence)

    @property
    def undecided(self) -> bool:
        """Whether some figure could not be judged."""
        return any(item.verdict is Verdict.INCONCLUSIVE for item in self.evidence)

    @property
    def improved(self) -> bool:
        """Whether some figure is better than the baseline beyond tolerance."""
        return any(item.verdict is Verdict.IMPROVEMENT for item in self.evidence)

    @property
    def better(self) -> tuple[str, ...]:
        """The variants with such a figure."""
        return tuple(sorted({item.variant for item in self.evidence if item.verdict is Verdict.IMPROVEMENT}))

    def worst(self, variant: str) -> Verdict:
        """Return the worst verdict on a variant."""
        return max((item.verdict for item in self.evidence if item.variant == variant), key=lambda v: v.severity)


def latency_alpha(selection: Selection) -> float:
    """Return the error probability of one time's interval: times share one half among all that a run is to measure."""
    return _shared(selection, SAVED_LATENCY_TESTS)


def _shared(selection: Selection, tests: int) -> float:
    return shared_alpha(max(1, len(selection.selected & selection.registered)) * tests, ALPHA / 2)


def judge(
    run: Mapping[str, Entry], choice: Choice, selection: Selection, tolerances: Tolerances, *, record: str
) -> Outcome:
    """Return the gate's outcome.

    Args:
        run: what was measured, by variant id.
        choice: the baseline, and whether it is of this machine class.
        selection: what the run set out to measure.
        tolerances: how much worse a figure may get, for each variant.
        record: the command that records or refreshes the baseline.
    """
    saved = choice.baseline.entries if choice.baseline else {}
    alphas = {"alpha": latency_alpha(selection), "accuracy_alpha": _shared(selection, SAVED_ACCURACY_TESTS)}
    evidence: list[Evidence] = []
    for variant, entry in run.items():
        if variant in saved:
            same = choice.same_class
            own = tolerances.of(variant)
            evidence += compare(entry, saved[variant], own, same_class=same, record=record, **alphas)
        else:
            why = f"is not in the baseline; accept it with `{record}`" if saved else "has no baseline"
            evidence.append(_missing(variant, why))
    gone = _vanished(saved, selection)
    evidence += [_missing(variant, _why_gone(variant, choice, record)) for variant in gone]
    unmeasured = sorted((selection.selected & selection.registered) - run.keys())
    evidence += [_missing(variant, "was selected but not measured: skipped or failed") for variant in unmeasured]
    return Outcome(tuple(evidence), _notes(run, choice, selection, record), not run, gone)


def _missing(variant: str, detail: str) -> Evidence:
    return Evidence("presence", "measured", variant, Verdict.MISSING, detail=detail)


def _why_gone(variant: str, choice: Choice, record: str) -> str:
    name = choice.baseline.path.name if choice.baseline else "the baseline"
    return f"is in {name}, but {variant} no longer exists: if it was removed or renamed, accept that with `{record}`"


def _vanished(saved: Mapping[str, Entry], selection: Selection) -> tuple[str, ...]:
    def expected(entry: Entry) -> bool:
        return entry.model in selection.models or (selection.every_model and entry.model not in selection.known_models)

    return tuple(
        sorted(variant for variant, entry in saved.items() if expected(entry) and variant not in selection.registered)
    )


def _unsteady(entries: Mapping[str, Entry], when: str) -> list[str]:
    """Return a sentence for each model during whose measurement the machine changed its speed."""
    said = {(entry.model, entry.unsteady): None for entry in entries.values() if entry.unsteady}
    return [f"{model}: {when}a fixed piece of arithmetic {words}" for model, words in said]


def _notes(run: Mapping[str, Entry], choice: Choice, selection: Selection, record: str) -> tuple[str, ...]:
    notes = []
    if not run:
        notes.append(f"nothing was measured, so nothing was judged; select benchmarks, or record them with `{record}`")
    elif choice.baseline is None:
        notes.append(f"there is no baseline at all; record one with `{record}`")
    elif not choice.same_class:
        notes.append(
            "no baseline for this machine class: latency and memory are INCONCLUSIVE; accuracy, size and int8 share "
            f"are judged against {choice.baseline.path.name}; record this class with `{record}`"
        )
    notes += _unsteady(run, "")
    if choice.baseline is not None and choice.same_class:
        compared = {name: entry for name, entry in choice.baseline.entries.items() if name in run}
        notes += _unsteady(compared, "when the baseline was recorded, ")
    left_out = len(selection.registered - selection.selected)
    if run and left_out:
        notes.append(f"{left_out} of {len(selection.registered)} variants were deselected and are not judged")
    return tuple(notes)
