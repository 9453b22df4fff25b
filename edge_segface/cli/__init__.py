"""The command line: a table of commands by group. Each body is one call and one print; heavy imports stay inside.

Results go to stdout, progress and errors to stderr. Exit codes: 0, 1 for our own errors (one line), 2 for usage.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from edge_segface import __version__
from edge_segface.cli import convert, look, measure, run, training
from edge_segface.cli.command import Command, Group, name_values
from edge_segface.errors import EdgeSegfaceError, SampleLostError
from edge_segface.signals import exit_on_termination

__all__ = ["app", "main"]

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
) -> None:
    pass


def main() -> None:
    """Run the command line: our own errors become one line and exit code 1."""
    exit_on_termination()
    try:
        app()
    except EdgeSegfaceError as error:
        from edge_segface.cli.console.messages import is_first_on_machine

        if is_first_on_machine() or isinstance(error, SampleLostError):  # only the process that lost it knows
            typer.secho(f"error: {error}", fg="red", err=True)
        sys.exit(1)
