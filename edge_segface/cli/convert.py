"""Commands that turn weights into what a device runs: fetch, export, calibrate, quantize, build-engine, package."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from edge_segface.assets import DEFAULT_MODEL
from edge_segface.cli.options import (
    DATASET,
    AllowDrop,
    Data,
    DatasetKind,
    Device,
    GateDataset,
    GateSplit,
    LabelsName,
    MaskLabels,
    MaxDrop,
    Model,
    ModelArgument,
    Provider,
    RuntimeOption,
    SkipBad,
    Threads,
    complete_models,
    engine_options,
    json_writer,
    open_gate,
)
from edge_segface.errors import EdgeSegfaceError
from edge_segface.extras import check_quantize, check_torch
from edge_segface.files import size_mb
from edge_segface.labels import label_space

QUANTIZATION, TENSORRT, SELECTION = "Quantization", "TensorRT", "Selection"
ONNX, FORMATS = "For onnx", "For other formats"


def fetch(
    name: Annotated[
        str,
        typer.Argument(
            help="Name of official weights, such as segface-mobilenet-celeb-512.", autocompletion=complete_models
        ),
    ],
    sha256: Annotated[str | None, typer.Option(help="Require this checksum.")] = None,
) -> None:
    """Download official weights; resumes, and verifies the checksum."""
    from edge_segface.fetch import fetch as download

    fetched = download(name, sha256)
    typer.echo(f"{fetched.path}\nsha256 {fetched.sha256}, revision {fetched.revision}")


def export(
    weights: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A checkpoint, ours or official, or a fetched name; for formats other than onnx also a bundled name "
            "or an .onnx file.",
            autocompletion=complete_models,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file or folder to write, with the format's suffix.")],
    file_format: Annotated[
        Literal["onnx", "portable", "ncnn", "web", "litert", "executorch", "coreml", "rknn", "hailo", "engine"],
        typer.Option("--format", help="What to write; engine runs build-engine with its defaults."),
    ] = "onnx",
    size: Annotated[
        int | None,
        typer.Option(
            help="Side of the square input: a multiple of 32 from 128 to 1024. Default: that of the training, or 512."
        ),
    ] = None,
    labels: Annotated[
        LabelsName | None, typer.Option(help="For official weights with 11 classes: lapa11 (the default) or helen11.")
    ] = None,
    outputs: Annotated[
        Literal["labels", "logits", "both"],
        typer.Option(help="Class ids, low-resolution logits, or both.", rich_help_panel=ONNX),
    ] = "labels",
    half_weights: Annotated[
        bool, typer.Option("--half-weights", help="Store the weights in 16 bits.", rich_help_panel=ONNX)
    ] = False,
    precision: Annotated[
        Literal["fp32", "fp16", "int8"] | None,
        typer.Option(help="Default: fp16 for ncnn, coreml and rknn, else fp32.", rich_help_panel=FORMATS),
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Calibration set, for int8.", rich_help_panel=FORMATS)
    ] = None,
    chip: Annotated[
        Literal["rk3562", "rk3566", "rk3568", "rk3576", "rk3588"],
        typer.Option(help="Chip of rknn.", rich_help_panel=FORMATS),
    ] = "rk3588",
    ort_web: Annotated[
        Path | None,
        typer.Option(help="For web: the npm package of ONNX Runtime Web, a .tgz file.", rich_help_panel=FORMATS),
    ] = None,
) -> None:
    """Export a model to ONNX or another format; what is written has been compared, from an image to classes."""
    if file_format == "engine":
        if outputs != "labels" or labels or half_weights:
            raise EdgeSegfaceError("engines are built from plain exports", remedy="export first, then run build-engine")
        build_engine(weights, out, size=size)
        return
    from edge_segface.cli.console.messages import warn

    space = None if labels is None else label_space(labels)
    if file_format == "onnx":
        if precision or calibration:
            raise EdgeSegfaceError("exports to ONNX are fp32", remedy="lower the precision with: edge-segface quantize")
        check_torch("exporting")
        from edge_segface.export.checkpoint import export_checkpoint

        exported = export_checkpoint(weights, out, size, space, outputs=outputs, half_weights=half_weights, warn=warn)
        spec, parity = exported.spec, str(exported.parity)
    else:
        if outputs != "labels" or half_weights:
            raise EdgeSegfaceError(f"{file_format} has no --outputs and no --half-weights", remedy="leave them out")
        from edge_segface.export.targets import Options
        from edge_segface.export.targets.convert import export_to
        from edge_segface.quantize.calibration.artefact import CalibrationSet

        images = None if calibration is None else CalibrationSet.load(calibration).images_bgr
        options = Options(precision, images, chip, ort_web)
        converted = export_to(file_format, weights, out, options, size=size, space=space, warn=warn)
        spec, parity = converted.record.model, converted.parity_text
    typer.echo(f"{out}  {spec.input_size}x{spec.input_size}, {size_mb(out):.1f} MB  parity: {parity}")


def calibrate(
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="The .npz file to write; a .txt report and a .jpg contact sheet go beside it."
        ),
    ],
    model: Model = DEFAULT_MODEL,
    data: Data = None,
    dataset: Annotated[
        DatasetKind | None,
        typer.Option(help="Kind of labelled dataset, instead of --source.", rich_help_panel=DATASET),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Split to choose from, never the one you score on. Default: train.", rich_help_panel=DATASET),
    ] = None,
    labels: MaskLabels = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--source",
            "-s",
            metavar="SOURCE",
            help="Unlabelled images: a folder, a glob pattern, a video or a camera number.",
        ),
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, help="How long to record from a camera, in seconds.")] = 60,
    every: Annotated[int, typer.Option(min=1, help="Use every n-th frame of a video or camera.")] = 10,
    count: Annotated[
        int | None, typer.Option(help="Number of images. Default: 256.", rich_help_panel=SELECTION)
    ] = None,
    strategy: Annotated[
        Literal["long-tail", "random"] | None,
        typer.Option(
            help="Rare classes first, then variety; or random. Default: long-tail.", rich_help_panel=SELECTION
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the selection. Default: 0.", rich_help_panel=SELECTION)
    ] = None,
    definition: Annotated[
        Path | None,
        typer.Option(help="YAML file with some of these options, as in calibration/.", rich_help_panel=SELECTION),
    ] = None,
    skip_bad: SkipBad = False,
    threads: Threads = None,
    runtime: RuntimeOption = None,
    provider: Provider = "cpu",
    device: Device = None,
) -> None:
    """Choose the images that quantization is calibrated on."""
    from edge_segface.cli.console.progress import progress_bar
    from edge_segface.face.parser import FaceParser
    from edge_segface.quantize.calibration import collect
    from edge_segface.quantize.calibration.definition import merge_definition

    merged = merge_definition(
        definition, dataset=dataset, split=split, labels=labels, count=count, strategy=strategy, seed=seed
    )
    with FaceParser(model, **engine_options(threads, runtime, provider, device)) as parser, progress_bar() as progress:
        made = collect.calibrate(
            parser,
            merged,
            out,
            data=data,
            source=source,
            seconds=seconds,
            every=every,
            skip_bad=skip_bad,
            progress=progress,
        )
    typer.echo(f"{made.report}\nwrote {made.files[0]}, {made.files[1]} and {made.files[2]}")


def quantize(
    model: Annotated[
        str, typer.Argument(help="A bundled name or an .onnx file, in fp32.", autocompletion=complete_models)
    ],
    precision: Annotated[
        Literal["fp16", "int8"], typer.Option(help="fp16 by AutoCast, or int8 by Q/DQ nodes with the rest in fp16.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .onnx file to write.")],
    calibration: Annotated[
        Path | None, typer.Option(help="Calibration set for int8, made by `calibrate`.", rich_help_panel=QUANTIZATION)
    ] = None,
    method: Annotated[
        Literal["entropy", "max", "percentile"],
        typer.Option(help="How value ranges follow from the calibration images.", rich_help_panel=QUANTIZATION),
    ] = "entropy",
    percentile: Annotated[
        float,
        typer.Option(
            min=50, max=100, help="Share of values kept by --method percentile, in %.", rich_help_panel=QUANTIZATION
        ),
    ] = 99.99,
    rest: Annotated[
        Literal["fp16", "fp32"],
        typer.Option(help="Precision of the layers outside int8; fp32 for TensorRT 8.6.", rich_help_panel=QUANTIZATION),
    ] = "fp16",
    keep: Annotated[
        list[str] | None,
        typer.Option(
            help="Pattern of layers to keep in floating point, as in `.*/refine_half/.*`; may be repeated.",
            rich_help_panel=QUANTIZATION,
        ),
    ] = None,
    data: Data = None,
    dataset: GateDataset = None,
    labels: MaskLabels = None,
    split: GateSplit = "val",
    skip_bad: SkipBad = False,
    max_drop: MaxDrop = 0.5,
    allow_drop: AllowDrop = False,
    scan: Annotated[
        bool,
        typer.Option(
            "--scan",
            help="Rank groups of layers by the noise that int8 adds to the logits.",
            rich_help_panel=QUANTIZATION,
        ),
    ] = False,
    threads: Threads = None,
) -> None:
    """Quantize a model to fp16 or int8, and write the file only if its accuracy drop is acceptable."""
    check_quantize()
    from edge_segface.bench.interleave import time_runtimes
    from edge_segface.cli.console import tables
    from edge_segface.cli.console.messages import warn
    from edge_segface.cli.console.progress import progress_bar
    from edge_segface.files import size_mb
    from edge_segface.models import resolve_onnx
    from edge_segface.quantize.modelopt import check_one_runtime
    from edge_segface.quantize.options import Int8Options
    from edge_segface.quantize.pipeline import quantize as run

    check_one_runtime()
    source = resolve_onnx(model)
    gate = open_gate(dataset, data, split, labels, model, max_drop=max_drop, skip_bad=skip_bad, threads=threads)
    options = Int8Options(method=method, percentile=percentile, rest=rest, keep=tuple(keep or ()), scan=scan)
    with progress_bar() as progress:
        result = run(
            source,
            precision,
            calibration,
            out,
            options=options,
            gate=gate,
            allow_drop=allow_drop,
            threads=threads,
            progress=progress,
        )
    if result.sensitivity:
        tables.print_sensitivity(result.sensitivity)
    if result.drop is not None:
        tables.print_accuracy_drop(result.drop)
    for group, reason in (result.model.spec.kept or {}).items():
        warn(f"kept in floating point: {group} ({reason})")
    share = f", {100 * result.model.int8_share:.1f} % of multiply-adds in int8" if precision == "int8" else ""
    typer.echo(f"{out}  {size_mb(out):.1f} MB{share}; {100 * result.agreement:.3f} % of pixels as in fp32")
    tables.print_speed(time_runtimes({model: source, str(out): out}, threads=threads), model, out)


def build_engine(
    model: ModelArgument,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The file to write: .engine for TensorRT, .xml for OpenVINO, or .onnx.")
    ],
    runtime: Annotated[
        Literal["tensorrt", "tensorrt-rtx", "openvino", "onnxruntime"] | None,
        typer.Option(help="Default: chosen by the suffix of --out; of the two TensorRTs, the installed one."),
    ] = None,
    precision: Annotated[
        Literal["fp32", "fp16", "int8"] | None, typer.Option(help="Default: the file's own precision.")
    ] = None,
    size: Annotated[int | None, typer.Option(help="Input size of a checkpoint. Default: that of its training.")] = None,
    calibration: Annotated[Path | None, typer.Option(help="Calibration set for int8, made by `calibrate`.")] = None,
    data: Data = None,
    dataset: GateDataset = None,
    labels: MaskLabels = None,
    split: GateSplit = "val",
    skip_bad: SkipBad = False,
    max_drop: MaxDrop = 0.5,
    allow_drop: AllowDrop = False,
    batch: Annotated[str, typer.Option(help="Batch size, or minimum:typical:maximum.", rich_help_panel=TENSORRT)] = "1",
    workspace: Annotated[
        int | None, typer.Option(min=1, help="Memory TensorRT may use while building, in MB.", rich_help_panel=TENSORRT)
    ] = None,
    optimization: Annotated[
        int | None,
        typer.Option(
            min=0, max=5, help="TensorRT's optimization level. Default: TensorRT's, 3.", rich_help_panel=TENSORRT
        ),
    ] = None,
    timing_cache: Annotated[
        Path | None, typer.Option(help="Folder of kernel timings that speed up later builds.", rich_help_panel=TENSORRT)
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            help="Compute capability for TensorRT-RTX, such as sm89; may be repeated.", rich_help_panel=TENSORRT
        ),
    ] = None,
    dla: Annotated[
        int | None,
        typer.Option(min=0, help="DLA core to use; rejected if the network does not fit.", rich_help_panel=TENSORRT),
    ] = None,
    inspect: Annotated[
        Path | None, typer.Option(help="Write TensorRT's description of every layer as JSON.", rich_help_panel=TENSORRT)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the steps without running them.")] = False,
    threads: Threads = None,
) -> None:
    """Build an engine: export, quantize and compile, skipping steps that are already done."""
    from edge_segface.build import BuildRequest, runtime_for
    from edge_segface.build import build_engine as build
    from edge_segface.cli.console.progress import progress_bar
    from edge_segface.cli.console.tables import print_build
    from edge_segface.engine.tensorrt.build import PlanSettings, batch_range

    request = BuildRequest(
        model=model,
        out=out,
        runtime=runtime or runtime_for(out),
        precision=precision,
        size=size,
        calibration=calibration,
        plan=PlanSettings(
            batch=batch_range(batch),
            workspace_mb=workspace,
            optimization=optimization,
            timing_cache=timing_cache,
            targets=tuple(target or ()),
            dla=dla,
        ),
        threads=threads,
        command=shlex.join(["edge-segface", *sys.argv[1:]]),
    )
    write_json = json_writer(None if dry_run else inspect)
    gate = None
    if not dry_run:
        gate = open_gate(dataset, data, split, labels, model, max_drop=max_drop, skip_bad=skip_bad, threads=threads)
    with progress_bar() as progress:
        result = build(request, gate=gate, allow_drop=allow_drop, dry_run=dry_run, progress=progress)
    if result.details:
        write_json(result.details)
    print_build(result)


def package(
    model: Annotated[
        str,
        typer.Argument(
            help="A bundled name, an .onnx file, or an .engine of TensorRT.", autocompletion=complete_models
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder to write NAME into; for Triton, the model repository.")
    ],
    host: Annotated[Literal["triton", "deepstream"], typer.Option("--for", help="The server to package for.")],
    batch: Annotated[
        int | None, typer.Option(min=1, help="Largest batch. Default: 8 for Triton, 1 for DeepStream.")
    ] = None,
    wait_us: Annotated[
        int, typer.Option(min=0, help="For Triton: longest time a request waits for a batch, in microseconds.")
    ] = 1000,
) -> None:
    """Package a model for NVIDIA's Triton or DeepStream."""
    from edge_segface.serving import package_for_deepstream, package_for_triton

    if host == "triton":
        folder = package_for_triton(model, out, most=batch or 8, wait_us=wait_us)
        typer.echo(f"{folder}  serve it with: tritonserver --model-repository={out}")
    else:
        folder = package_for_deepstream(model, out, most=batch or 1)
        typer.echo(f"{folder}  in a pipeline: nvinfer config-file-path={folder / 'config_infer.txt'}")
