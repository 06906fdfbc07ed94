"""The pytest plugin of detq: options, fixtures, and the door to `detq.bench`.

An installed detq is loaded by every pytest run of its environment, so this module imports nothing heavy, and acts only
where `[tool.detq]` of the project's pyproject.toml names a folder of benchmarks and the session reaches into it.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from detq.bench.results import VariantResult
    from detq.bench.session import BenchSession
    from detq.bench.settings import Project, Settings

__all__ = ["detq_build", "detq_reference", "detq_result", "detq_suite", "detq_variant"]

PLUGIN = "detq-bench"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add detq's options; each carries its name, so that none can collide with another plugin's."""
    group = parser.getgroup("detq", "detq: benchmarks of detectors")
    add = group.addoption
    add("--detq-gate", action="store_true", help="Time the benchmarks and fail on a regression against the baseline.")
    add(
        "--detq-gate-update",
        action="store_true",
        help="Time the benchmarks and write this machine class's baseline. Refused where CI is set.",
    )
    add("--detq-gate-strict", action="store_true", help="With --detq-gate: fail where a figure is inconclusive, too.")
    add(
        "--detq-gate-report",
        metavar="FILE",
        type=Path,
        action="append",
        help="With --detq-gate: write the verdict as .md, .json or .xml (JUnit); may be given several times.",
    )
    add(
        "--detq-gate-budget",
        metavar="TIME",
        help="With --detq-gate: measure what is undecided again for up to this long, all models together, such as 40s "
        "or 10m. Default: 3m. With --detq-gate-update: record as many rounds as fit in. Default there: one.",
    )
    add("--detq-models", metavar="NAMES", help="Models to measure: all, or names separated by commas.")
    add("--detq-images", metavar="N", type=int, help="How many images to measure. Default: 64; 4 when untimed.")
    add("--detq-threads", metavar="N", type=int, help="Threads of torch. Default: the cores this process may use.")
    add("--detq-weights", metavar="WEIGHTS", help="packaged, coco, random or a file, for every model.")
    add("--detq-report", metavar="DIR", type=Path, help="Where pictures and figures go. Default: bench-report.")


def pytest_configure(config: pytest.Config) -> None:
    """Register the benchmarks' session, before pytest-benchmark reads its options.

    Raises:
        pytest.UsageError: options that contradict each other, or a project that is set up wrongly.
    """
    from detq.errors import DetqError

    try:
        project = _project(config)
        if project is None:
            _refuse_gate_without_benchmarks(config)
            return
        _check(config)
        from detq.bench.session import BenchSession

        config.pluginmanager.register(BenchSession(config, _settings(config, project)), PLUGIN)
    except DetqError as error:
        raise pytest.UsageError(str(error)) from None


def _project(config: pytest.Config) -> Project | None:
    """Return the project's settings where this session reaches into its folder of benchmarks."""
    if not (config.rootpath / "pyproject.toml").is_file():
        return None
    from detq.bench.settings import read_project

    project = read_project(config.rootpath)
    if project is None or not any(_overlap(project.benchmarks, path) for path in _arguments(config)):
        return None
    return project


def _arguments(config: pytest.Config) -> Iterator[Path]:
    for argument in config.args:
        yield (config.invocation_params.dir / argument.partition("::")[0]).resolve()


def _overlap(folder: Path, path: Path) -> bool:
    folder = folder.resolve()
    return folder == path or folder in path.parents or path in folder.parents


def _refuse_gate_without_benchmarks(config: pytest.Config) -> None:
    for option in ("--detq-gate", "--detq-gate-update"):
        if config.getoption(option):
            raise pytest.UsageError(
                f"{option}: this session reaches no benchmarks of detq; run `pytest benchmarks {option}`, where "
                '`[tool.detq] benchmarks = "benchmarks"` of pyproject.toml names their folder'
            )


def _check(config: pytest.Config) -> None:
    """Refuse combinations that would pass without having measured anything."""
    _check_gate_options(config)
    gate = next((name for name in ("--detq-gate-update", "--detq-gate") if config.getoption(name)), "")
    if not config.pluginmanager.has_plugin("benchmark"):
        if gate:
            raise pytest.UsageError(f"{gate} needs pytest-benchmark; run without `-p no:benchmark`")
        return
    if gate == "--detq-gate-update" and os.environ.get("CI"):
        raise pytest.UsageError(
            "--detq-gate-update is refused where the environment variable CI is set: what a build records, it cannot "
            "fail on; run it on a machine you trust and commit the file that it writes"
        )
    off = _switched_off(config)
    asked = gate or (config.option.benchmark_compare_fail and "--benchmark-compare-fail")
    if asked and off:
        raise pytest.UsageError(f"{asked} would pass unmeasured with {off}; leave one of the two out")
    if (gate or _timing(config)) and _distributed(config):
        raise pytest.UsageError(
            f"{gate or '--benchmark-…'}: times are not to be taken while pytest-xdist runs other tests; run the "
            "benchmarks without -n (or with `-p no:xdist`)"
        )


def _check_gate_options(config: pytest.Config) -> None:
    """Refuse what would be ignored without the gate, and reports whose names do not say what they are to be."""
    from detq.gate.report import check_reports

    reports = config.getoption("detq_gate_report") or []
    gating = config.getoption("detq_gate") or config.getoption("detq_gate_update")
    if config.getoption("detq_gate_budget") is not None and not gating:
        raise pytest.UsageError("--detq-gate-budget has no effect without --detq-gate or --detq-gate-update; add one")
    if not config.getoption("detq_gate"):
        for option, given in (("strict", config.getoption("detq_gate_strict")), ("report", reports)):
            if given:
                raise pytest.UsageError(f"--detq-gate-{option} has no effect without --detq-gate; add it")
    check_reports("--detq-gate-report", reports)


