"""The plugin of a session that runs detq's benchmarks: pytest's hooks, from collection to the last line."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from detq.baseline.scrub import scrub_commit, scrub_machine
from detq.bench.clock import virtual_clock
from detq.bench.comparison import Comparison, Machine
from detq.bench.finish import judge_run, measured_entries, publish, save_baseline, what_is_undecided
from detq.bench.progress import Progress
from detq.bench.report import write_report
from detq.bench.results import VariantResult
from detq.bench.settings import Settings
from detq.bench.suite import Suite
from detq.bench.tables import render_comparison
from detq.errors import DetqError
from detq.gate import Outcome, render
from detq.gate.report import evidence_row
from detq.variants import Variant, find_variant

__all__ = ["BenchSession"]

FIXTURE = "detq_variant"
JUDGED = {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED}


class BenchSession:
    """Registered as a pytest plugin where a session's arguments reach the project's folder of benchmarks.

    Attributes:
        settings: what was asked for.
    """

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self.settings = settings
        self._config = config
        self._suite: Suite | None = None
        self._comparison: Comparison | None = None
        self._selected: list[str] = []
        self._outcome: Outcome | None = None
        self._closing: list[str] = []
        self._annotations: list[str] = []
        if settings.timing:
            self._comparison = Comparison(settings, self._machine)
            self._comparison.point(config.option)

    @cached_property
    def _machine(self) -> Machine:
        return Machine.detect(self.settings.threads)

    def measure_with(self, build: Callable[..., Any]) -> None:
        """Let the session's predictors be built by `build`."""
        chosen, comparison = self._selected, self._comparison
        undecided = None if comparison is None else what_is_undecided(self.settings, comparison, chosen)
        models = len({find_variant(variant).model for variant in chosen})
        self._suite = Suite(self.settings, build, Progress(self._config), undecided, models)

    def result(self, variant: str) -> VariantResult:
        """Return what was measured of a variant, measuring its model first if that has not happened.

        Raises:
            DetqError: it cannot be built or measured.
        """
        if self._suite is None:
            raise RuntimeError("the fixture `detq_suite` says how predictors are built")
        machine = self._machine
        return self._suite.result(variant, self._selected or [variant]).with_info(
            machine_class=machine.id, threads=self.settings.threads, versions=dict(machine.versions)
        )

    def pytest_report_header(self) -> list[str]:
        """Say what is about to be measured, and what it will be compared with."""
        settings = self.settings
        if self._comparison is None:
            return [f"detq: benchmarks run on {settings.images} images, untimed (--benchmark-enable times them)"]
        what = f"{len(settings.variants)} variants, {settings.images} images, {settings.threads} threads"
        return [f"detq: {line}" for line in (f"{what}; {self._comparison.describe()}", *self._comparison.messages)]

    @pytest.hookimpl(optionalhook=True)
    def pytest_benchmark_update_machine_info(self, machine_info: dict[str, Any]) -> None:
        """Leave of the machine what its times depend on; host names and kernels are nobody's business."""
        machine_info.clear()
        machine_info.update(scrub_machine(self._machine.id, self._machine.fields))

    @pytest.hookimpl(optionalhook=True)
    def pytest_benchmark_update_commit_info(self, commit_info: dict[str, Any]) -> None:
        """Leave of the commit its id and date; branches and folders can be called anything."""
        kept = scrub_commit(commit_info)
        commit_info.clear()
        commit_info.update(kept)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make one test a variant of every test that asks for `detq_variant`."""
        if FIXTURE not in metafunc.fixturenames:
            return
        metafunc.parametrize(FIXTURE, [self._parameter(variant) for variant in self.settings.variants])

    def _parameter(self, variant: Variant) -> Any:
        marks = [pytest.mark.benchmark(timer=virtual_clock, group=variant.model)]
        if reason := self.settings.left_out(variant):
            marks.append(pytest.mark.skip(reason=reason))
        return pytest.param(variant.id, id=variant.id, marks=marks)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note which variants are left after deselection.

        Raises:
            pytest.UsageError: detq's benchmarks without pytest-benchmark.
        """
        timed = [item for item in session.items if {FIXTURE, "detq_replay"} <= set(getattr(item, "fixturenames", ()))]
        if timed and not self._config.pluginmanager.has_plugin("benchmark"):
            raise pytest.UsageError("detq's benchmarks need pytest-benchmark; run without `-p no:benchmark`")
        chosen = [item for item in timed if isinstance(item, pytest.Function)]
        variants = [str(item.callspec.params[FIXTURE]) for item in chosen if not self._is_left_out(item)]
        self._selected = variants

    def _is_left_out(self, item: pytest.Function) -> bool:
        """Whether it is this plugin that skips a test; a skip of anybody else's is the gate's to notice."""
        return self.settings.left_out(find_variant(str(item.callspec.params[FIXTURE]))) is not None

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Judge the run, write what is to be written, and set the exit status; the terminal's summary comes later."""
        if self._comparison is None or exitstatus not in JUDGED:
            return
        try:
            self._finish(session, self._comparison)
        except DetqError as error:
            self._closing.append(f"ERROR: {error}")
            session.exitstatus = pytest.ExitCode.USAGE_ERROR

    def _finish(self, session: pytest.Session, comparison: Comparison) -> None:
        run = measured_entries(self._config)
        self._outcome = outcome = judge_run(run, self.settings, comparison, self._selected)
        if self.settings.update:
            accepted = bool(run) and not session.testsfailed
            if accepted:
                count = save_baseline(self._config, run, outcome, comparison, self._machine)
                self._closing.append(f"baseline written: {_short(comparison.path)} ({count} variants); commit it")
            else:
                self._closing.append(f"baseline NOT written: {'tests failed' if run else 'nothing was measured'}")
            session.exitstatus = pytest.ExitCode.OK if accepted else pytest.ExitCode.TESTS_FAILED
        elif self.settings.gate:
            undecided = self.settings.strict and outcome.undecided
            if outcome.failed or undecided:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
            if undecided:
                self._closing.append("FAILED under --detq-gate-strict: some figures could not be judged")
            self._annotations = publish(outcome, run, self.settings, comparison)
        if self.settings.report and self._suite and self._suite.results:
            results = {variant: self.result(variant) for variant in self._suite.results}
            evidence = [{"variant": item.variant, **evidence_row(item)} for item in outcome.evidence]
            lacking = write_report(self.settings.report, results, {"evidence": evidence}, self._texts())
            self._closing += [lacking] if lacking else []
            self._closing.append(f"figures and pictures: {_short(self.settings.report)}/")

    def _texts(self, *, width: int = 0, colour: bool = False) -> dict[str, str]:
        """Return the session's tables by name: the variants' comparison and, where it was asked for, the gate."""
        run = measured_entries(self._config)
        infos = {variant: entry.json["extra_info"] for variant, entry in run.items()}
        times = {variant: entry.times_s for variant, entry in run.items()}
        texts = {"comparison": render_comparison(infos, times, width=width, colour=colour)}
        if self._outcome is not None and (self.settings.gate or self.settings.update):
            accepted = self.settings.update
            texts["gate"] = render(
                self._outcome, run, record=self.settings.record, accepted=accepted, width=width, colour=colour
            )
        return texts

    @pytest.hookimpl(wrapper=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> Generator[None, None, None]:
        """Print the tables below pytest-benchmark's, also where that one raises on a regression."""
        try:
            return (yield)
        finally:
            if self._comparison is not None:
                self._print(terminalreporter, self._comparison)

    def _print(self, reporter: pytest.TerminalReporter, comparison: Comparison) -> None:
        width, colour = reporter._tw.fullwidth, reporter.hasmarkup  # noqa: SLF001  # there is no public way
        for name, text in self._texts(width=width, colour=colour).items():
            if text:
                reporter.section(f"detq {name}")
                reporter.write_line(text)
        if self.settings.gate and self._outcome is None:
            reporter.write_line("detq: NOT judged, the session did not run to its end", red=True)
        if self._outcome is not None and self._config.option.benchmark_compare:
            missing = sorted(item.variant for item in self._outcome.evidence if item.kind == "presence")
            if missing and not (self.settings.gate or self.settings.update):
                comparison.messages.append(f"NOT COMPARED, not in the baseline or not in the run: {', '.join(missing)}")
        for message in [*comparison.messages, *self._closing]:
            reporter.write_line(f"detq: {message}", bold=True)
        for line in self._annotations:
            reporter.write_line(line)

    def pytest_unconfigure(self) -> None:
        """Remove what was only for this session."""
        if self._comparison is not None:
            self._comparison.close()


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
