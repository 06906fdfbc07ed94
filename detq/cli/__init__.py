"""The command line: `detq run`, `eval`, `predict`, `train`, `convert`, `export`, and so on; see `COMMANDS`.

Each command is one module here with one function; nothing heavy is imported before a command runs.
"""

from __future__ import annotations

import errno
import functools
import importlib
import os
import shlex
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

import detq
from detq.cli.help import PlainCommand, PlainGroup
from detq.errors import DetqError

__all__ = ["app", "main"]

# command -> "module:function"; the order is that of `detq --help`
COMMANDS = {
    "run": "detq.cli.run:run_command",
    "eval": "detq.cli.eval:evaluate_command",
    "predict": "detq.cli.predict:predict_command",
    "train": "detq.cli.train:train_command",
    "convert": "detq.cli.convert:convert_command",
    "gate": "detq.cli.gate:gate_command",
    "profile": "detq.cli.profile:profile_command",
    "sensitivity": "detq.cli.sensitivity:sensitivity_command",
    "calibrate-variance": "detq.cli.calibrate_variance:calibrate_variance_command",
    "import-detectron2": "detq.cli.import_detectron2:import_detectron2_command",
    "export": "detq.cli.export:export_command",
    "quantize": "detq.cli.quantize:quantize_command",
    "list": "detq.cli.list:list_command",
    "env": "detq.cli.env:env_command",
}

app = typer.Typer(
    name="detq",
    cls=PlainGroup,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Which quantization of an object detector to ship on a CPU, what it buys, and a gate that keeps it.

    Start with `detq run --data "synthetic:traffic?n=50" --out first-run`: the packaged car detector in fp32 and in
    dynamic int8, on fifty rendered traffic scenes. Then put your own folder of images behind `--data`.
    """,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"detq {detq.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    pass


def _interruptible(command: Callable[..., Any]) -> Callable[..., Any]:
    """Let Ctrl-C end `command` with exit code 130 and a sentence, with how to go on where it has `--resume`.

    Some versions of typer say nothing, or "Aborted!".
    """

    @functools.wraps(command)
    def run(*args: Any, **options: Any) -> Any:
        try:
            return command(*args, **options)
        except KeyboardInterrupt:
            print(f"detq: interrupted{_how_to_go_on() if 'resume' in options else ''}", file=sys.stderr)
            raise typer.Exit(130) from None

    return run


def _how_to_go_on() -> str:
    again = [*sys.argv[1:], *([] if "--resume" in sys.argv else ["--resume"])]
    return f"; go on with `{shlex.join(['detq', *again])}`"


def _register() -> None:
    for name, target in COMMANDS.items():
        module, function = target.split(":")
        app.command(name, cls=PlainCommand)(_interruptible(getattr(importlib.import_module(module), function)))


_register()


def main() -> None:
    """Run the command line: a user's mistake is one sentence on standard error and exit code 2, Ctrl-C is 130."""
    try:
        app(prog_name="detq", standalone_mode=True)
    except DetqError as error:
        print(f"detq: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # `detq list | head` closes our standard output early; that is no error
        _drop_output()
        sys.exit(0)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        print("detq: cannot write the output: no space left on the device; free some and try again", file=sys.stderr)
        _drop_output()
        sys.exit(DetqError.exit_code)


def _drop_output() -> None:
    # Python must not try to write what is left once more when it ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
