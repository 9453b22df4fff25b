"""Commands that measure or estimate speed: benchmark, estimate."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Literal

import typer

from edge_segface.cli.options import (
    OUTPUT,
    JsonOut,
    Provider,
    RuntimeOption,
    Threads,
    json_writer,
)
from edge_segface.errors import EdgeSegfaceError


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
    from edge_segface.bench.measure import Settings, measure, parse_seconds
    from edge_segface.bench.report import as_json, load_report, markdown, page
    from edge_segface.benchmark import model_files
    from edge_segface.cli.console.messages import warn
    from edge_segface.cli.console.progress import progress_bar
    from edge_segface.cli.console.tables import print_benchmark, print_comparison
    from edge_segface.files import check_place, write_text

    if compared is not None:
        from edge_segface.bench.compare import compare

        print_comparison(compare(*(load_report(path) for path in compared)))
        return
    if not models:
        raise EdgeSegfaceError("there is nothing to measure", remedy="name a model, such as edge-256")
    files = [(path, text) for path, text in ((json_out, as_json), (markdown_out, markdown), (html_out, page)) if path]
    for path, _ in files:
        check_place(path)
    settings = Settings(
        rounds=rounds,
        batches=tuple(batch or (1,)),
        threads=threads,
        runtime=runtime,
        provider=None if provider == "cpu" else provider,
        sustain_s=None if sustain is None else parse_seconds(sustain),
    )
    with tempfile.TemporaryDirectory() as folder, progress_bar() as progress:
        report = measure(model_files(models, size or (), Path(folder)), settings, progress=progress)
    print_benchmark(report)
    unwritten: list[EdgeSegfaceError] = []
    for path, text in files:
        try:
            write_text(text(report), path)
        except EdgeSegfaceError as error:  # the others are still written
            unwritten.append(error)
    if unwritten:
        raise unwritten[0]
    for failure in report["failures"]:
        warn(f"{failure['model']} was not measured: {failure['error']}")
    if report["failures"]:
        raise typer.Exit(1)


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
    from edge_segface.bench import roofline
    from edge_segface.cli.console.tables import print_estimates
    from edge_segface.engine.onnxruntime import spec_of
    from edge_segface.models import resolve_onnx

    write_json = json_writer(json_out)
    boards = [roofline.board_called(board)] if board else list(roofline.boards().values())
    path = resolve_onnx(model)
    spec, layers = spec_of(path), roofline.layers_of(path)
    chosen = precision or spec.precision
    estimates = [roofline.estimate(layers, one, chosen) for one in boards if board or one.flops[chosen]]
    print_estimates(spec.name, estimates)
    write_json(roofline.report(spec.name, estimates))
