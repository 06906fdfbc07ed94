"""What every command's help has in common."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from detq.cli import COMMANDS, app


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_shows_no_types_of_python(command):
    """A flag takes no value, and an argument has a name that says more than its type."""
    done = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "160", "NO_COLOR": "1"})
    assert done.exit_code == 0
    for word in ("<bool>", "<str>", "<path>", "<list", "BOOLEAN"):
        assert word not in done.stdout
    assert "--help" in done.stdout
