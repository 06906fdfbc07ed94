"""Files are written whole or not at all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from detq.errors import DataError, OutputError
from detq.files import atomic_path, read_json, write_json, write_text


def test_a_file_appears_whole(tmp_path):
    """Folders above it are made, and nothing else is left."""
    path = tmp_path / "new" / "folder" / "a.json"
    write_json(path, {"é": [1, 2.5, None]})
    assert json.loads(path.read_text(encoding="utf-8")) == {"é": [1, 2.5, None]}
    assert os.listdir(path.parent) == ["a.json"]  # noqa: PTH208


def test_an_error_leaves_the_old_file(tmp_path):
    """And no temporary one."""
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail():
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise ValueError("midway")

    with pytest.raises(ValueError, match="midway"):
        fail()
    assert path.read_text(encoding="utf-8") == "old"
    assert os.listdir(tmp_path) == ["a.txt"]  # noqa: PTH208


def test_nan_is_refused(tmp_path):
    """Other programs could not read it."""
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", float("nan"))
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path):
    """File, reason, and what to do."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot write .*a\.txt: File exists; choose another place"):
        write_text(tmp_path / "file" / "a.txt", "text")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")  # noqa: PTH110
def test_a_full_disk_is_a_sentence_and_leaves_the_old_file(tmp_path):
    """Nothing is half-written."""
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fill():
        with atomic_path(path) as temporary:
            temporary.unlink()
            temporary.symlink_to("/dev/full")
            temporary.write_text("new")

    with pytest.raises(OutputError, match=r"a\.txt: No space left on device; free some space or choose"):
        fill()
    assert path.read_text(encoding="utf-8") == "old"
    assert os.listdir(tmp_path) == ["a.txt"]  # noqa: PTH208


def test_a_kill_leaves_the_old_file(tmp_path):
    """Readers never see half of the new one."""
    path = tmp_path / "a.txt"
    write_text(path, "old")
    code = (
        "import os, signal, sys, pathlib\nfrom detq.files import atomic_path\n"
        "with atomic_path(pathlib.Path(sys.argv[1])) as p:\n"
        "    p.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text(encoding="utf-8") == "old"


def test_files_have_the_permissions_of_any_new_file(tmp_path):
    """Temporary files are their owner's alone; results are not."""
    write_text(tmp_path / "a", "")
    (tmp_path / "b").touch()
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_json_that_cannot_be_read_is_the_asked_error(tmp_path):
    """With the words for what the file is."""
    with pytest.raises(DataError, match=r"model card .*gone does not exist"):
        read_json(tmp_path / "gone", DataError, "model card")
    (tmp_path / "a").write_text("{")
    with pytest.raises(DataError, match=r"model card .*a is not readable JSON: Expecting"):
        read_json(tmp_path / "a", DataError, "model card")
    write_json(tmp_path / "b", [1])
    assert read_json(tmp_path / "b", DataError, "model card") == [1]
