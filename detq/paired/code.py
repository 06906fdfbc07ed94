"""Making sure that two commits are compared, and not one with itself: where the workers' code came from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detq.errors import DetqError
from detq.paired.checkout import Tree

__all__ = ["check_detq", "check_module", "check_there"]


INSTALLED = frozenset({"site-packages", "dist-packages"})
"""Folders that belong to no commit, also where the environment lies inside of the repository."""


def check_detq(head: Tree, base: Tree, hellos: Mapping[str, Mapping[str, Any]], *, own_model: bool) -> None:
    """Check that base's detq is the base commit's wherever head's is the working tree's.

    Args:
        head: where head's code is.
        base: where base's code is.
        hellos: the workers' first answers, by side.
        own_model: every model is a user's own: then an installed detq may be the same for both.

    Raises:
        DetqError: both would run the same detq, with a model that comes from it.
    """
    mine, other = (Path(hellos[side]["detq"]) for side in ("head", "base"))
    if mine.is_relative_to(head.top) and not INSTALLED & set(mine.relative_to(head.top).parts):
        place = mine.relative_to(head.top)
        if other != base.top / place:
            raise DetqError(
                f"--base {base.name}: expected {place} in the commit, as in {head.name}, there is none; choose a base "
                "that has detq"
            )
    elif not own_model:
        raise DetqError(
            f"detq gate: a model and detq both come from {mine.parent}, which is outside of {head.top}: two commits "
            "of this repository would run the same code; give a --model package.module:build of this repository"
        )


def check_there(tree: Tree, hello: Mapping[str, Any], *, base: bool) -> None:
    """Check that a commit has detq, and the modules that users' own models come from.

    Args:
        tree: where its code is.
        hello: its worker's first answer.
        base: it is the base.

    Raises:
        DetqError: it has not.
    """
    if hello["detq"] is None:
        where = f"--base {tree.name}" if base else tree.name
        raise DetqError(
            f"{where}: expected detq in the commit, or installed for the Python that runs it, it is neither; choose "
            "another base, or install it there"
        )
    for name in hello["missing"]:
        if base:
            raise DetqError(
                f"--base {tree.name}: expected the module {name} in the commit, there is none; choose a base that has "
                "the model"
            )
        raise DetqError(
            f"--model {name}:…: expected the module {name} in {tree.folder}, there is none; check the name, and the "
            "folder that detq gate is started in"
        )


def check_module(head: Tree, base: Tree, built: Mapping[str, Mapping[str, Any]]) -> None:
    """Check the same of the module that a user's own model is from.

    Raises:
        DetqError: both sides would build the same model.
    """
    files = {side: built[side].get("module") for side in ("head", "base")}
    if files["head"] is None:
        return
    mine, other = Path(files["head"]), Path(files["base"] or "")
    if not mine.is_relative_to(head.top) or not other.is_relative_to(base.top):
        raise DetqError(
            f"detq gate: the model comes from {mine if mine == other else other}, which is no file of the commit: both "
            "sides would run the same model; remove it from the environment, or from PYTHONPATH"
        )