def _switched_off(config: pytest.Config) -> str:
    option = config.option
    if option.benchmark_disable and not option.benchmark_enable:
        return "--benchmark-disable"
    return "--benchmark-skip" if option.benchmark_skip and not option.benchmark_only else ""


def _distributed(config: pytest.Config) -> bool:
    return config.getoption("dist", "no") != "no" or hasattr(config, "workerinput")


def _timing(config: pytest.Config) -> bool:
    """Return whether times count: some --benchmark-* or --detq-gate* option was given for this run.

    Options in the project's own `addopts` do not count, unless they ask for the gate: how a table is to be laid out
    may well stand there for good.
    """
    if not config.pluginmanager.has_plugin("benchmark") or _switched_off(config):
        return False
    if config.getoption("detq_gate") or config.getoption("detq_gate_update"):
        return True
    given = [*map(str, config.invocation_params.args), *shlex.split(os.environ.get("PYTEST_ADDOPTS", ""))]
    return any(argument.startswith("--benchmark-") for argument in given)


def _settings(config: pytest.Config, project: Project) -> Settings:
    from detq.bench.settings import BUDGET_S, IMAGES_TIMED, IMAGES_UNTIMED, Settings, choose_models
    from detq.errors import DetqError
    from detq.measure.threads import choose_threads
    from detq.paired.config import seconds_of

    timing = _timing(config)
    images = config.getoption("detq_images")
    if images is not None and images < 1:
        raise DetqError(f"--detq-images {images}: expected 1 or more")
    chosen = config.getoption("detq_models")
    report = config.getoption("detq_report")
    budget = config.getoption("detq_gate_budget")
    return Settings(
        project=project,
        models=choose_models(chosen, project),
        every_model=chosen is None,
        images=images or (IMAGES_TIMED if timing else IMAGES_UNTIMED),
        threads=choose_threads(config.getoption("detq_threads")),
        weights=config.getoption("detq_weights"),
        timing=timing,
        gate=bool(config.getoption("detq_gate")),
        update=bool(config.getoption("detq_gate_update")),
        report=(report or config.rootpath / "bench-report") if timing or report else None,
        record=_record_command(config, project),
        strict=bool(config.getoption("detq_gate_strict")),
        gate_reports=tuple(config.getoption("detq_gate_report") or ()),
        budget_s=BUDGET_S if budget is None else seconds_of(budget, "--detq-gate-budget"),
        more_rounds=budget is not None,
    )


def _record_command(config: pytest.Config, project: Project) -> str:
    """Return the command that records what this session measures; fewer images are nobody's wish for a baseline."""
    command = f"pytest {os.path.relpath(project.benchmarks, config.rootpath)} --detq-gate-update"
    for name in ("models", "threads", "weights"):
        value = config.getoption(f"detq_{name}")
        command += "" if value is None else f" --detq-{name} {shlex.quote(str(value))}"
    return command


def _session(config: pytest.Config) -> BenchSession:
    session: BenchSession | None = config.pluginmanager.get_plugin(PLUGIN)
    if session is None:
        pytest.fail(
            'detq\'s fixtures need `[tool.detq] benchmarks = "…"` in pyproject.toml, naming the folder of this test',
            pytrace=False,
        )
    return session


@pytest.fixture
def detq_variant(request: pytest.FixtureRequest) -> str:
    """The id of a variant; a test that asks for it, or for `detq_result`, runs once for each variant."""
    _session(request.config)
    return str(request.param)


@pytest.fixture(scope="session")
def detq_build() -> Callable[..., Any]:
    """How a variant is built: `detq.predictor.build_predictor`. Override it in a conftest.py to wrap or replace it."""
    from detq.predictor import build_predictor

    return build_predictor


@pytest.fixture(scope="session")
def detq_suite(request: pytest.FixtureRequest, detq_build: Callable[..., Any]) -> BenchSession:
    """The measurements of this session: each model is measured when its first variant is asked for."""
    session = _session(request.config)
    session.measure_with(detq_build)
    return session


@pytest.fixture
def detq_result(detq_suite: BenchSession, detq_variant: str) -> VariantResult:
    """What was measured of the test's variant, together with the other variants of its model."""
    return _result(detq_suite, detq_variant)


@pytest.fixture
def detq_reference(detq_suite: BenchSession, detq_result: VariantResult) -> VariantResult:
    """What was measured of fp32, the reference, in the same breath as `detq_result`."""
    from dataclasses import replace

    return _result(detq_suite, replace(detq_result.variant, recipe="fp32").id)


def _result(session: BenchSession, variant: str) -> VariantResult:
    from detq.errors import DetqError

    try:
        return session.result(variant)
    except DetqError as error:
        sentence = str(error)
    pytest.fail(sentence, pytrace=False)


@pytest.fixture
def detq_replay(detq_suite: BenchSession, detq_result: VariantResult, benchmark: Any) -> Callable[[], None]:
    """Hand the variant's own times to pytest-benchmark; call it last, when the test's assertions hold."""
    from detq.bench.clock import replay

    def hand_over() -> None:
        # Only this fixture, not `--benchmark-disable`: other benchmarks of the session are not ours to switch off.
        benchmark.disabled = benchmark.disabled or not detq_suite.settings.timing
        benchmark.extra_info.update(detq_result.info)
        replay(benchmark, detq_result.times_s)

    return hand_over
