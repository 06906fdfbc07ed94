"""The plugin in real pytest sessions: a small project of its own, in processes of their own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
IMAGES = 16
TIMED = ("benchmarks", "--detq-threads=1", "--detq-gate-budget=1s")

PYPROJECT = """
[tool.pytest.ini_options]
addopts = ["--import-mode=importlib", "--strict-markers"]
pythonpath = ["."]
filterwarnings = ["error"]

[tool.detq]
benchmarks = "benchmarks"
models = ["tiny_detector:build"]
data = "images"
"""

# The detector sleeps ten milliseconds; on a busy machine that can be twenty.
TOLERANT = (
    PYPROJECT
    + """
[tool.detq.gate]
latency = 0.9
latency_p90 = 0.99
peak_memory = 0.99
speedup_floor = 0.1
"""
)

DETECTOR = '''
"""A detector that finds the one bright rectangle of an image, and takes a fixed time for it."""

import time

import torch
from torch import nn

NOTHING = {"boxes": torch.zeros(0, 4), "scores": torch.zeros(0), "labels": torch.zeros(0, dtype=torch.int64)}


class Tiny(nn.Module):
    classes = ("car",)

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.features, self.score = nn.Linear(64, 32), nn.Linear(32, 1)

    def forward(self, images):
        return [self.find(image) for image in images]

    def find(self, image):
        time.sleep(0.01)
        rows, columns = torch.where(image.amax(0) > 0.5)
        if not len(rows):
            return NOTHING
        box = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()
        thumbnail = nn.functional.adaptive_avg_pool2d(image.mean(0, keepdim=True), 8).flatten()
        score = 0.9 + 0.05 * torch.sigmoid(self.score(torch.relu(self.features(thumbnail[None])))).flatten()
        return {"boxes": box[None], "scores": score, "labels": torch.ones(1, dtype=torch.int64)}


def build():
    return Tiny()
'''

# A project's own conftest can wrap how predictors are built; here it makes the int8 variant worse.
WRAPPED = """
import time

import pytest

from detq.types import Detections


@pytest.fixture(scope="session")
def detq_build(detq_build):
    def build(variant, **options):
        predictor = detq_build(variant, **options)
        if variant.recipe == "dynamic_int8":
            predict = predictor.predict
            predictor.predict = lambda image: worse(predict(image))
        return predictor

    def worse(found):
        {body}

    return build
