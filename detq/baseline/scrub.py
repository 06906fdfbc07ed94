"""Taking out of a baseline what is nobody's business: hosts, kernels, users and folders."""

from __future__ import annotations

import getpass
import platform
import re
import socket
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["private_words", "scrub", "scrub_commit", "scrub_machine"]

COMMIT_KEYS = ("id", "time", "dirty")
# Two or more folders in a row: /home/me/x, C:\Users\me\x. A single slash is found in names such as "and/or".
_PATHS = re.compile(r"(?<![\w.:])(?:~|[A-Za-z]:)?(?:[/\\][^/\\\s:;,'\"]+){2,}")
SHORTEST_WORD = 4


def scrub_machine(machine_class: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `machine_info` of a saved file: the machine class and nothing else."""
    return {"machine_class": machine_class, "fields": dict(fields)}


def scrub_commit(commit: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `commit_info` of a saved file: which commit, when; not the branch's or the folder's name."""
    return {key: commit[key] for key in COMMIT_KEYS if key in commit}


def private_words() -> tuple[str, ...]:
    """Return this machine's host name, kernel release and user name, as far as they are telling.

    Words of up to three letters ("vm", "ci") are left alone: they also are parts of ordinary text.
    """
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        user = ""
    words = {socket.gethostname(), platform.node(), platform.release(), user}
    return tuple(sorted(word for word in words if len(word) >= SHORTEST_WORD))


def scrub(value: Any, words: Iterable[str]) -> Any:
    """Return JSON-like `value` with every path cut to its last part and every one of `words` blotted out.

    Keys stay as they are; only text changes. It is the last of the sieves, for what a model's or a data set's own
    description may bring in.
    """
    hidden = tuple(words)
    if isinstance(value, str):
        return _scrub_text(value, hidden)
    if isinstance(value, Mapping):
        return {key: scrub(item, hidden) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [scrub(item, hidden) for item in value]
    return value


def _scrub_text(text: str, words: tuple[str, ...]) -> str:
    text = _PATHS.sub(lambda match: re.split(r"[/\\]", match.group())[-1], text)
    for word in words:
        text = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", "…", text)
    return text
