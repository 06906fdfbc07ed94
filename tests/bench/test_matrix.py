"""The table of several versions of torch, and what of them is there."""

from __future__ import annotations

import configparser
import json
import sys
import warnings
from pathlib import Path

import pytest
import torch

from detq.bench.features import FEATURES, try_features, versions
from detq.bench.matrix import _failures, main, parse_environment
from detq.bench.matrix_table import Measured, as_json, as_markdown, as_text

ROOT = Path(__file__).resolve().parents[2]


def info(estimate=None, ap=0.5, share=0.0):
    speedup = None if estimate is None else {"estimate": estimate, "low": estimate, "high": estimate}
    return {"times_ms": [10.0, 20.0], "speedup": speedup, "accuracy": {"AP": ap}, "int8_share": share}


def version(number, variants, lacking=None, features=None, broken=""):
    return Measured(f"env{number}", {"torch": f"{number}+cpu"}, features or {}, variants, lacking or {}, broken)


OLD = version("2.9", {"m-fp32": info(), "m-a": info(2.0, share=0.6), "m-b": info(1.5)})
NEW = version(
    "2.14",
    {"m-fp32": info(), "m-a": info(3.0, ap=None), "m-c": info(4.0)},
    {"m-b": "torch.ao.quantization is gone"},
    {"f": {"works": False, "why": "no f", "warns": ""}, "g": {"works": True, "why": "", "warns": "g will go"}},
)


def test_the_table_compares_speed_ups_with_the_first_version_that_has_the_variant():
    """Milliseconds for fp32, ratios for the rest, AP, share; as text, Markdown and JSON."""
    text = as_text([OLD, NEW], ["env3 is not installed"])
    lines = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert "15.0 ms, AP 0.5000, 0.0%" in lines["fp32"]
    assert "2.00×, AP 0.5000, 60.0%" in lines["a"]
    assert "3.00× (+50.0%), AP n/a, 0.0%" in lines["a"]
    assert "not offered" in lines["b"]
    assert "4.00×, AP" in lines["c"]
    assert "! env3 is not installed" in text
    assert "| m-a | 2.00×, AP 0.5000, 60.0% | 3.00× (+50.0%), AP n/a, 0.0% |" in as_markdown([OLD, NEW], [])
    document = json.loads(json.dumps(as_json([OLD, NEW], [])))
    assert document["format"] == "detq-matrix/1"
    assert document["environments"][1]["variants"]["m-a"]["against_first"] == 1.5
    assert document["environments"][1]["variants"]["m-b"] == {"not_offered": "torch.ao.quantization is gone"}


def test_the_variants_of_a_model_stand_together_and_notes_are_no_html():
    """Also one that only a later version has; a message may quote a type in angle brackets."""
    first, second = version("1", {"m-fp32": info(), "n-fp32": info()}), version("2", {"m-fp32": info(), "m-a": info()})
    lines = as_markdown([first, second], ["no <built-in f>"]).splitlines()
    assert [line.split()[1] for line in lines if line.startswith("| ") and "AP" in line] == ["m-fp32", "m-a", "n-fp32"]
    assert "- no &lt;built-in f>" in lines


def test_what_a_version_lost_what_it_never_had_and_what_will_go_are_sentences():
    """And where nothing ran, nothing is said to be lost."""
    notes = as_json([OLD, NEW, version("3.0", {}, broken="pytest measured nothing")], [])["notes"]
    assert notes == [
        "torch 3.0 (env3.0): pytest measured nothing",
        "torch 2.14 no longer offers m-b: torch.ao.quantization is gone",
        "torch 2.9 does not offer m-c: its benchmarks do not know it",
        "torch 2.14 has no f: no f",
        "torch 2.14 still has g, and warns: g will go",
    ]


def test_environments_that_are_not_there_are_named_with_the_command_that_makes_them(tmp_path, capsys, monkeypatch):
    """None at all is a mistake, as is a folder without benchmarks."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "benchmarks").mkdir()
    assert main(["py311-torch29", "tests=torch"]) == 2
    said = capsys.readouterr().err
    assert "py311-torch29 is not installed; `tox run -e py311-torch29 --notest` makes it" in said
    assert "tests is not installed; `tox run -e tests --notest` makes it" in said
    assert main(["a", "--benchmarks", "none"]) == 2
    assert "--benchmarks none: expected a folder of benchmarks" in capsys.readouterr().err
    assert parse_environment("tests=torch", tmp_path).python.parent.parent == tmp_path / "torch"


STAND_IN = """#!{python} -SE
# Answers as an environment's interpreter would: to the probe of features, then to pytest.
import json, os, sys
here = os.path.dirname(os.path.abspath(__file__))
answers = json.load(open(os.path.join(here, "answers.json")))
with open(os.path.join(here, "asked"), "a") as asked:
    print(*sys.argv[1:], file=asked)
if sys.argv[-1].endswith("features.py"):
    print(json.dumps({{"versions": answers["versions"], "features": {{}}}}))
else:
    out = next(word for word in sys.argv if word.startswith("--detq-report=")).partition("=")[2]
    if answers["variants"]:
        json.dump({{"variants": answers["variants"]}}, open(os.path.join(out, "bench.json"), "w"))
    with open(os.path.join(out, "junit.xml"), "w") as junit:
        junit.write("<a><testcase name='t[m-b]'><failure message='Failed: too slow'/></testcase>"
                    "<testcase name='t[m-c]'><skipped message='no c here'/></testcase></a>")