"""
SLOWER = "time.sleep(0.1); return found"
SHIFTED = "return Detections(found.boxes + [6, 0, 6, 0], found.scores, found.labels)"


@pytest.fixture
def project(pytester, monkeypatch):
    """A repository that gates its own detector with the benchmarks of this one."""
    for name in ("CI", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("COLUMNS", "200")
    pytester.makepyprojecttoml(PYPROJECT)
    pytester.path.joinpath("tiny_detector.py").write_text(DETECTOR)
    for name in ("test_latency.py", "test_accuracy.py"):
        pytester.mkdir("benchmarks") if not Path("benchmarks").is_dir() else None
        shutil.copy(ROOT / "benchmarks" / name, "benchmarks")
    _write_images(pytester.mkdir("images"))
    return pytester


def _write_images(folder):
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        image = np.zeros((64, 96, 3), np.uint8)
        (x, y), (width, height) = rng.integers(0, [50, 30]), rng.integers(10, [40, 30])
        image[y : y + height, x : x + width] = 255
        Image.fromarray(image).save(folder / f"{number:02}.png")
        (folder / f"{number:02}.txt").write_text(f"car {x} {y} {x + width} {y + height}\n")


@pytest.fixture(scope="session")
def recorded(tmp_path_factory):
    """Where the first test that needs a recorded baseline keeps it for the others."""
    return tmp_path_factory.mktemp("recorded") / "baselines"


@pytest.fixture
def gated(project, recorded):
    """The project with a baseline of this machine class."""
    if not recorded.is_dir():
        project.runpytest_subprocess(*TIMED, "--detq-gate-update").assert_outcomes(passed=6)
        shutil.copytree("benchmarks/baselines", recorded)
    shutil.copytree(recorded, "benchmarks/baselines", dirs_exist_ok=True)
    project.makepyprojecttoml(TOLERANT)
    return project


def baseline_file():
    (path,) = Path("benchmarks/baselines").glob("*.json")
    return path


def edit_baseline(change):
    path = baseline_file()
    document = json.loads(path.read_text())
    by_recipe = {entry["extra_info"]["recipe"]: entry for entry in document["benchmarks"]}
    change(document, by_recipe)
    path.write_text(json.dumps(document))


def wrap_predictors(body):
    Path("benchmarks/conftest.py").write_text(WRAPPED.replace("{body}", body))


@pytest.mark.slow
class TestTiming:
    """What is timed, and when."""

    def test_plain_pytest_runs_each_benchmark_once_without_timing(self, project):
        """They double as tests, and other people's benchmarks in the same session are timed as ever."""
        project.path.joinpath("test_own.py").write_text("def test_sort(benchmark):\n    benchmark(sorted, [2, 1])\n")
        result = project.runpytest_subprocess("--benchmark-columns=median", "test_own.py", "-q")
        assert "detq:" not in result.stdout.str()
        result = project.runpytest_subprocess()
        result.assert_outcomes(passed=7)
        text = result.stdout.str()
        assert "running fp32, dynamic_int8 on 4 images" in text
        assert "test_sort" in text
        assert "test_latency[" not in text
        assert not Path("bench-report").exists()

    def test_a_model_that_fails_is_tried_once(self, project):
        """However many tests ask for it: building and measuring take minutes."""
        wrap_predictors("import os; os.mkdir(f'tried-{len(os.listdir())}'); raise RuntimeError('no such part')")
        result = project.runpytest_subprocess("benchmarks")
        result.assert_outcomes(errors=6)
        assert "no such part" in result.stdout.str()
        assert len(list(Path.cwd().glob("tried-*"))) == 1

    def test_an_update_writes_a_baseline_that_compare_shows_beside_this_run(self, gated):
        """pytest-benchmark's own table has both rows of each variant, and nobody's name is in the file."""
        path = baseline_file()
        document = json.loads(path.read_text())
        assert path.stem == document["machine_info"]["machine_class"]
        assert path.stat().st_size < 20_000
        assert [entry["param"] for entry in document["benchmarks"]] == [
            "tiny_detector:build-dynamic_int8",
            "tiny_detector:build-fp32",
        ]
        assert str(gated.path) not in path.read_text()
        result = gated.runpytest_subprocess(
            *TIMED,
            "--benchmark-compare",
            "--benchmark-compare-fail=median:400%",
            "--benchmark-json=run.json",
            "--detq-gate",
        )
        assert result.ret == pytest.ExitCode.OK
        result.stdout.fnmatch_lines(
            [
                "*baseline * (this machine class)",
                "*measuring fp32, dynamic_int8 on 16 images, 1 threads",
                "*16/16 images*",
                "*dynamic_int8[]] (baseline) *",
                "*dynamic_int8[]] (NOW) *",
                "*fp32[]] (baseline) *",
                "*fp32[]] (NOW) *",
                "*gate: passed*2 variants*",
            ]
        )
        report = json.loads(Path("bench-report/bench.json").read_text())
        saved = json.loads(Path("run.json").read_text())
        assert set(saved["machine_info"]) == {"machine_class", "fields"}
        for benchmark in saved["benchmarks"]:
            measured = report["variants"][benchmark["param"]]["times_ms"]
            assert len(measured) == IMAGES
            assert [seconds * 1e3 for seconds in benchmark["stats"]["data"]] == pytest.approx(measured, abs=1e-3)
        assert len(list(Path("bench-report/pictures").iterdir())) == 6

    def test_a_slowed_variant_fails_benchmark_compare_fail_and_the_gate(self, gated):
        """One slow predictor is enough, and only it is named."""
        wrap_predictors(SLOWER)
        result = gated.runpytest_subprocess(
            *TIMED[:2], "-k", "latency", "--benchmark-compare", "--benchmark-compare-fail=median:10%"
        )
        assert result.ret not in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}
        assert "Performance has regressed" in result.stderr.str()
        assert "test_latency[tiny_detector:build-dynamic_int8]" in result.stderr.str()
        result = gated.runpytest_subprocess(*TIMED, "--detq-gate")
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        result.assert_outcomes(passed=6)
        result.stdout.fnmatch_lines(
            [
                "REGRESSION tiny_detector:build-dynamic_int8: median of 16 images *",
                "gate: FAILED*`pytest benchmarks --detq-gate-update --detq-threads 1`",
            ]
        )
        result.stdout.no_fnmatch_line("REGRESSION tiny_detector:build-fp32*")


