"""Commands that show what the package does and what this machine can do: demo, doctor, info."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_segface.assets import DEFAULT_MODEL
from edge_segface.cli.options import (
    OUTPUT,
    Device,
    JsonFile,
    JsonOut,
    JsonPrinted,
    Model,
    ModelArgument,
    Provider,
    RuntimeOption,
    Threads,
    engine_options,
    json_writer,
    print_json,
)


def demo(
    model: Model = DEFAULT_MODEL,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for demo.png and demo.json.", rich_help_panel=OUTPUT)
    ] = Path("demo"),
    frames: Annotated[int, typer.Option(min=2, help="Number of frames to run.")] = 300,
    threads: Threads = None,
    runtime: RuntimeOption = None,
    provider: Provider = "cpu",
    device: Device = None,
) -> None:
    """Run the camera loop on the built-in clip, in the fastest runtime installed, and print both frame rates."""
    from edge_segface.cli.console.tables import print_demo
    from edge_segface.demo import run_demo

    print_demo(run_demo(model, out, frames, **engine_options(threads, runtime, provider, device)))


def doctor(json_out: JsonOut = None) -> None:
    """Report what this machine can run, what is missing, and the command that fixes it."""
    from edge_segface.cli.console.tables import print_findings
    from edge_segface.doctor import can_run, examine, report

    write_json = json_writer(json_out)
    findings = examine()
    write_json(report(findings))
    print_findings(findings)
    if not can_run(findings):
        raise typer.Exit(1)


def info(
    model: ModelArgument = DEFAULT_MODEL,
    as_json: JsonPrinted = False,
    json_file: JsonFile = None,
) -> None:
    """Describe a model: its F1, size and work, its classes and input, and where its weights come from."""
    from edge_segface.cli.console.tables import print_info
    from edge_segface.model_info import describe_model

    described = describe_model(model)
    if as_json:
        print_json(described.to_json(), json_file)
    else:
        print_info(described)
