"""The base commit in a git worktree of its own, for as long as it is needed."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from detq.errors import DetqError

__all__ = ["Tree", "base_tree", "head_tree"]


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


def head_tree(folder: Path) -> Tree:
    """Return the working tree that `folder` lies in, as it is, with what is not committed.

    Raises:
        DetqError: it is in no git repository, or there is no git.
    """
    folder = folder.resolve()
    done = _git(folder, "rev-parse", "--show-toplevel")
    if done.returncode:
        raise DetqError(
            f"detq gate: expected to be started inside a git repository, {folder} is in none; go to the folder of the "
            "code that is to be compared"
        )
    return Tree(Path(done.stdout.strip()).resolve(), folder, "the working tree")


@contextlib.contextmanager
def base_tree(head: Tree, ref: str) -> Iterator[Tree]:
    """Check commit `ref` of head's repository out into a temporary folder, which is removed afterwards.

    Raises:
        DetqError: no such commit, it lacks head's folder, or git cannot check it out.
    """
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
            done = _git(head.top, "worktree", "add", "--detach", str(top), commit)
            if done.returncode:
                raise DetqError(f"--base {ref}: git cannot check it out: {_last_line(done.stderr)}")
            folder = top / head.folder.relative_to(head.top)
            if not folder.is_dir():
                raise DetqError(f"--base {ref}: the commit has no folder {head.folder.relative_to(head.top)}")
            yield Tree(top, folder, commit[:10])
        finally:
            _git(head.top, "worktree", "remove", "--force", str(top))


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603  # the user's own git
            ["git", *arguments],  # noqa: S607
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            # Ctrl-C is for this process: git must not stop in the middle of cleaning up.
            start_new_session=True,
        )
    except FileNotFoundError:
        raise DetqError("detq gate: expected git to be installed, there is no such command; install it") from None


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it said nothing"
