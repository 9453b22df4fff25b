"""Commands that measure or estimate speed: benchmark, estimate."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from edge_segface.cli.options import (
    OUTPUT,
    Device,
    JsonOut,
    Provider,
    RuntimeOption,
    Threads,
    complete_models,
    json_text,
    json_writer,
    named_runtime,
    report_writer,
)
from edge_segface.errors import EdgeSegfaceError

if TYPE_CHECKING:
    from edge_segface.engine import Runtime


def benchmark(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="Bundled names, model files, or checkpoints (with --size).",
            metavar="MODEL",
            autocompletion=complete_models,
        ),
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
    layers: Annotated[
        bool, typer.Option("--layers", help="Time each layer instead: the slowest, and the share of each kind.")
    ] = False,
    threads: Threads = None,
    runtime: RuntimeOption = None,
    provider: Provider = "cpu",
    device: Device = None,
) -> None:
    """Measure engines side by side: latency, throughput, memory, and sustained load."""
    from edge_segface.bench.html_report import html_page
    from edge_segface.bench.measure import measure
    from edge_segface.bench.report import markdown
    from edge_segface.bench.results import load_report
    from edge_segface.bench.settings import BenchmarkSettings, parse_seconds
    from edge_segface.benchmark import model_files
    from edge_segface.cli.console.messages import warn
    from edge_segface.cli.console.progress import progress_bar
    from edge_segface.cli.console.tables import print_benchmark, print_comparison

    if compared is not None:
        from edge_segface.bench.compare import compare

        print_comparison(compare(*(load_report(path) for path in compared)))
        return
    if not models:
        raise EdgeSegfaceError("there is nothing to measure", remedy="name a model, such as edge-256")
    if layers:
        time_layers(models, named_runtime(runtime), rounds, threads, json_out)
        return
    writers = (
        report_writer(json_out, lambda report: json_text(report.to_json())),
        report_writer(markdown_out, markdown),
        report_writer(html_out, html_page),
    )
    settings = BenchmarkSettings(
        rounds=rounds,
        batches=tuple(batch or (1,)),
        threads=threads,
        runtime=named_runtime(runtime),
        provider=None if provider == "cpu" else provider,
        device=device,
        sustain_s=None if sustain is None else parse_seconds(sustain),
    )
    with tempfile.TemporaryDirectory() as folder, progress_bar() as progress:
        report = measure(model_files(models, size or (), Path(folder)), settings, progress=progress)
    print_benchmark(report)
    unwritten: list[EdgeSegfaceError] = []
    for write in writers:
        try:
            write(report)
        except EdgeSegfaceError as error:  # the others are still written
            unwritten.append(error)
    if unwritten:
        raise unwritten[0]
    for failure in report.failures:
        warn(f"{failure.model} was not measured: {failure.error}")
    if report.failures:
        raise typer.Exit(1)


def time_layers(
    models: list[str], runtime: Runtime | None, runs: int, threads: int | None, json_out: Path | None
) -> None:
    """Print the time of each layer, in every installed runtime if none is named."""
    from dataclasses import asdict

    from edge_segface.bench.layer_times import measure_layers
    from edge_segface.cli.console.tables import print_layers
    from edge_segface.models import resolve_onnx

    write_json = json_writer(json_out)
    measured = [
        one for name in models for one in measure_layers(name, resolve_onnx(name), runtime, runs=runs, threads=threads)
    ]
    for one in measured:
        print_layers(one)
    write_json([{**asdict(one), "total_ms": one.total_ms, "by_kind": one.by_kind()} for one in measured])


def estimate(
    model: Annotated[str, typer.Argument(help="A bundled name or an .onnx file.", autocompletion=complete_models)],
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
    from edge_segface.bench.boards import all_boards, find_board
    from edge_segface.bench.onnx_layers import layers_of
    from edge_segface.bench.roofline import estimate as estimate_on
    from edge_segface.bench.roofline import estimate_report
    from edge_segface.cli.console.tables import print_estimates
    from edge_segface.engine.onnxruntime import spec_of
    from edge_segface.models import resolve_onnx

    write_json = json_writer(json_out)
    boards = [find_board(board)] if board else list(all_boards().values())
    path = resolve_onnx(model)
    spec, layers = spec_of(path), layers_of(path)
    chosen = precision or spec.precision
    estimates = [estimate_on(layers, each, chosen) for each in boards if board or each.flops[chosen]]
    print_estimates(spec.name, estimates)
    write_json(estimate_report(spec.name, estimates))