@pytest.mark.slow
class TestGate:
    """What fails the build besides time."""

    def test_less_accurate_larger_less_quantized_and_renamed_each_show(self, gated, monkeypatch):
        """One run against a baseline that was better in every respect; reports and GitHub's annotations say so too."""
        wrap_predictors(SHIFTED)
        monkeypatch.setenv("GITHUB_ACTIONS", "true")

        def change(document, by_recipe):
            by_recipe["fp32"]["extra_info"]["weight_bytes"] //= 2
            by_recipe["fp32"]["extra_info"]["int8_share"] = 0.5
            gone = json.loads(json.dumps(by_recipe["dynamic_int8"]).replace("dynamic_int8", "static_int8"))
            document["benchmarks"].append(gone)

        edit_baseline(change)
        reports = [f"--detq-gate-report=gate{suffix}" for suffix in (".json", ".md", ".xml")]
        result = gated.runpytest_subprocess(*TIMED, "--detq-gate", "-k", "latency", *reports)
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        text = result.stdout.str()
        result.stdout.fnmatch_lines(["::error title=detq gate%3A tiny_detector*"])
        assert json.loads(Path("gate.json").read_text())["verdict"] == "missing"
        assert Path("gate.md").read_text().startswith("## detq gate: failed")
        assert "<failure" in Path("gate.xml").read_text()
        assert "REGRESSION tiny_detector:build-fp32: weights " in text
        assert "REGRESSION tiny_detector:build-fp32: share of the arithmetic in int8 50.00% → 0.00%" in text
        assert "REGRESSION tiny_detector:build-dynamic_int8: AP 1.0000 → " in text
        assert "tiny_detector:build-static_int8 no longer exists" in text

    def test_better_passes_and_a_new_variant_fails(self, gated):
        """The one asks for a refresh, the other to be accepted. Eight images are too few for an interval of times."""

        def change(document, by_recipe):
            by_recipe["fp32"]["extra_info"]["weight_bytes"] *= 2
            document["benchmarks"].remove(by_recipe["dynamic_int8"])

        edit_baseline(change)
        result = gated.runpytest_subprocess(*TIMED, "--detq-gate", "-k", "latency", "--detq-images=8")
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        (evidence, *_) = json.loads(Path("bench-report/bench.json").read_text())["gate"]["evidence"]
        assert (evidence["verdict"], evidence["high"]) == ("inconclusive", None)
        result.stdout.fnmatch_lines(
            [
                "MISSING tiny_detector:build-dynamic_int8: is not in the baseline; accept it with *",
                "better than the baseline beyond tolerance: tiny_detector:build-fp32; refresh it with *",
            ]
        )

    def test_another_machine_class_is_said_loudly_and_judged_on_all_but_time(self, gated):
        """A bare --benchmark-compare has nothing to compare with, and says so. It fails where --strict asks for it."""
        path = baseline_file()
        path.write_text(path.read_text().replace(path.stem, "another-class"))
        path.rename(path.with_stem("another-class"))
        strict = ("--detq-gate", "--detq-gate-strict")
        result = gated.runpytest_subprocess(*TIMED, *strict, "--benchmark-compare", "-k", "latency")
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        result.stdout.fnmatch_lines(["detq: FAILED under --detq-gate-strict: *"])
        text = result.stdout.str()
        assert "NOTHING TO COMPARE WITH: no baseline for this machine class" in text
        assert (
            "latency and memory are INCONCLUSIVE; accuracy, size and int8 share are judged against another-class.json"
            in text
        )
        assert "gate: passed, but 2 of 2 variants had figures that could not be judged" in text

    @pytest.mark.parametrize("word", ["nothing_is_called_this", "latency"])
    def test_a_run_that_measured_nothing_fails(self, gated, word):
        """Deselected or skipped: no measurement, no pass."""
        path = Path("benchmarks/test_latency.py")
        path.write_text(path.read_text() + "\nimport pytest\n\npytestmark = pytest.mark.skip\n")
        result = gated.runpytest_subprocess(*TIMED, "--detq-gate", "-k", word)
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        result.stdout.fnmatch_lines(["*nothing was measured*", "gate: FAILED*--detq-gate-update*"])