"""


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """Makes an environment that measures what it is told to; gives the folder of its interpreter."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "benchmarks").mkdir()

    def make(name, variants, **versions):
        folder = tmp_path / ".tox" / name / "bin"
        folder.mkdir(parents=True)
        answers = {"versions": {"torch": "2.9", "torchao": "0.1"} | versions, "variants": variants}
        (folder / "answers.json").write_text(json.dumps(answers), encoding="utf-8")
        (folder / "python").write_text(STAND_IN.format(python=sys.executable), encoding="utf-8")
        (folder / "python").chmod(0o755)
        return folder

    return make


def test_each_version_is_measured_once_with_its_own_interpreter_and_pytests_options(environment, capfd):
    """Another torchao is another version. A failed benchmark beside a measured one does not make a variant lacking."""
    measured = {"m-fp32": info(), "m-b": info(2.0)}
    old, twin = environment("old", measured), environment("twin", measured)
    environment("new", {"m-fp32": info()}, torchao="0.2")
    assert main(["old", "twin", "new", "--json", "--images=3", "-k", "m-"]) == 0
    said = json.loads(capfd.readouterr().out)
    assert [item["name"] for item in said["environments"]] == ["old", "new"]
    assert "twin has the versions of old, which stands for both" in said["notes"]
    assert "not_offered" not in said["environments"][0]["variants"]["m-b"]
    assert said["environments"][1]["variants"]["m-b"] == {"not_offered": "too slow"}
    assert "torch 2.9 (old)" not in " ".join(said["notes"])
    assert "torch 2.9: a test of m-b failed: too slow" in said["notes"]
    probed, ran = (old / "asked").read_text(encoding="utf-8").splitlines()
    assert probed.startswith("-P "), "modules beside the probe must not stand in for others of the same name"
    assert ran.startswith("-m pytest benchmarks --benchmark-enable -q --detq-images=3")
    assert ran.endswith("-k m-")
    assert len((twin / "asked").read_text(encoding="utf-8").splitlines()) == 1


def test_a_version_that_measured_nothing_is_told_and_fails_the_command(environment, capfd):
    """However many others did."""
    environment("good", {"m-fp32": info()})
    environment("bad", {}, torch="2.14")
    assert main(["good", "bad"]) == 1
    said = capfd.readouterr().out
    assert "! torch 2.14 (bad): pytest measured nothing and exited with 0" in said
    assert "not measured" in said


def test_another_environment_of_the_same_versions_stands_in_for_one_that_measured_nothing(environment, capfd):
    """Its column is filled, and that the first one failed is still said, and fails the command."""
    environment("bad", {})
    environment("good", {"m-fp32": info()})
    (Path(".tox") / "gone" / "bin").mkdir(parents=True)
    (Path(".tox") / "gone" / "bin" / "python").write_text("no interpreter")
    assert main(["bad", "gone", "good", "--json"]) == 1
    said = json.loads(capfd.readouterr().out)
    assert [item["name"] for item in said["environments"]] == ["good"]
    assert said["notes"][:2] == [
        "gone has no torch that can be imported: it is left out",
        "bad: pytest measured nothing and exited with 0; good of the same versions was tried instead",
    ]


def test_the_tox_environment_names_every_environment_of_the_matrix():
    """A list that somebody forgot to lengthen would leave a version out in silence."""
    tox = configparser.ConfigParser()
    tox.read(ROOT / "tox.ini")
    named = tox["testenv:matrix-report"]["commands"].split()
    factors = [name for name in tox["testenv"]["deps"].split() if name.startswith("torch") and name.endswith(":")]
    for factor in {name.rstrip(":") for name in factors}:
        for python in ("py311", "py312", "py313"):
            assert f"{python}-{factor}" in named
    assert "py3{11,12,13}-torch{29,212,214}" in tox["tox"]["labels"]


def test_the_reason_is_what_the_test_said_without_what_pytest_puts_around_it(tmp_path):
    """An error counts more than a skip."""
    path = tmp_path / "junit.xml"
    path.write_text(
        """<testsuites><testsuite>
        <testcase name="test_a[m-b]"><error message='failed on setup with "Failed: torch has no b"' /></testcase>
        <testcase name="test_b[m-b]"><skipped message="not today" /></testcase>
        <testcase name="test_c[m-c]"><skipped message="no images" /></testcase>
        <testcase name="test_d" /></testsuite></testsuites>"""
    )
    assert dict(_failures(path)) == {"m-b": "torch has no b", "m-c": "no images"}
    assert dict(_failures(tmp_path / "none.xml")) == {}


def test_what_torch_offers_is_found_by_trying():
    """What works, what warns that it will go, and what raises, whatever it raises."""

    def warn():
        warnings.warn("f will go\nsoon", FutureWarning, stacklevel=1)

    def deprecate():
        warnings.warn("g is deprecated", DeprecationWarning, stacklevel=1)

    def fail():
        raise RuntimeError("no such operator\nat line 3")

    name = "torch.ops.quantized.linear_dynamic"
    found = try_features({name: FEATURES[name], "going": warn, "old": deprecate, "gone": fail})
    assert found == {
        name: {"works": True, "why": "", "warns": ""},
        "going": {"works": True, "why": "", "warns": "f will go"},
        "old": {"works": True, "why": "", "warns": "g is deprecated"},
        "gone": {"works": False, "why": "RuntimeError: no such operator", "warns": ""},
    }
    assert versions()["torch"] == torch.__version__
