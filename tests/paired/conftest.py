"""The worked example as a repository of its own, with a commit to compare with."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "own_model"


def git(folder, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)  # noqa: S607


@pytest.fixture(scope="session")
def repository(tmp_path_factory):
    """The example, committed. The images stay out, so that they are only in the working tree."""
    folder = tmp_path_factory.mktemp("own") / "repository"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    folder.joinpath(".gitignore").write_text("images\n__pycache__\n")
    git(folder, "init", "--initial-branch", "main")
    git(folder, "add", ".")
    git(folder, "commit", "--message", "a detector")
    return folder