class TestRefusals:
    """Mistakes cost a sentence, not a measurement."""

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (["--detq-gate", "--benchmark-disable"], "--detq-gate would pass unmeasured with --benchmark-disable"),
            (["--detq-gate-update", "--benchmark-skip"], "would pass unmeasured with --benchmark-skip"),
            (
                ["--benchmark-compare", "--benchmark-compare-fail=median:10%", "--benchmark-disable"],
                "--benchmark-compare-fail would pass unmeasured with --benchmark-disable",
            ),
            (["--detq-gate", "-p", "no:benchmark"], "--detq-gate needs pytest-benchmark"),
            (["--detq-models=fasterrcn"], "unknown model 'fasterrcn'"),
            (["--detq-gate-report=gate.md"], "--detq-gate-report has no effect without --detq-gate"),
            (["--detq-gate-budget=3m"], "--detq-gate-budget has no effect without --detq-gate or --detq-gate-update"),
            (["--detq-gate", "--detq-gate-budget=soon"], "--detq-gate-budget soon: expected a time above 0"),
            (["--detq-images=0"], "--detq-images 0: expected 1 or more"),
            (["--detq-threads=1000"], "--threads 1000: expected 1 to "),
        ],
    )
    def test_options_that_cannot_be_are_usage_errors(self, project, arguments, sentence):
        """With exit code 4, pytest's own for it."""
        result = project.runpytest_subprocess("benchmarks", *arguments)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        assert sentence in result.stderr.str()

    def test_an_update_is_refused_in_ci(self, project, monkeypatch):
        """What a build records, it cannot fail on."""
        monkeypatch.setenv("CI", "true")
        result = project.runpytest_subprocess("benchmarks", "--detq-gate-update")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        assert "--detq-gate-update is refused where the environment variable CI is set" in result.stderr.str()

    def test_the_gate_without_benchmarks_is_a_usage_error(self, project):
        """`pytest tests --detq-gate` judges nothing, and a project that never set detq up has nothing to judge."""
        project.mkdir("tests")
        for folder in ("tests", "."):
            result = project.runpytest_subprocess(folder, "--detq-gate")
            assert result.ret == pytest.ExitCode.USAGE_ERROR
            assert "this session reaches no benchmarks of detq" in result.stderr.str()
            project.makepyprojecttoml('[project]\nname = "bare"')

    def test_a_benchmark_outside_the_benchmarks_folder_says_what_is_missing(self, project):
        """The fixtures are there in every session, but without settings there is nothing to measure."""
        project.makepyprojecttoml('[project]\nname = "bare"')
        result = project.runpytest_subprocess("benchmarks/test_latency.py")
        result.assert_outcomes(errors=1)
        assert "detq's fixtures need `[tool.detq] benchmarks" in result.stdout.str()

    @pytest.mark.parametrize(
        ("line", "sentence"),
        [
            ("[tool.detq.gate]\nlatency = 10", "[tool.detq.gate] latency: expected a number from 0 up to"),
            ("[tool.detq.gate]\nlatncy = 0.1", "did you mean latency"),
            ('weigths = "a.pth"', "unknown pyproject.toml [tool.detq] key 'weigths'; did you mean weights"),
            ("classes = 3", "[tool.detq] classes: expected a list of strings, got 3"),
        ],
    )
    def test_a_project_that_is_set_up_wrongly_is_a_usage_error(self, project, line, sentence):
        """A setting that is ignored would be worse than one that is refused."""
        project.makepyprojecttoml(PYPROJECT + line)
        result = project.runpytest_subprocess("benchmarks")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        assert sentence in result.stderr.str()

    @pytest.mark.parametrize("option", ["--detq-gate", "--detq-gate-update"])
    def test_a_damaged_baseline_is_named_and_left_as_it_is(self, gated, option):
        """Half a file vouches for nothing, and may be worth restoring."""
        path = baseline_file()
        path.write_text(path.read_text()[:1000])
        result = gated.runpytest_subprocess("benchmarks", option, "--detq-threads=1")
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        assert f"{path.name} is not readable JSON" in result.stderr.str()
        assert "restore the file, or remove it" in result.stderr.str()
        assert len(path.read_text()) == 1000
