"""The base commit in a git worktree of its own, for as long as it is needed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from detq.errors import DetqError

__all__ = ["Tree", "base_tree", "head_tree", "own_file"]


INHERITED = frozenset({"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR"})
"""What git tells its hooks: with it, checking out a commit elsewhere would overwrite the index of the working tree."""


@dataclass(frozen=True)
class Tree:
    """A version of the user's code on disk.

    Attributes:
        top: the top folder of the working tree.
        folder: the folder in it that the command was started in.
        name: for people: a commit's short id, or "the working tree".
    """

    top: Path
    folder: Path
    name: str

    @property
    def paths(self) -> tuple[Path, ...]:
        """Where its modules are imported from."""
        folders = dict.fromkeys([self.folder, self.folder / "src", self.top, self.top / "src"])
        return tuple(folder for folder in folders if folder.is_dir())


def own_file(path: str | None, head: Tree, tree: Tree) -> str | None:
    """Return where `tree` has a file of head's repository: what a commit brings along is part of what is compared.

    Anything else is as it is: a file outside of the repository, one that only head has, a word.
    """
    if path is None or not Path(path).is_relative_to(head.top):
        return path
    own = tree.top / Path(path).relative_to(head.top)
    return str(own) if own.is_file() else path


def head_tree(folder: Path) -> Tree:
    """Return the working tree that `folder` lies in, as it is, with what is not committed.

    Raises:
        DetqError: it is in no git repository, or there is no git.
    """
    folder = folder.resolve()
    done = _git(folder, "rev-parse", "--show-toplevel")
    if done.returncode:
        raise DetqError(
            f"detq gate: expected to be started inside a git repository, {folder} is in none that git would open "
            f"({_first_line(done.stderr)}); go to the folder of the code that is to be compared"
        )
    return Tree(Path(done.stdout.strip()).resolve(), folder, "the working tree")


@contextlib.contextmanager
def base_tree(head: Tree, ref: str) -> Iterator[Tree]:
    """Check commit `ref` of head's repository out into a temporary folder, which is removed afterwards.

    Raises:
        DetqError: no such commit, it lacks head's folder, or git cannot check it out.
    """
    if not ref.strip():
        raise DetqError("--base: expected a commit, branch or tag, got an empty name; name what to compare with")
    found = _git(head.top, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    if found.returncode:
        raise DetqError(
            f"--base {ref}: expected a commit, branch or tag of {head.top}, there is none of that name; fetch it "
            f"first, for example `git fetch origin {ref}` (a shallow clone in CI needs its history: fetch-depth: 0)"
        )
    commit = found.stdout.strip()
    with tempfile.TemporaryDirectory(prefix="detq-gate-") as temporary:
        top = Path(temporary).resolve() / "base"
        try:
            # Hooks set up somebody's working tree, which this one is not.
            done = _git(head.top, "-c", "core.hooksPath=/dev/null", "worktree", "add", "--detach", str(top), commit)
            if done.returncode:
                raise DetqError(f"--base {ref}: git cannot check it out: {_last_line(done.stderr)}")
            folder = top / head.folder.relative_to(head.top)
            if not folder.is_dir():
                raise DetqError(f"--base {ref}: the commit has no folder {head.folder.relative_to(head.top)}")
            yield Tree(top, folder, commit[:10])
        finally:
            _forget(head, top)


def _forget(head: Tree, top: Path) -> None:
    # Forced twice, because what is left of an interrupted checkout is locked.
    command = ("worktree", "remove", "--force", "--force", str(top))
    try:
        _git(head.top, *command)
    except BaseException:  # Ctrl-C once more
        _git(head.top, *command)
        raise


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["git", *arguments]
    try:
        process = subprocess.Popen(  # noqa: S603  # the user's own git
            command,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="surrogateescape",
            env={name: value for name, value in os.environ.items() if name not in INHERITED},
            # Ctrl-C is for this process: git must not stop in the middle of cleaning up.
            start_new_session=True,
        )
    except FileNotFoundError:
        raise DetqError("detq gate: expected git to be installed, there is no such command; install it") from None
    with process:
        try:
            said, complained = process.communicate()
        except BaseException:
            # Asked to stop, it removes what it has checked out; killed, it would leave that behind.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait()
            raise
    return subprocess.CompletedProcess(command, process.returncode, said, complained)


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0] or "it said nothing"


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it said nothing"
