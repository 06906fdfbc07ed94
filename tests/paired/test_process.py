"""Worker processes that fail, hang, or have no code to run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from detq.errors import DetqError
from detq.measure.allocator import KEEPING
from detq.paired.config import GateConfig
from detq.paired.process import Worker, WorkerError
from detq.paired.run import run_gate

PACKAGE = Path(__file__).resolve().parents[2]

HANGS = """import subprocess, sys, time
from pathlib import Path


def variants_of(model):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    Path("child").write_text(str(child.pid))
    time.sleep(60)
"""


def worker(folder, timeout_s=60.0):
    return Worker("base", sys.executable, [folder], folder, threads=1, timeout_s=timeout_s)


@pytest.fixture
def commit(tmp_path):
    """A folder with a detq of its own, to be filled by the test."""
    (tmp_path / "detq").mkdir()
    (tmp_path / "detq" / "__init__.py").touch()
    return tmp_path


def test_a_worker_that_hangs_is_ended_with_all_that_it_started_and_it_is_said_where_it_was(commit):
    """Which one, what it was doing, for how long, and in which line."""
    (commit / "detq" / "variants.py").write_text(HANGS)
    with worker(commit, 1.0) as hanging, pytest.raises(WorkerError) as caught:
        hanging.ask("recipes", model="tiny")
    said = "its process took more than 1 s to name the recipes of tiny; it was at variants.py:8 (variants_of); it was"
    assert str(caught.value).startswith(said)
    assert caught.value.side == "base"
    child, deadline = int((commit / "child").read_text()), time.monotonic() + 5
    while psutil.pid_exists(child) and psutil.Process(child).status() != "zombie":
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_commit_that_was_not_built_or_dies_says_so(commit):
    """The error's own words, and the signal that ended a process."""
    (commit / "detq" / "variants.py").write_text("raise ImportError('libdetq.so: not built')\n")
    with worker(commit) as broken:
        with pytest.raises(WorkerError, match=r"^ImportError: libdetq.so: not built$"):
            broken.ask("recipes", model="tiny")
        (commit / "detq" / "variants.py").write_text("raise OSError('\\x1b[31mno\\x00 \\udcff')\n")
        with pytest.raises(WorkerError, match=r"^OSError: \\x1b\[31mno\\x00 \\udcff$"):
            broken.ask("recipes", model="tiny")
        (commit / "detq" / "variants.py").write_text("import os\nos.kill(os.getpid(), 9)\n")
        with pytest.raises(WorkerError, match="was killed by signal 9"):
            broken.ask("recipes", model="tiny")


@pytest.mark.parametrize("own", [{}, {"MALLOC_MMAP_MAX_": "17"}])
def test_workers_keep_freed_memory_unless_the_user_says_otherwise(commit, monkeypatch, own):
    """From their first moment on: processes of the same code differ by several percent without it."""
    for name in KEEPING:
        monkeypatch.delenv(name, raising=False)
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    text = f"import os\nraise ImportError([os.environ.get(name) for name in {[*KEEPING]}])\n"
    (commit / "detq" / "variants.py").write_text(text)
    with worker(commit) as asked, pytest.raises(WorkerError) as caught:
        asked.ask("recipes", model="tiny")
    assert str(caught.value) == f"ImportError: {[*(KEEPING | own).values()]}"


def commits_checked_out(repository):
    command = ["git", "worktree", "list"]
    listed = subprocess.run(command, cwd=repository, check=True, capture_output=True, text=True)
    return len(listed.stdout.splitlines())


def test_a_python_for_the_base_that_lacks_what_detq_needs_is_named(repository, tmp_path):
    """A fresh environment has no torch; what its Python said comes with it."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'ModuleNotFoundError: No module named torch' >&2\nexit 1\n")
    python.chmod(0o755)
    config = GateConfig("main", repository, str(python), models=("bright:build",), images=1)
    said = rf"^--base-python {python}: expected a Python with torch .*; its process ended with status 1: ModuleNotFound"
    with pytest.raises(DetqError, match=said):
        run_gate(config)


def head_of(repository, *files):
    """Return a commit of these files alone, (name, text) each, that no branch leads to."""
    index = os.environ | {"GIT_INDEX_FILE": str(repository.parent / f"index-{len(files)}")}

    def git(*arguments, given=None):
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"]
        command = ["git", *identity, *arguments]
        done = subprocess.run(
            command, cwd=repository, env=index, check=True, capture_output=True, text=True, input=given
        )
        return done.stdout.strip()

    git("read-tree", "--empty")
    for name, text in files:
        blob = git("hash-object", "-w", "--stdin", given=text)
        git("update-index", "--add", "--cacheinfo", f"100644,{blob},{name}")
    return git("commit-tree", git("write-tree"), "-m", "a commit")


def test_a_run_that_ci_cancels_says_so_and_leaves_nothing(repository):
    """SIGTERM, while the processes import."""
    base = head_of(repository, ("pkg/__init__.py", "import time\ntime.sleep(60)\n"))
    command = [sys.executable, "-m", "detq", "gate", "--base", base, "--model", "pkg.bright:build", "--images", "1"]
    paths = [str(PACKAGE), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    with subprocess.Popen(command, cwd=repository, env=environment, stderr=subprocess.PIPE, text=True) as gate:
        workers, deadline = [], time.monotonic() + 60
        while len(workers) < 3:
            workers = [child for child in psutil.Process(gate.pid).children() if "worker.py" in str(child.cmdline())]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        gate.terminate()
        assert gate.communicate()[1].splitlines()[-1] == "detq: ended by SIGTERM"
    assert gate.returncode == 128 + signal.SIGTERM
    assert not any(worker.is_running() for worker in workers)
    assert commits_checked_out(repository) == 1


@pytest.mark.parametrize(
    ("files", "model", "sentence"),
    [
        ((), "bright:build", "expected the module bright in the commit, there is none; choose a base that has the mo"),
        (
            (("pkg/__init__.py", "import time\ntime.sleep(60)\n"),),
            "pkg.bright:build",
            r"its process took more than 2 s to import everything; it was at __init__.py:2 \(<module>\)",
        ),
    ],
    ids=["without the model", "hangs"],
)
def test_a_base_that_cannot_be_measured_is_a_sentence_and_nothing_is_left(repository, files, model, sentence):
    """No process, and no commit checked out."""
    base = head_of(repository, *files)
    config = GateConfig(base, repository, models=(model,), data=str(repository / "images"), images=1, timeout_s=2)
    with pytest.raises(DetqError, match=rf"^--base {base[:10]}\w*: {sentence}"):
        run_gate(config)
    assert not [child for child in psutil.Process().children(recursive=True) if "worker.py" in str(child.cmdline())]
    assert commits_checked_out(repository) == 1
    assert not list(Path(repository.parent).glob("**/base"))
