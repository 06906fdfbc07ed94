"""The C++ compiler of this machine: `$CXX`, or g++, or clang++."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess

__all__ = ["command", "unsupported_reason", "version"]

_USUAL = ("g++", "clang++")


def command() -> tuple[str, ...] | None:
    """Return the compiler's path and what else belongs to its call, such as ("/usr/bin/ccache", "g++"), or None.

    A compiler that `$CXX` names is the only one that counts: nobody's choice is passed over in silence.
    """
    for words in [_chosen()] if _chosen() else [(name,) for name in _USUAL]:
        if path := shutil.which(words[0]):
            return (path, *words[1:])
    return None


def unsupported_reason() -> str | None:
    """Return why nothing can be compiled here, or None if there is a compiler."""
    if command() is not None:
        return None
    if chosen := _chosen():
        return f"CXX is {shlex.join(chosen)!r}, but there is no {chosen[0]}: correct CXX, or unset it to use g++"
    return "compiling needs a C++ compiler: install g++, or set CXX"


def version() -> str:
    """Return the first line that the compiler says of itself, "none" where there is none."""
    words = command()
    if words is None:
        return "none"
    try:
        done = subprocess.run([*words, "--version"], capture_output=True, text=True, check=False)  # noqa: S603
    except OSError:
        return "none"
    return done.stdout.partition("\n")[0]


def _chosen() -> tuple[str, ...]:
    text = os.environ.get("CXX", "")
    if shutil.which(text):  # a path with spaces in it
        return (text,)
    try:
        return tuple(shlex.split(text))
    except ValueError:  # a quotation without an end
        return (text,)
