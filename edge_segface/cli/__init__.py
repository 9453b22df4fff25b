"""The command line: a table of commands by group. Each body is one call and one print; heavy imports stay inside.

Results go to stdout, progress and errors to stderr. Exit codes: 0, 1 for our own errors (one line), 2 for usage.
"""

from __future__ import annotations

import io
import os
import platform
import sys
import traceback
from collections.abc import Callable
from typing import Annotated

import typer

from edge_segface import __version__
from edge_segface.cli import convert, look, measure, run, training
from edge_segface.cli.command import Command, Group, name_values
from edge_segface.errors import EdgeSegfaceError, SampleLostError, first_line
from edge_segface.files import cache_folder, write_text
from edge_segface.redaction import redact
from edge_segface.signals import exit_on_termination

__all__ = ["app", "main"]

DEBUG_VARIABLE = "EDGE_SEGFACE_DEBUG"

app = typer.Typer(
    name="edge-segface",
    cls=Group,
    help="Face parsing with SegFace, from data to device. `edge-segface COMMAND -h` shows options and examples.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

COMMANDS: dict[str, dict[str, Callable[..., None]]] = {
    "Look at it": {"demo": look.demo, "doctor": look.doctor, "info": look.info},
    "Run it": {"parse": run.parse, "webcam": run.webcam},
    "Train and score": {
        "train": training.train,
        "pseudo-label": training.pseudo_label,
        "recipes": training.recipes,
        "evaluate": training.evaluate,
        "balance": training.balance,
    },
    "Convert": {
        "fetch": convert.fetch,
        "export": convert.export,
        "calibrate": convert.calibrate,
        "quantize": convert.quantize,
        "build-engine": convert.build_engine,
        "package": convert.package,
    },
    "Measure": {"benchmark": measure.benchmark, "estimate": measure.estimate},
}
for _group, _commands in COMMANDS.items():
    for _name, _function in _commands.items():
        name_values(_function)
        app.command(_name, cls=Command, rich_help_panel=_group)(_function)


def print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"edge-segface {__version__}")
        raise typer.Exit


@app.callback()
def options(
    _: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where in the program an error arose.")] = False,
) -> None:
    if debug:
        os.environ[DEBUG_VARIABLE] = "1"


def main() -> None:
    """Run the command line: every error becomes one line and exit code 1."""
    exit_on_termination()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for names that are not UTF-8
    try:
        app()
    except BrokenPipeError:  # of `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except EdgeSegfaceError as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        from edge_segface.cli.console.messages import is_first_on_machine

        if is_first_on_machine() or isinstance(error, SampleLostError):  # only the process that lost it knows
            typer.secho(f"error: {error}", fg="red", err=True)
        sys.exit(1)
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        typer.secho(f"error: {unexpected(error)}", fg="red", err=True)
        sys.exit(1)


def unexpected(error: Exception) -> str:
    """Keep the traceback of an error that should have been one of ours, and return the line about it."""
    what = f"unexpected {type(error).__name__}: {redact(first_line(error))}"
    log = cache_folder() / "last-error.txt"
    lines = [f"edge-segface {__version__}, Python {platform.python_version()}, {platform.platform()}\n"]
    lines += [redact(line) for line in traceback.format_exception(error)]
    try:
        write_text("".join(lines), log)
    except EdgeSegfaceError:
        return f"{what}; run it again with edge-segface --debug, and please report this"
    return f"{what}; please report this with {log}"
