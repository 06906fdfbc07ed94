"""The command line as a whole: how it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_output_to_a_full_disk_is_a_sentence(options):
    """Exit code 2, without a traceback."""
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        command = [sys.executable, "-m", "detq", "list", *options]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "detq: cannot write the output: no space left on the device; free some and try again\n"


def test_a_closed_pipe_is_no_error():
    """`detq list | head -1` prints a line and is silent."""
    command = f"{sys.executable} -m detq list | head -1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False)  # noqa: S607
    assert done.stdout.startswith("Models")
    assert done.stderr == ""
