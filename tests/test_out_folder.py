"""A folder belongs to one job, which alone may go on in it."""

from __future__ import annotations

import pytest

from detq.errors import OutputError
from detq.out_folder import OutFolder


@pytest.fixture
def folder(tmp_path):
    """A folder that is not there yet."""
    return OutFolder(tmp_path / "out", "run", tmp_path / "out" / "run.json", "detq-run-settings/1")


def test_a_new_or_empty_folder_is_free(folder):
    """Whether or not it exists already."""
    folder.check(resume=False)
    folder.path.mkdir()
    folder.check(resume=False)


def test_a_claimed_folder_needs_resume(folder):
    """Nobody overwrites results by accident."""
    folder.claim({"seed": 1})
    with pytest.raises(OutputError, match="holds another run's results; add --resume"):
        folder.check(resume=False)
    folder.check(resume=True)
    folder.claim({"seed": 1})


def test_a_file_and_a_folder_with_other_things_are_refused(folder, tmp_path):
    """The message names the path and what was expected there."""
    file = OutFolder(tmp_path / "file", "run", tmp_path / "file" / "run.json", "1")
    file.path.write_text("")
    with pytest.raises(OutputError, match="expected a folder, found a file"):
        file.check(resume=False)
    folder.path.mkdir()
    (folder.path / "thesis.docx").write_text("")
    with pytest.raises(OutputError, match=r"expected a new or empty folder, or one with an earlier run's run\.json"):
        folder.check(resume=True)


def test_a_folder_below_a_file_is_refused_before_any_work(tmp_path):
    """However deep: what cannot be made in the end is said in the beginning."""
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "below" / "it"
    with pytest.raises(OutputError, match=r"expected a folder above it, found the file .*file; choose another --out"):
        OutFolder(path, "run", path / "run.json", "1").check(resume=False)


def test_other_settings_are_refused_by_name(folder):
    """What was asked for then and what is asked for now are both in the sentence."""
    folder.claim({"seed": 1, "variants": ["fp32", "dynamic_int8"], "unlabelled": False})
    with pytest.raises(OutputError, match="seed was 1 and is now 2; variants was fp32, dynamic_int8 and is now fp32"):
        folder.claim({"seed": 2, "variants": ["fp32"], "unlabelled": False})
    with pytest.raises(OutputError, match="unlabelled was off and is now on"):
        folder.claim({"seed": 1, "variants": ["fp32", "dynamic_int8"], "unlabelled": True})


def test_of_a_group_of_settings_only_what_differs_is_named(tmp_path):
    """A calibration is the names of fifty images, its seed and more; a long list is cut."""
    folder = OutFolder(tmp_path, "study", tmp_path / "study.json", "1")
    images = [f"image-{number}" for number in range(50)]
    folder.claim({"calibration": {"images": images, "seed": 1}})
    with pytest.raises(OutputError, match="but calibration seed was 1 and is now 2; repeat"):
        folder.claim({"calibration": {"images": images, "seed": 2}})
    with pytest.raises(OutputError, match=r"calibration images was image-0, .*image-19, … \(50\) and is now image-1;"):
        folder.claim({"calibration": {"images": ["image-1"], "seed": 1}})


def test_settings_of_another_version_are_refused(folder):
    """Their keys may mean something else."""
    folder.path.mkdir()
    folder.settings.write_text('{"format": "detq-run-settings/0", "settings": {}}')
    with pytest.raises(OutputError, match="expected settings in format detq-run-settings/1, found detq-run-settings/0"):
        folder.claim({})


def test_a_second_job_in_the_folder_is_refused(folder):
    """The lock is the first one's, and is free again after it."""
    folder.claim({})
    with folder.locked(), pytest.raises(OutputError, match="another run is writing there"), folder.locked():
        pass
    with folder.locked():
        pass
