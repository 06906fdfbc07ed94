"""The plugin of a session that runs detq's benchmarks: what to compare with, what was measured, and the gate."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Generator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from detq.baseline import (
    Baseline,
    Choice,
    Entry,
    choose,
    entry_from_json,
    merge,
    read_baseline,
    read_baselines,
    restrict,
    write_baseline,
)
from detq.baseline.entry import is_ours
from detq.baseline.scrub import scrub_commit, scrub_machine
from detq.bench.clock import virtual_clock
from detq.bench.report import write_report
from detq.bench.results import VariantResult
from detq.bench.settings import Settings, known_models
from detq.bench.suite import Suite
from detq.errors import BaselineError, DetqError
from detq.files import write_json
from detq.gate import Outcome, Selection, judge, render

__all__ = ["BenchSession"]

FIXTURE = "detq_variant"


class BenchSession:
    """Registered as a pytest plugin where a session's arguments reach the project's folder of benchmarks.

    Attributes:
        settings: what was asked for.
        suite: the measurements, once a test asked for them.
    """

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self.settings = settings
        self.suite: Suite | None = None
        self._config = config
        self._selected: list[str] = []
        self._outcome: Outcome | None = None
        self._text = ""
        self._messages: list[str] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._choice = Choice(None, same_class=False)
        if settings.timing:
            self._choice = self._choose()
            self._set_comparison()

    # What is compared with what

    @cached_property
    def environment(self) -> Mapping[str, Any]:
        """The machine: what `extra_info` says of it, and what makes up its class."""
        from detq.measure.environment import environment, machine_class

        found = environment(self.settings.threads)
        kind = machine_class(found)
        return {"id": kind.id, "fields": json.loads(json.dumps(asdict(kind))), "versions": found["versions"]}

    def describe(self) -> dict[str, Any]:
        """Return what `extra_info` says of the machine."""
        return {
            "machine_class": self.environment["id"],
            "threads": self.settings.threads,
            "versions": self.environment["versions"],
        }

    @property
    def _path(self) -> Path:
        return self.settings.project.baselines / f"{self.environment['id']}.json"

    def _choose(self) -> Choice:
        try:
            baselines = read_baselines(self.settings.project.baselines)
        except BaselineError:
            if not self.settings.update:
                raise
            baselines = self._readable()
        return choose(baselines, self.environment["id"], self.environment["fields"])

    def _readable(self) -> list[Baseline]:
        """Return the other classes' baselines: an unreadable file of this class is what an update replaces."""
        others = sorted(path for path in self.settings.project.baselines.glob("*.json") if path != self._path)
        self._messages.append(f"{self._path.name} is unreadable and is replaced as a whole")
        return [read_baseline(path) for path in others]

    def _set_comparison(self) -> None:
        """Point --benchmark-compare to this machine class's baseline, cut to the images that this run measures."""
        option = self._config.option
        wanted = option.benchmark_compare is True or (
            (self.settings.gate or self.settings.update) and not option.benchmark_compare
        )
        if not wanted:
            return
        if self._choice.baseline is None or not self._choice.same_class:
            if option.benchmark_compare is True:
                self._messages.append(
                    f"NOTHING TO COMPARE WITH: no baseline for this machine class ({self.environment['id']}); "
                    f"record one with `{self.settings.record}`"
                )
            option.benchmark_compare = []
            return
        self._folder = tempfile.TemporaryDirectory(prefix="detq-")
        path = Path(self._folder.name) / "baseline.json"
        write_json(path, restrict(self._choice.baseline.json, self.settings.images))
        option.benchmark_compare = str(path)
        saving = option.benchmark_save or option.benchmark_autosave
        if not saving and option.benchmark_storage == "file://./.benchmarks":
            # The table names a file by its path below the storage: just "baseline" this way.
            option.benchmark_storage = f"file://{self._folder.name}"
        if option.benchmark_sort == "min":
            # So that a variant's two rows stand beside each other.
            option.benchmark_sort = "name"

    def pytest_report_header(self) -> list[str]:
        """Say what is about to be measured and compared."""
        settings = self.settings
        if not settings.timing:
            return [f"detq: benchmarks run once on {settings.images} images, untimed (--benchmark-enable times them)"]
        name = self._choice.baseline.path.name if self._choice.baseline else "none"
        kind = "this machine class" if self._choice.same_class else "another machine class"
        return [
            f"detq: {len(settings.variants)} variants, {settings.images} images, {settings.threads} threads; "
            f"baseline: {name}{f' ({kind})' if self._choice.baseline else ''}",
            *(f"detq: {message}" for message in self._messages),
        ]

    @pytest.hookimpl(optionalhook=True)
    def pytest_benchmark_update_machine_info(self, machine_info: dict[str, Any]) -> None:
        """Leave of the machine what its times depend on; host names and kernels are nobody's business."""
        machine_info.clear()
        machine_info.update(scrub_machine(self.environment["id"], self.environment["fields"]))

    @pytest.hookimpl(optionalhook=True)
    def pytest_benchmark_update_commit_info(self, commit_info: dict[str, Any]) -> None:
        """Leave of the commit its id and date; branches and folders can be called anything."""
        kept = scrub_commit(commit_info)
        commit_info.clear()
        commit_info.update(kept)

    # Which benchmarks there are

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make one test a variant of every test that asks for `detq_variant`."""
        if FIXTURE in metafunc.fixturenames:
            parameters = [
                pytest.param(
                    variant.id, id=variant.id, marks=pytest.mark.benchmark(timer=virtual_clock, group=variant.model)
                )
                for variant in self.settings.variants
            ]
            metafunc.parametrize(FIXTURE, parameters)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note which variants are left after deselection."""
        if any(
            FIXTURE in getattr(item, "fixturenames", ()) for item in session.items
        ) and not self._config.pluginmanager.has_plugin("benchmark"):
            raise pytest.UsageError("detq's benchmarks need pytest-benchmark; run without `-p no:benchmark`")
        self._selected = [item.callspec.params[FIXTURE] for item in session.items if _times_a_variant(item)]

    def result(self, variant: str) -> VariantResult:
        """Return what was measured of a variant, measuring its model first if that has not happened."""
        if self.suite is None:
            raise RuntimeError("the fixture `detq_suite` makes the suite")
        return self.suite.result(variant, self._selected or [variant])

    # The end

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Judge the run, write what is to be written, and set the exit status."""
        if not self.settings.timing or exitstatus not in {
            pytest.ExitCode.OK,
            pytest.ExitCode.TESTS_FAILED,
            pytest.ExitCode.NO_TESTS_COLLECTED,
        }:
            return
        try:
            self._finish(session)
        except DetqError as error:
            self._messages.append(f"ERROR: {error}")
            session.exitstatus = pytest.ExitCode.USAGE_ERROR

    def _finish(self, session: pytest.Session) -> None:
        run = self._run()
        settings = self.settings
        selection = Selection(
            models=frozenset(settings.models),
            every_model=settings.every_model,
            registered=frozenset(variant.id for variant in settings.variants),
            selected=frozenset(self._selected),
            known_models=known_models(settings.models),
        )
        self._outcome = judge(run, self._choice, selection, settings.project.gate, record=settings.record)
        self._text = render(self._outcome, run, record=settings.record)
        if settings.update:
            self._update(session, run)
        elif settings.gate and self._outcome.failed:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if settings.report and self.suite and self.suite.results:
            evidence = [asdict(item) for item in self._outcome.evidence]
            write_report(settings.report, self.suite.results, {"evidence": evidence}, self._text)
            self._messages.append(f"figures and pictures: {_short(settings.report)}")

    def _run(self) -> dict[str, Entry]:
        """Return what pytest-benchmark recorded of this run's variants, in the suite's order."""
        benchmarks = getattr(self._config, "_benchmarksession").benchmarks  # noqa: B009  # pytest-benchmark's own
        documents = [item.as_dict(include_data=True) for item in benchmarks if not item.has_error]
        entries = [entry_from_json(document, "this run") for document in documents if is_ours(document)]
        return {entry.variant: entry for entry in entries}

    def _update(self, session: pytest.Session, run: Mapping[str, Entry]) -> None:
        assert self._outcome is not None
        if not run:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
            self._messages.append("baseline NOT written: nothing was measured")
            return
        if session.testsfailed:
            self._messages.append("baseline NOT written: tests failed")
            return
        same = self._choice.baseline if self._choice.same_class else None
        saved = [entry.json for entry in same.entries.values()] if same else []
        benchmarks = merge([entry.json for entry in run.values()], saved, self._outcome.vanished)
        write_baseline(self._path, benchmarks, self._document(), self.environment["id"], self.environment["fields"])
        self._messages.append(f"baseline written: {_short(self._path)} ({len(benchmarks)} variants); commit it")
        session.exitstatus = pytest.ExitCode.OK

    def _document(self) -> dict[str, Any]:
        import pytest_benchmark

        commit = self._config.hook.pytest_benchmark_generate_commit_info(config=self._config)
        return {
            "commit_info": commit,
            "datetime": datetime.now(UTC).isoformat(timespec="seconds"),
            "version": pytest_benchmark.__version__,
        }

    @pytest.hookimpl(wrapper=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> Generator[None, None, None]:
        """Print the gate's table below pytest-benchmark's, also where that one raises on a regression."""
        try:
            return (yield)
        finally:
            self._print(terminalreporter)

    def _print(self, reporter: pytest.TerminalReporter) -> None:
        if not self.settings.timing:
            return
        if self._outcome is not None and (self.settings.gate or self.settings.update):
            reporter.section("detq gate", sep="=")
            run = self._run()
            width, colour = reporter._tw.fullwidth, reporter.hasmarkup  # noqa: SLF001  # there is no public way
            reporter.write_line(render(self._outcome, run, record=self.settings.record, width=width, colour=colour))
        elif self.settings.gate:
            reporter.write_line("detq gate: NOT judged, the session did not run to its end", red=True)
        for message in self._messages:
            reporter.write_line(f"detq: {message}", bold=message.isupper() or "NO" in message)

    def pytest_unconfigure(self) -> None:
        """Remove the temporary copy of the baseline."""
        if self._folder is not None:
            self._folder.cleanup()


def _times_a_variant(item: pytest.Item) -> bool:
    names = getattr(item, "fixturenames", ())
    return FIXTURE in names and "benchmark" in names and hasattr(item, "callspec")


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
