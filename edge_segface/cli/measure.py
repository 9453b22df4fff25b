"""Commands that measure or estimate speed: benchmark, estimate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from edge_segface.cli.options import (
    OUTPUT,
    JsonOut,
    Provider,
    RuntimeOption,
    Threads,
)


def benchmark(
    models: Annotated[
        list[str] | None,
        typer.Argument(help="Bundled names, model files, or checkpoints (with --size).", metavar="MODEL..."),
    ] = None,
    rounds: Annotated[int, typer.Option(min=2, help="Number of interleaved rounds.")] = 100,
    batch: Annotated[list[int] | None, typer.Option(min=1, help="Batch size; may be repeated. Default: 1.")] = None,
    size: Annotated[
        list[int] | None, typer.Option(help="Input size at which to export a checkpoint; may be repeated.")
    ] = None,
    sustain: Annotated[
        str | None,
        typer.Option(help="Also run each engine for this long (90s, 10m) and log power, temperature and clocks."),
    ] = None,
    json_out: JsonOut = None,
    markdown_out: Annotated[
        Path | None, typer.Option("--markdown", help="Write the table to this file.", rich_help_panel=OUTPUT)
    ] = None,
    html_out: Annotated[
        Path | None, typer.Option("--html", help="Write a page with plots to this file.", rich_help_panel=OUTPUT)
    ] = None,
    compared: Annotated[
        tuple[Path, Path] | None,
        typer.Option("--compare", help="Compare two JSON reports instead of measuring.", rich_help_panel=OUTPUT),
    ] = None,
    threads: Threads = None,
    runtime: RuntimeOption = None,
    provider: Provider = "cpu",
) -> None:
    """Measure engines side by side: latency, throughput, memory, and sustained load."""
    raise NotImplementedError


def estimate(
    model: Annotated[str, typer.Argument(help="A bundled name or an .onnx file.")],
    board: Annotated[
        str | None,
        typer.Option(help="A board such as orin-nano-8gb, or `here` for this processor. Default: all boards."),
    ] = None,
    precision: Annotated[
        Literal["fp32", "fp16", "int8"] | None, typer.Option(help="Default: the file's own precision.")
    ] = None,
    json_out: JsonOut = None,
) -> None:
    """Estimate a model's speed on a board (an estimate, not a measurement)."""
    raise NotImplementedError
