"""`detq convert` as a user meets it: a table, JSON, and a sentence for each mistake."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from detq.cli import main
from tests.convert.conftest import via_image, via_region
from tests.datasets.conftest import save_image


@pytest.fixture
def source(tmp_path):
    """Two images with a balloon each, a point, and a region that reaches out of its image."""
    for name in ("a.png", "b.png"):
        save_image(tmp_path / "set" / name)
    outside = via_region("rect", x=30, y=2, width=20, height=5)
    images = via_image("a.png", [via_region(), outside]) | via_image("b.png", [via_region("point", cx=1, cy=2)])
    (tmp_path / "set/via.json").write_text(json.dumps(images))
    return tmp_path / "set"


@pytest.fixture
def detq_convert(monkeypatch, capsys):
    """Runs the command; returns its exit code, standard output and standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["detq", "convert", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "100")
        with pytest.raises(SystemExit) as left:
            main()
        return left.value.code, *capsys.readouterr()

    return run


def test_it_ends_with_a_table_of_what_went_in_and_out(detq_convert, source, tmp_path):
    """And names what was left out and changed, and where the result opens."""
    out = tmp_path / "out"
    code, text, _ = detq_convert(source, "--category", "balloon", "--to", "coco", "--out", out, "--skip-invalid")
    assert code == 0
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if "│" in line]
    assert rows == [["images", "2", "2"], ["annotations", "3", "2"], ["categories", "1", "1"], ["balloon", "2", "2"]]
    assert f"{source}?category" not in text
    assert "shapes: 2 polygons" in text
    assert f"changed: 1 × clipped to the image\n  {source}/via.json, image a.png, region 1\n" in text
    assert "dropped: 1 annotation, invalid: " in text
    assert f"{source}/via.json, image b.png, region 0: expected a shape with an inside, found a point" in text
    assert text.endswith(f"2 images, 2 annotations: {out}\n")


def test_json_says_the_same(detq_convert, source, tmp_path):
    """On standard output, and nothing else there."""
    code, text, _ = detq_convert(
        source, "--category", "balloon", "--out", tmp_path / "out", "--split", "0.5", "--skip-invalid", "--json"
    )
    assert code == 0
    found = json.loads(text)
    assert found["version"] == "detq-convert/1"
    assert found["annotations"] == {"read": 3, "written": 2}
    assert [part["name"] for part in found["parts"]] == ["train", "valid"]
    assert found["dropped"][0]["what"] == "annotation"


def test_a_mistake_is_a_sentence_and_exit_code_2(detq_convert, source, tmp_path):
    """Nothing is written."""
    code, text, error = detq_convert(source, "--category", "balloon", "--out", tmp_path / "out")
    assert (code, text) == (2, "")
    assert error.startswith(
        f"detq: {source}/via.json, image b.png, region 0: expected a shape with an inside, found a p"
    )
    assert error.endswith("leave such shapes out with --skip-invalid\n")
    code, _, error = detq_convert(source, "--out", tmp_path / "out")
    assert code == 2
    assert (
        "expected a class at region_attributes.category in its 3 annotations, found it in none; there is no attri"
        in error
    )
    code, _, error = detq_convert(source, "--to", "voc", "--out", tmp_path / "out")
    assert "unknown --to format 'voc'" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--category", "x"), r"--category does not go with .*: the format coco says itself which class"),
        (("--category-from", "name"), r"--category-from does not go with .*merge classes with --map NAME=A,B"),
        (("--classes", "a,b"), r"--classes does not go with .*COCO JSON names its categories itself"),
    ],
)
def test_options_of_another_format_are_refused(detq_convert, source, tmp_path, options, expected):
    """COCO names its categories itself."""
    detq_convert(source, "--category", "balloon", "--out", tmp_path / "coco", "--skip-invalid")
    code, _, error = detq_convert(tmp_path / "coco", "--out", tmp_path / "out", *options)
    assert code == 2

    assert re.search(expected, error)


def test_no_torch_is_needed(source, tmp_path):
    """Converting is light."""
    code = (
        "import sys\nfrom detq.cli import app\n"
        f"app(['convert', {str(source)!r}, '--category', 'b', '--out', {str(tmp_path / 'out')!r}, '--skip-invalid'], "
        "standalone_mode=False)\nassert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
