"""The base commit beside the working tree, and where code came from."""

from __future__ import annotations

import shutil
import signal
import subprocess

import pytest

from detq.errors import DetqError
from detq.paired.checkout import Tree, base_tree, head_tree, own_file
from detq.paired.code import check_detq, check_module, check_there
from detq.paired.config import GateConfig
from detq.paired.sides import Sides


def worktrees(folder):
    command = ["git", "worktree", "list", "--porcelain"]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.count("worktree ")


def test_the_commit_is_checked_out_beside_the_working_tree_and_gone_afterwards(repository):
    """Also after an error; what is not committed is only in the working tree."""
    head = head_tree(repository / "images")
    assert (head.top, head.folder.name) == (repository.resolve(), "images")
    head = head_tree(repository)
    with pytest.raises(KeyboardInterrupt), base_tree(head, "main") as base:  # noqa: PT012
        assert (base.folder / "bright.py").is_file()
        assert not (base.folder / "images").exists()
        assert worktrees(repository) == 2
        raise KeyboardInterrupt
    assert not base.top.exists()
    assert worktrees(repository) == 1


def test_a_checkout_that_is_interrupted_leaves_nothing(repository, monkeypatch):
    """A large one takes a while, and git locks what it has not finished."""

    def interrupt(*_):
        raise KeyboardInterrupt

    slow = {"COUNT": "1", "KEY_0": "filter.slow.smudge", "VALUE_0": "sleep 30; cat"}
    for name, value in slow.items():
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    (repository / ".git" / "info" / "attributes").write_text("*.py filter=slow\n")
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.4)
        with pytest.raises(KeyboardInterrupt):
            base_tree(head_tree(repository), "main").__enter__()
    finally:
        signal.signal(signal.SIGALRM, before)
        (repository / ".git" / "info" / "attributes").unlink()
    assert worktrees(repository) == 1


def test_hooks_for_a_working_tree_do_not_run(repository):
    """They may install things, or fail."""
    hook = repository / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\ntouch ran\nexit 1\n")
    hook.chmod(0o755)
    try:
        with base_tree(head_tree(repository), "main") as base:
            assert not (base.folder / "ran").exists()
    finally:
        hook.unlink()


def test_a_hooks_own_index_stays_as_it_is(repository, tmp_path, monkeypatch):
    """`git commit -a` names one to its hooks; checking out another commit must not write it."""
    index = tmp_path / "index"
    shutil.copy(repository / ".git" / "index", index)
    monkeypatch.setenv("GIT_INDEX_FILE", str(index))
    subprocess.run(["git", "rm", "--quiet", "--cached", "README.md"], cwd=repository, check=True)  # noqa: S607
    staged = index.read_bytes()
    with base_tree(head_tree(repository), "main"):
        assert index.read_bytes() == staged


def test_a_folder_outside_of_git_and_an_unknown_commit_are_sentences(repository, tmp_path):
    """And a folder that the commit does not have."""
    with pytest.raises(DetqError, match=r"started inside a git repository, .* \(fatal: not a git repository"):
        head_tree(tmp_path)
    with pytest.raises(DetqError, match=r"--base no-such: expected a commit, branch or tag .* fetch-depth: 0"):
        base_tree(head_tree(repository), "no-such").__enter__()
    with pytest.raises(DetqError, match=r"--base: expected a commit, branch or tag, got an empty name"):
        base_tree(head_tree(repository), "").__enter__()
    with pytest.raises(DetqError, match="the commit has no folder images"):
        base_tree(head_tree(repository / "images"), "main").__enter__()
    assert worktrees(repository) == 1


@pytest.fixture
def trees(tmp_path):
    return tuple(Tree(tmp_path / name, tmp_path / name, name) for name in ("head", "base"))


def test_a_file_of_the_repository_is_each_commits_own(trees, tmp_path):
    """Weights that a commit replaces are compared; what the other lacks, or lies elsewhere, is the same for both."""
    head, base = trees
    for tree in trees:
        tree.top.mkdir()
        (tree.top / "weights.pth").touch()
    mine, untracked, outside = (str(folder / "weights.pth") for folder in (head.top, head.top / "new", tmp_path))
    assert own_file(mine, head, base) == str(base.top / "weights.pth")
    for path in (untracked, outside, "packaged", None):
        assert own_file(path, head, base) == path
    assert own_file(mine, head, head) == mine


def hello(**files):
    return {side: {"detq": str(file), "module": str(file)} for side, file in files.items()}


def test_two_commits_must_run_their_own_code(trees):
    """A base without detq would be measured with head's."""
    head, base = trees
    mine = head.top / "detq" / "__init__.py"
    check_detq(head, base, hello(head=mine, base=base.top / "detq" / "__init__.py"), own_model=False)
    with pytest.raises(DetqError, match=r"--base base: expected detq.__init__.py in the commit"):
        check_detq(head, base, hello(head=mine, base=mine), own_model=False)
    check_module(head, base, hello(head=head.top / "m.py", base=base.top / "m.py"))
    with pytest.raises(DetqError, match="both sides would run the same model"):
        check_module(head, base, hello(head=head.top / "m.py", base=head.top / "m.py"))


def test_the_control_is_a_second_process_of_the_base(trees):
    """Of head it would make any regression look like the noise of the machine."""
    head, base = trees
    sides = Sides(GateConfig("main", head.folder), head, base)
    assert sides._trees == {"head": head, "base": base, "control": base}


def test_a_commit_must_have_detq_and_the_users_model(trees):
    """What would be measured otherwise is another code, or none."""
    head, base = trees
    check_there(head, {"detq": "detq/__init__.py", "missing": []}, base=False)
    with pytest.raises(DetqError, match=r"^--base base: expected detq in the commit, or installed"):
        check_there(base, {"detq": None, "missing": []}, base=True)
    with pytest.raises(DetqError, match=r"^--model bright:…: expected the module bright in .*head, there is none"):
        check_there(head, {"detq": "detq/__init__.py", "missing": ["bright"]}, base=False)


def test_an_installed_detq_may_be_the_same_for_both_if_the_model_is_the_users(trees, tmp_path):
    """With a model of detq's own nothing would be compared."""
    head, base = trees
    for environment in (tmp_path, head.top / ".venv"):
        installed = environment / "site-packages" / "detq" / "__init__.py"
        check_detq(head, base, hello(head=installed, base=installed), own_model=True)
        with pytest.raises(DetqError, match="two commits of this repository would run the same code"):
            check_detq(head, base, hello(head=installed, base=installed), own_model=False)
