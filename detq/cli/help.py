"""Commands whose help shows Python's types neither beside flags nor beside arguments that have a name of their own."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup

__all__ = ["PlainCommand", "PlainGroup"]


def _without_types(params: list[Any]) -> list[Any]:
    # Some versions of typer print "<bool>" beside a flag, --help among them, which looks like a value to give, and
    # "<list[Path]>" beside an argument.
    for param in params:
        if getattr(param, "is_flag", False) and param.metavar is None:
            param.metavar = ""
        if param.param_type_name == "argument":
            param.display_type_rich = _no_type
    return params


def _no_type(ctx: Any) -> str:
    del ctx
    return ""


class PlainCommand(TyperCommand):
    """A command."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, those that are added on demand included."""
        return _without_types(super().get_params(ctx))


class PlainGroup(TyperGroup):
    """The commands together."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, those that are added on demand included."""
        return _without_types(super().get_params(ctx))
