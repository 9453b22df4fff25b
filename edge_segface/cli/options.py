"""Options that several commands share, each declared once, and what turns them into arguments."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict

import typer

from edge_segface.cli.command import JSON_FILE

if TYPE_CHECKING:
    from edge_segface.data import Dataset
    from edge_segface.engine import Runtime
    from edge_segface.labels import LabelSpace
    from edge_segface.quantize.accuracy_gate import AccuracyGate

# Panels of --help.
ENGINE, DATASET, FACES = "Engine", "Dataset", "Faces"
OUTPUT, DRAWING, CAMERA = "Output", "Drawing", "Camera"

LabelsName = Literal["celebamask19", "celebamask19-raw", "lapa11", "helen11"]
DatasetKind = Literal["celebamask", "lapa", "helen", "folder", "drawn"]


def complete_models(incomplete: str) -> list[str]:
    """Names of models for shell completion; without a match, shells complete files."""
    from edge_segface.assets import BUNDLED
    from edge_segface.fetch import SOURCES

    return [name for name in (*BUNDLED, *SOURCES) if name.startswith(incomplete)]


MODEL_HELP = "A bundled name such as edge-256, a fetched name, or a file (.onnx, .xml, .ncnn.param, .engine, .pt)."

ModelArgument = Annotated[str, typer.Argument(help=MODEL_HELP, autocompletion=complete_models)]
Model = Annotated[
    str,
    typer.Option(
        "--model", "-m", metavar="MODEL", help=MODEL_HELP, rich_help_panel=ENGINE, autocompletion=complete_models
    ),
]
RuntimeName = Literal["auto", "onnxruntime", "openvino", "ncnn"]
RuntimeOption = Annotated[
    RuntimeName | None,
    typer.Option(
        "--runtime",
        help="Runtime to execute the model. Default: auto, the fastest that is installed for the file.",
        rich_help_panel=ENGINE,
    ),
]
Provider = Annotated[
    Literal["cpu", "cuda", "tensorrt", "tensorrt-rtx", "coreml", "directml", "qnn", "webgpu", "xnnpack"],
    typer.Option(
        help="Execution provider of ONNX Runtime; all but cpu need a build of it that has them.",
        rich_help_panel=ENGINE,
    ),
]
Device = Annotated[
    Literal["CPU", "GPU", "NPU"] | None,
    typer.Option("--device", help="Device of OpenVINO. Default: CPU.", rich_help_panel=ENGINE),
]
Threads = Annotated[
    int | None, typer.Option(min=1, help="CPU cores to use. Default: all of them.", rich_help_panel=ENGINE)
]

Data = Annotated[Path | None, typer.Option("--data", "-d", help="Root folder of the dataset.", rich_help_panel=DATASET)]
DatasetRequired = Annotated[DatasetKind, typer.Option(help="Kind of dataset.", rich_help_panel=DATASET)]
GateDataset = Annotated[
    DatasetKind | None,
    typer.Option(help="Kind of labelled dataset on which to measure the accuracy drop.", rich_help_panel=DATASET),
]
MaskLabels = Annotated[
    LabelsName | None,
    typer.Option(help="Label space of a folder's masks. Default: detected in the masks.", rich_help_panel=DATASET),
]
GateSplit = Annotated[
    str,
    typer.Option(
        help="Split to measure on; it must not have been used for training or calibration.", rich_help_panel=DATASET
    ),
]
SkipBad = Annotated[
    bool,
    typer.Option("--skip-bad", help="Skip samples that cannot be used, and list them.", rich_help_panel=DATASET),
]
MaxDrop = Annotated[
    float,
    typer.Option(
        min=0,
        help="Largest accepted drop in F1 (points) of the mean, and of each class in at least 30 images.",
        rich_help_panel=DATASET,
    ),
]
AllowDrop = Annotated[
    bool,
    typer.Option("--allow-drop", help="Write the file regardless of its accuracy drop.", rich_help_panel=DATASET),
]
JsonOut = Annotated[
    Path | None, typer.Option("--json", "-j", help="Write the report to this file as JSON.", rich_help_panel=OUTPUT)
]
JsonPrinted = Annotated[
    bool,
    typer.Option(
        "--json",
        "-j",
        metavar="[PATH]",
        help="Print as JSON, or write it to this file.",
        rich_help_panel=OUTPUT,
    ),
]
JsonFile = Annotated[Path | None, typer.Option(JSON_FILE, hidden=True)]


class EngineOptions(TypedDict, total=False):
    threads: int
    runtime: Runtime
    provider: str
    device: str


def named_runtime(runtime: RuntimeName | None) -> Runtime | None:
    """Return the runtime to pass on: None is the fastest."""
    return None if runtime == "auto" else runtime


def engine_options(
    threads: int | None, runtime: RuntimeName | None, provider: str, device: str | None
) -> EngineOptions:
    """The engine options that were given; an engine without such an option rejects it."""
    options: EngineOptions = {}
    if threads is not None:
        options["threads"] = threads
    if (name := named_runtime(runtime)) is not None:
        options["runtime"] = name
    if provider != "cpu":
        options["provider"] = provider
    if device is not None:
        options["device"] = device
    return options


def report_writer(path: Path | None, render: Callable[[Any], str]) -> Callable[[Any], None]:
    """Check now that the file can be written, and return what renders a report there; without a path, a no-op."""
    if path is None:
        return lambda _: None
    from edge_segface.files import check_place, write_text

    check_place(path)
    return lambda report: write_text(render(report), path)


def comma_separated(text: str) -> tuple[str, ...]:
    """Return the names in a list such as `hair,lips`."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def json_writer(path: Path | None) -> Callable[[Any], None]:
    """The writer of a report that is plain data, as JSON."""
    return report_writer(path, json_text)


def print_json(report: Any, path: Path | None) -> None:
    """Print a report as JSON, or write it to a file."""
    if path is None:
        typer.echo(json_text(report), nl=False)
    else:
        json_writer(path)(report)


def json_text(report: Any) -> str:
    return json.dumps(report, indent=2) + "\n"


def open_split(
    kind: str, data: Path | None, split: str, labels: str | None, model: LabelSpace | str, *, skip_bad: bool
) -> Dataset:
    """Open and check one split of a dataset under a progress bar.

    Without `labels`, a folder's masks tell their label space; that of the model decides between equal ones.
    """
    from edge_segface.cli.console.progress import progress_bar
    from edge_segface.data import open_dataset
    from edge_segface.models import mask_space

    space = mask_space(labels, kind, model)
    with progress_bar() as progress:
        return open_dataset(kind, data, split, space, assumed=labels is None, skip_bad=skip_bad, progress=progress)


def open_gate(
    dataset: str | None,
    data: Path | None,
    split: str,
    labels: str | None,
    model: str,
    *,
    max_drop: float,
    skip_bad: bool,
    threads: int | None,
) -> AccuracyGate | None:
    """Return the accuracy gate that the dataset options ask for, if any."""
    if dataset is None:
        return None
    from edge_segface.extras import check_torch

    check_torch("the accuracy gate")
    from edge_segface.quantize.accuracy_gate import AccuracyGate

    samples = open_split(dataset, data, split, labels, model, skip_bad=skip_bad)
    return AccuracyGate(samples, max_drop, threads)
