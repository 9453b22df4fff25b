"""The command line: a table of commands. Each body is one call and one print; what is heavy is imported inside.

Results go to stdout, progress and errors to stderr. Exit codes: 0, 1 for our own errors (one line), 2 for usage.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from edge_segface import __version__
from edge_segface.errors import EdgeSegfaceError, SampleLostError
from edge_segface.extras import check_quantize, check_torch, check_training
from edge_segface.labels import label_space
from edge_segface.models import DEFAULT_MODEL, mask_space, resolve
from edge_segface.signals import exit_on_termination

if TYPE_CHECKING:
    from edge_segface.data import Dataset
    from edge_segface.engine import Runtime
    from edge_segface.labels import LabelSpace

app = typer.Typer(
    name="edge-segface",
    help="Face parsing with SegFace, from data to device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Outputs = Literal["labels", "logits", "both"]
Labels = Literal["celebamask19", "celebamask19-raw", "lapa11", "helen11"]

Model = Annotated[str, typer.Option(help="A bundled name such as edge-256, or a model file.")]
Provider = Annotated[
    Literal["cpu", "cuda", "tensorrt"], typer.Option(help="Of ONNX Runtime; others than cpu need another build of it.")
]
Threads = Annotated[int | None, typer.Option(min=1, help="Processor cores to use; all of them by default.")]
RuntimeOption = Annotated[
    Literal["onnxruntime", "openvino"] | None,
    typer.Option("--runtime", help="What runs the model; by its suffix, onnxruntime for .onnx, unless told."),
]

Kind = Literal["celebamask", "lapa", "helen", "folder", "drawn"]
Data = Annotated[Path | None, typer.Option(help="The dataset's folder.")]
FolderLabels = Annotated[Labels | None, typer.Option(help="Label space of a folder's masks.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave out samples that cannot be used, and say which.")]


@app.command()
def demo(
    model: Model = DEFAULT_MODEL,
    out: Annotated[Path, typer.Option(help="Folder for demo.png and demo.json.")] = Path("demo"),
    frames: Annotated[int, typer.Option(min=2, help="How long the clip runs.")] = 300,
    threads: Threads = None,
    runtime: RuntimeOption = None,
    provider: Provider = "cpu",
) -> None:
    """Run the camera loop on the built-in clip, in the fastest engine here: what it sees, and how fast."""
    from edge_segface.cli.console import print_demo
    from edge_segface.demo import run_demo

    print_demo(run_demo(model, out, frames, **engine_options(threads, runtime, provider)))


@app.command()
def webcam(
    source: Annotated[
        str,
        typer.Option(
            help="A number or /dev/videoN, csi://N, rtsp://, http://, gst:PIPELINE, a video, pictures, or demo."
        ),
    ] = "0",
    model: Model = DEFAULT_MODEL,
    headless: Annotated[bool, typer.Option("--headless", help="Open no window.")] = False,
    frames: Annotated[int | None, typer.Option(min=1, help="Stop after so many.")] = None,
    record: Annotated[Path | None, typer.Option(help="Record what is drawn: .mp4, .mkv, .mov or .avi.")] = None,
    save_masks: Annotated[Path | None, typer.Option(help="Folder for a PNG of class ids for every frame.")] = None,
    serve: Annotated[
        str | None, typer.Option(help="HOST:PORT of a page that shows it; other hosts than loopback need a token.")
    ] = None,
    json_out: Annotated[Path | None, typer.Option("--json", help="Write the report here.")] = None,
    max_faces: Annotated[int, typer.Option(min=1, max=64, help="How many faces are followed at most.")] = 4,
    stabilise: Annotated[bool, typer.Option("--stabilise", help="Steady the classes over time.")] = False,
    detector: Annotated[
        Path | None, typer.Option(help="A model file for OpenCV's FaceDetectorYN, instead of the parser's own search.")
    ] = None,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT to ask of a camera.")] = "640x480",
    rate: Annotated[float, typer.Option(min=1, max=1000, help="Frames per second to ask of a camera.")] = 30,
    opacity: Annotated[float, typer.Option(min=0, max=1, help="Of the classes over the picture.")] = 0.6,
    threads: Threads = None,
    runtime: RuntimeOption = None,
    provider: Provider = "cpu",
) -> None:
    """Parse the faces of a camera, stream or video, and say how fast, from glass to result."""
    import cv2

    from edge_segface.camera.loop import LoopSettings
    from edge_segface.camera.session import Outputs, run_webcam
    from edge_segface.camera.sources import CameraRequest, size_from
    from edge_segface.cli.console import loop_status, notify, print_loop
    from edge_segface.face.parser import FaceParser
    from edge_segface.face.tracker import open_detector
    from edge_segface.files import check_place, write_text

    cv2.utils.logging.setLogLevel(0)  # what it would print, our errors say
    if json_out is not None:
        check_place(json_out)
    wanted = CameraRequest(size_from(size), rate)
    outputs = Outputs(window=not headless, record=record, masks=save_masks, serve=serve)
    settings = LoopSettings(frames, max_faces, stabilise, open_detector(detector) if detector else None, opacity)
    with FaceParser(model, **engine_options(threads, runtime, provider)) as parser:
        report = run_webcam(parser, source, wanted, outputs, settings, say=notify, shown=loop_status)
    print_loop(report)
    if json_out is not None:
        write_text(json.dumps(report, indent=2) + "\n", json_out)


@app.command()
def parse(
    inputs: Annotated[list[str], typer.Argument(help="Pictures, folders or globs.", metavar="INPUT...")],
    out: Annotated[Path, typer.Option(help="Folder for NAME.png (ids) and NAME.overlay.jpg.")],
    model: Model = DEFAULT_MODEL,
    labels: Annotated[Labels | None, typer.Option(help="Label space of the ids; the model's own by default.")] = None,
    overlay: Annotated[bool, typer.Option(help="Draw overlays too.")] = True,
    threads: Threads = None,
    runtime: RuntimeOption = None,
    provider: Provider = "cpu",
) -> None:
    """Parse pictures: one id per pixel, and an overlay to look at."""
    import cv2

    from edge_segface.cli.console import notify, picture_progress
    from edge_segface.face.parse_images import parse_images
    from edge_segface.face.parser import FaceParser
    from edge_segface.image_io import find_images

    cv2.utils.logging.setLogLevel(0)  # what it would print of a broken picture, our error says
    pictures = find_images(inputs)
    with (
        FaceParser(model, **engine_options(threads, runtime, provider)) as parser,
        picture_progress(len(pictures)) as on_done,
    ):
        space = label_space(labels) if labels else parser.space
        notify_lost_parts(parser.space, space)
        summary = parse_images(parser, pictures, out, space=space, draw=overlay, on_done=on_done)
    typer.echo(f"{len(summary.written)} of {len(pictures)} parsed into {out}")
    if summary.failures:
        notify(f"{len(summary.failures)} failed: " + ", ".join(str(path) for path in list(summary.failures)[:5]))
        raise typer.Exit(1)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="Such as segface-mobilenet-celeb-512.")],
    sha256: Annotated[str | None, typer.Option(help="Demand this checksum.")] = None,
) -> None:
    """Download official weights, checked and resumable."""
    from edge_segface.fetch import fetch as run

    fetched = run(name, sha256)
    typer.echo(f"{fetched.path}\nsha256 {fetched.sha256}, revision {fetched.revision}")


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="Of the package (see `edge-segface recipes`), or a YAML file.")],
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    data: Data = None,
    dataset: Annotated[Kind | None, typer.Option(help="Instead of the recipe's kind of dataset.")] = None,
    labels: FolderLabels = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="key=value in the recipe, such as optimizer.lr=1e-3.")
    ] = None,
    skip_bad: SkipBad = False,
    accelerator: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    devices: Annotated[int, typer.Option(min=1, help="Processes on this machine, each with a device.")] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Machines.")] = 1,
    accumulate: Annotated[int, typer.Option(min=1, help="Parts that a batch is cut into, one after another.")] = 1,
    workers: Annotated[
        int | None,
        typer.Option(min=0, help="Processes that prepare pictures, for each device; 2 by default on Linux, else none."),
    ] = None,
    threads: Threads = None,
) -> None:
    """Train a network by a recipe."""
    check_training()
    from edge_segface.cli.console import be_quiet_unless_leading, leads, notify, say, train_progress
    from edge_segface.train.recipe import load_recipe
    from edge_segface.train.run_folder import RunFolder

    be_quiet_unless_leading()
    followed = load_recipe(recipe, [*(changes or ()), *((f"dataset={dataset}",) if dataset else ())])
    named = labels or (followed.label_space if followed.dataset == "folder" else None)
    space = label_space(named) if named else None
    run = RunFolder(out)
    run.check(resume=resume)
    train_set, val_set = (
        opened(followed.dataset, data, split, space, skip_bad=skip_bad)
        for split in (followed.train_split, followed.val_split)
    )
    notify_lost_parts(train_set.space, label_space(followed.label_space))

    import torch  # what is wrong so far is said without it, at once

    from edge_segface.train.loop import train as run_training
    from edge_segface.train.setup import Devices

    if threads is not None:
        torch.set_num_threads(threads)
        os.environ["OMP_NUM_THREADS"] = str(threads)  # which processes that are started for --devices go by
    machines = Devices(accelerator, devices, nodes, accumulate, **({} if workers is None else {"workers": workers}))
    with train_progress() as on_progress:
        trained = run_training(followed, train_set, val_set, run, machines, resume=resume, on_progress=on_progress)
    if trained.stopped:
        notify(f"stopped at step {trained.steps}; go on with --resume")
        raise typer.Exit(130 if leads() else 0)  # a process that fails has the others killed
    say(f"{run.best}  mean F1 {trained.best_f1:.2f} on {len(val_set)} pictures of {val_set.split}")


@app.command()
def recipes(name: Annotated[str | None, typer.Argument(help="Show this one.")] = None) -> None:
    """List the recipes of the package, or show one with all its values."""
    check_training()
    from edge_segface.train.recipe import FOLDER, load_recipe, recipe_names, recipe_text

    if name is not None:
        typer.echo(recipe_text(load_recipe(name)).rstrip())
        return
    for each in recipe_names():
        about = (FOLDER / f"{each}.yaml").read_text(encoding="utf-8").splitlines()[0]
        typer.echo(f"{each:18} {about.removeprefix('# ')}")


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="A bundled name, an .onnx file or a checkpoint.")],
    dataset: Annotated[Kind, typer.Option(help="Which kind of dataset.")],
    data: Data = None,
    labels: FolderLabels = None,
    split: Annotated[
        str | None, typer.Option(help="train, val, test or all; test, or all of a folder, by default.")
    ] = None,
    score_size: Annotated[
        int | None,
        typer.Option(min=16, help="Compare at this size instead of the mask's own, as SegFace's table does."),
    ] = None,
    fit: Annotated[
        Literal["squash", "whole"] | None,
        typer.Option(help="How a picture becomes a square; squash for LaPa and Helen, else whole."),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(help="Input of a checkpoint, by default that of its training."),
    ] = None,
    json_out: Annotated[Path | None, typer.Option("--json", help="Write the numbers here.")] = None,
    skip_bad: SkipBad = False,
    threads: Threads = None,
    runtime: RuntimeOption = None,
    provider: Provider = "cpu",
) -> None:
    """Score a model on a labelled dataset, class by class."""
    from edge_segface.cli.console import print_scores, score_progress
    from edge_segface.evaluate import scored
    from edge_segface.face.parser import FaceParser
    from edge_segface.files import check_place, write_text
    from edge_segface.models import load_engine

    if json_out is not None:
        check_place(json_out)
    split = split or ("all" if dataset == "folder" else "test")
    with FaceParser(load_engine(model, size=size, **engine_options(threads, runtime, provider))) as parser:
        space = label_space(labels) if labels else parser.space if dataset == "folder" else None
        pictures = opened(dataset, data, split, space, skip_bad=skip_bad)
        with score_progress(len(pictures)) as on_done:
            scores = scored(parser, pictures, fit=fit, score_size=score_size, on_done=on_done)
        report = {
            **scores.report(),
            "model": parser.spec.name,
            "engine": parser.engine.description,
            "dataset": {"kind": dataset, "split": split, "score_size": score_size or "own", "fit": fit or "default"},
        }
    if json_out is not None:
        write_text(json.dumps(report, indent=2) + "\n", json_out)
    print_scores(report, parser.space)


@app.command()
def balance(
    weights: Annotated[Path, typer.Argument(help="A checkpoint of ours.")],
    out: Annotated[Path, typer.Option(help="The checkpoint to write.")],
    dataset: Annotated[Kind, typer.Option(help="Which kind of dataset.")],
    data: Data = None,
    labels: FolderLabels = None,
    split: Annotated[str, typer.Option(help="Neither trained on nor, later, reported on.")] = "val",
    size: Annotated[int | None, typer.Option(help="Input, by default that of the training.")] = None,
    skip_bad: SkipBad = False,
    threads: Threads = None,
) -> None:
    """Move where rare classes begin to where their F1 is best, on labelled pictures."""
    check_training()
    resolve(weights)
    import torch

    from edge_segface.cli.console import notify
    from edge_segface.files import check_place
    from edge_segface.model.checkpoint import load_weights, save_weights
    from edge_segface.train.balance import balance as run_balance

    check_place(out)
    if threads is not None:
        torch.set_num_threads(threads)
    loaded = load_weights(weights)
    space = label_space(labels) if labels else loaded.space if dataset == "folder" else None
    with_offsets = run_balance(
        loaded, opened(dataset, data, split, space, skip_bad=skip_bad), size or loaded.size or 512
    )
    save_weights(with_offsets.weights, out)
    moved = ", ".join(f"{name} {offset:+.2f}" for name, offset in with_offsets.offsets.items())
    notify(
        f"each half of the pictures with what the other half chose: mean F1 {with_offsets.crosswise:.2f}; "
        "that is what to expect of other pictures"
    )
    typer.echo(f"{out}  {moved or 'nothing to gain'}; mean F1 {with_offsets.before:.2f} -> {with_offsets.after:.2f}")


@app.command()
def calibrate(
    out: Annotated[
        Path, typer.Option(help="The .npz to write, with a .txt report and a .jpg contact sheet beside it.")
    ],
    model: Model = DEFAULT_MODEL,
    data: Data = None,
    dataset: Annotated[Kind | None, typer.Option(help="Which kind of dataset; instead of --source.")] = None,
    split: Annotated[str | None, typer.Option(help="train by default; never what you score on.")] = None,
    labels: FolderLabels = None,
    source: Annotated[
        str | None, typer.Option(help="Pictures without labels: a folder, a glob, a video or a camera's number.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, help="How long to watch a camera.")] = 60,
    every: Annotated[int, typer.Option(min=1, help="Take every n-th frame of a video or camera.")] = 10,
    count: Annotated[int | None, typer.Option(help="How many pictures; 256 by default.")] = None,
    strategy: Annotated[
        Literal["long-tail", "random"] | None, typer.Option(help="Rare classes first, then variety; or by chance.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="0 by default.")] = None,
    definition: Annotated[
        Path | None, typer.Option(help="A YAML file that says some of this, as in calibration/.")
    ] = None,
    skip_bad: SkipBad = False,
    threads: Threads = None,
    runtime: RuntimeOption = None,
    provider: Provider = "cpu",
) -> None:
    """Choose the pictures that a quantizer calibrates on."""
    from edge_segface.cli.console import count_progress
    from edge_segface.face.parser import FaceParser
    from edge_segface.files import write_text
    from edge_segface.image_io import write_image
    from edge_segface.quantize.calibration.artefact import check_suffix
    from edge_segface.quantize.calibration.collect import Definition, collect, contact_sheet, in_words, load_definition
    from edge_segface.quantize.calibration.sources import frames_of, from_dataset, from_frames

    asked: dict[str, Any] = {
        "dataset": dataset,
        "split": split,
        "labels": labels,
        "count": count,
        "strategy": strategy,
        "seed": seed,
    }
    said = load_definition(definition) if definition else Definition()
    wish = replace(said, **{name: value for name, value in asked.items() if value is not None})
    if (source is None) == (wish.dataset is None):
        raise EdgeSegfaceError("calibration needs --dataset (with --data) or --source", remedy="give one of them")
    check_suffix(out)
    with FaceParser(model, **engine_options(threads, runtime, provider)) as parser:
        if source is None:
            space = label_space(wish.labels) if wish.labels else parser.space if wish.dataset == "folder" else None
            pictures = opened(str(wish.dataset), data, wish.split, space, skip_bad=skip_bad)
            where = f"{pictures.kind} {pictures.root.name} {pictures.split}"
            with count_progress("looking") as on_frame:
                calibration = collect(from_dataset(pictures, parser, on_frame), parser.spec, wish, where, "the dataset")
        else:
            with count_progress("looking") as on_frame:
                squares = from_frames(frames_of(source, seconds, every, on_frame), parser)
                calibration = collect(squares, parser.spec, wish, Path(source).name, parser.spec.name)
    calibration.save(out)
    report = in_words(calibration, parser.space)
    write_text(report, out.with_suffix(".txt"))
    write_image(contact_sheet(calibration), out.with_suffix(".jpg"))
    typer.echo(report + f"\nwrote {out}, {out.with_suffix('.txt')} and {out.with_suffix('.jpg')}")


@app.command()
def export(
    weights: Annotated[str, typer.Argument(help="A checkpoint, ours or official, or a fetched name.")],
    out: Annotated[Path, typer.Option(help="The .onnx file to write.")],
    size: Annotated[int, typer.Option(help="Side of the square input: a multiple of 32 from 128 to 1024.")] = 512,
    outputs: Annotated[Outputs, typer.Option(help="Class ids, low-resolution logits, or both.")] = "labels",
    labels: Annotated[
        Labels | None, typer.Option(help="For official weights with 11 classes: lapa11 (the default) or helen11.")
    ] = None,
    half_weights: Annotated[bool, typer.Option("--half-weights", help="Store weights in 16 bits.")] = False,
    kind: Annotated[
        Literal["onnx", "engine"], typer.Option("--format", help="engine: as build-engine does, with its defaults.")
    ] = "onnx",
) -> None:
    """Turn weights into one ONNX file that describes itself, compared with torch over the whole way."""
    check_torch()
    if kind == "engine":
        if outputs != "labels" or labels or half_weights:
            raise EdgeSegfaceError("an engine is built of a plain export", remedy="export first, then build-engine")
        build_engine_command(weights, out, size=size)
        return
    from edge_segface.cli.console import notify
    from edge_segface.spec import check_size

    check_size(size)
    path = resolve(weights).path
    from edge_segface.export.onnx_export import export_onnx
    from edge_segface.model.checkpoint import load_weights

    loaded = load_weights(path, None if labels is None else label_space(labels))
    if labels is None and loaded.space.name == "lapa11" and loaded.preset == "paper":
        notify("eleven classes: taken for LaPa, which needs five landmarks; say --labels helen11 if it is Helen")
    exported = export_onnx(loaded, out, size=size, outputs=outputs, half_weights=half_weights)
    typer.echo(f"{exported.path}  {exported.path.stat().st_size / 1e6:.1f} MB  parity: {exported.parity}")


@app.command()
def quantize(
    model: Annotated[str, typer.Argument(help="A bundled name or an .onnx file, in fp32.")],
    precision: Annotated[
        Literal["fp16", "int8"], typer.Option(help="fp16 by AutoCast; int8 by Q/DQ, the rest in fp16.")
    ],
    out: Annotated[Path, typer.Option(help="The .onnx file to write.")],
    calibration: Annotated[Path | None, typer.Option(help="For int8: a set made by `calibrate`.")] = None,
    method: Annotated[
        Literal["entropy", "max", "percentile"], typer.Option(help="How ranges follow from the pictures.")
    ] = "entropy",
    percentile: Annotated[
        float, typer.Option(min=50, max=100, help="For --method percentile: the share of values that is kept.")
    ] = 99.99,
    rest: Annotated[Literal["fp16", "fp32"], typer.Option(help="What is not in int8; fp32 for TensorRT 8.6.")] = "fp16",
    keep: Annotated[
        list[str] | None,
        typer.Option(help="Layers that int8 leaves in floating point: '.*/refine_half/.*'."),
    ] = None,
    data: Data = None,
    dataset: Annotated[Kind | None, typer.Option(help="Labelled pictures to measure the drop on.")] = None,
    labels: FolderLabels = None,
    split: Annotated[str, typer.Option(help="Neither trained nor calibrated on.")] = "val",
    skip_bad: SkipBad = False,
    max_drop: Annotated[
        float,
        typer.Option(min=0, help="With --dataset: what F1 the mean, or a class in 30 pictures or more, may lose."),
    ] = 0.5,
    allow_drop: Annotated[bool, typer.Option("--allow-drop", help="Write the file whatever it loses.")] = False,
    scan: Annotated[bool, typer.Option("--scan", help="Rank groups of layers by what int8 does to logits.")] = False,
    threads: Threads = None,
) -> None:
    """Quantize a model to fp16 or int8, and write the file only if its accuracy drop is acceptable."""
    check_quantize()
    from edge_segface.bench.interleave import on_every_runtime
    from edge_segface.cli.console import notify, print_sensitivity, print_speed, print_verdict, quantize_progress
    from edge_segface.models import resolve
    from edge_segface.quantize.accuracy_gate import AccuracyGate
    from edge_segface.quantize.modelopt import check_one_runtime
    from edge_segface.quantize.options import Int8Options
    from edge_segface.quantize.pipeline import quantize as run

    check_one_runtime()
    options = Int8Options(method, percentile, rest, tuple(keep or ()), scan)
    gate = None
    if dataset is not None:
        space = mask_space(labels, dataset, model)
        gate = AccuracyGate(opened(dataset, data, split, space, skip_bad=skip_bad), max_drop, threads)
    with quantize_progress() as progress:
        result = run(
            resolve(model).path, precision, calibration, out,
            options=options, gate=gate, allow_drop=allow_drop, threads=threads, progress=progress,
        )  # fmt: skip
    if result.sensitivity:
        print_sensitivity(result.sensitivity)
    if result.drop is not None:
        print_verdict(result.drop)
    for group, why in (result.model.spec.kept or {}).items():
        notify(f"kept in floating point: {group} ({why})")
    share = f", {100 * result.model.int8_share:.1f} % of multiply-adds in int8" if precision == "int8" else ""
    typer.echo(f"{out}  {out.stat().st_size / 1e6:.1f} MB{share}; {100 * result.agreement:.3f} % of pixels as in fp32")
    print_speed(on_every_runtime({model: resolve(model).path, str(out): out}, threads=threads), model, out)


@app.command(name="build-engine")
def build_engine_command(
    model: Annotated[str, typer.Argument(help="A bundled name, an .onnx file or a checkpoint.")],
    out: Annotated[Path, typer.Option(help="The .engine to write, or an .xml of OpenVINO, or an .onnx.")],
    runtime: Annotated[
        Literal["tensorrt", "tensorrt-rtx", "openvino", "onnxruntime"] | None,
        typer.Option(help="By the suffix of --out, unless told: of the two TensorRTs the one that is installed."),
    ] = None,
    precision: Annotated[
        Literal["fp32", "fp16", "int8"] | None, typer.Option(help="As the file is, unless told.")
    ] = None,
    size: Annotated[int | None, typer.Option(help="Input of a checkpoint, by default that of its training.")] = None,
    calibration: Annotated[Path | None, typer.Option(help="For int8: a set made by `calibrate`.")] = None,
    data: Data = None,
    dataset: Annotated[Kind | None, typer.Option(help="Labelled pictures to measure the drop on.")] = None,
    labels: FolderLabels = None,
    split: Annotated[str, typer.Option(help="Neither trained nor calibrated on.")] = "val",
    skip_bad: SkipBad = False,
    max_drop: Annotated[float, typer.Option(min=0, help="With --dataset: what F1 may lose, as in `quantize`.")] = 0.5,
    allow_drop: Annotated[bool, typer.Option("--allow-drop", help="Build it whatever it loses.")] = False,
    batch: Annotated[str, typer.Option(help="Pictures at a time: a number, or least:usual:most.")] = "1",
    workspace: Annotated[int | None, typer.Option(min=1, help="MB that TensorRT may use while it builds.")] = None,
    optimization: Annotated[int | None, typer.Option(min=0, max=5, help="TensorRT's level; 3 is its default.")] = None,
    timing_cache: Annotated[
        Path | None, typer.Option(help="Folder of timings, by which TensorRT builds faster the next time.")
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option(help="For TensorRT-RTX: a compute capability such as sm89; may be repeated.")
    ] = None,
    dla: Annotated[
        int | None, typer.Option(min=0, help="A DLA core; refused where the network does not suit it.")
    ] = None,
    inspect: Annotated[Path | None, typer.Option(help="Write what is known of every layer, as JSON.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    threads: Threads = None,
) -> None:
    """Build what a device runs: export, lower and compile, as far as that is still to be done."""
    from edge_segface.build import BuildRequest, build_engine, runtime_for
    from edge_segface.cli.console import print_built, step_progress
    from edge_segface.engine.tensorrt.build import PlanSettings
    from edge_segface.files import write_text

    chosen = runtime or runtime_for(out)
    plan = PlanSettings(batch_range(batch), workspace, optimization, timing_cache, tuple(target or ()), dla)
    command = shlex.join(["edge-segface", *sys.argv[1:]])
    wish = BuildRequest(model, out, chosen, precision, size, calibration, plan, threads, command)
    judge = None
    if dataset is not None and not dry_run:
        check_quantize()
        from edge_segface.quantize.accuracy_gate import AccuracyGate

        space = mask_space(labels, dataset, model)
        judge = AccuracyGate(opened(dataset, data, split, space, skip_bad=skip_bad), max_drop, threads)
    with step_progress() as on_step:
        built = build_engine(wish, judge=judge, allow_drop=allow_drop, dry_run=dry_run, on_step=on_step)
    if inspect is not None and built.details:
        write_text(json.dumps(built.details, indent=2) + "\n", inspect)
    print_built(built)


@app.command()
def benchmark(
    models: Annotated[
        list[str] | None,
        typer.Argument(help="Bundled names, model files, checkpoints (with --size).", metavar="MODEL..."),
    ] = None,
    rounds: Annotated[int, typer.Option(min=2, help="How often each engine is timed, in turns.")] = 100,
    batch: Annotated[list[int] | None, typer.Option(min=1, help="Pictures at a time; may be repeated.")] = None,
    size: Annotated[list[int] | None, typer.Option(help="Inputs to export a checkpoint at; may be repeated.")] = None,
    sustain: Annotated[
        str | None, typer.Option(help="Run each for so long (90s, 10m) and log power, temperature and clocks.")
    ] = None,
    json_out: Annotated[Path | None, typer.Option("--json", help="Write the report here.")] = None,
    markdown_out: Annotated[Path | None, typer.Option("--markdown", help="Write its table here.")] = None,
    html_out: Annotated[Path | None, typer.Option("--html", help="Write a page with plots here.")] = None,
    compared: Annotated[
        tuple[Path, Path] | None, typer.Option("--compare", help="Measure nothing: compare two reports.")
    ] = None,
    threads: Threads = None,
    runtime: RuntimeOption = None,
    provider: Provider = "cpu",
) -> None:
    """Measure engines side by side: latency, throughput, memory, and what lasts."""
    from edge_segface.bench.measure import Settings, measure, seconds_from
    from edge_segface.bench.report import as_json, load_report, markdown, page
    from edge_segface.cli.console import notify, print_benchmark, print_comparison, step_progress
    from edge_segface.files import check_place, write_text

    if compared is not None:
        from edge_segface.bench.compare import compare

        print_comparison(compare(*(load_report(path) for path in compared)))
        return
    if not models:
        raise EdgeSegfaceError("there is nothing to measure", remedy="name a model, such as edge-256")
    for path in (json_out, markdown_out, html_out):
        if path is not None:
            check_place(path)
    settings = Settings(
        rounds,
        tuple(batch or (1,)),
        threads,
        runtime,
        None if provider == "cpu" else provider,
        None if sustain is None else seconds_from(sustain),
    )
    with tempfile.TemporaryDirectory() as folder, step_progress() as on_step:
        files = files_of(models, size or [], Path(folder))
        report = measure(files, settings, lambda words: on_step(words, None))
    print_benchmark(report)
    unwritten = []
    for path, written in ((json_out, as_json), (markdown_out, markdown), (html_out, page)):
        try:
            if path is not None:
                write_text(written(report), path)
        except EdgeSegfaceError as error:  # the others are written still
            unwritten.append(error)
    if unwritten:
        raise unwritten[0]
    for failure in report["failures"]:
        notify(f"{failure['model']} was not measured: {failure['error']}")
    if report["failures"]:
        raise typer.Exit(1)


@app.command()
def estimate(
    model: Annotated[str, typer.Argument(help="A bundled name or an .onnx file.")],
    board: Annotated[
        str | None, typer.Option(help="Such as orin-nano-8gb; all of them by default; `here` measures this processor.")
    ] = None,
    precision: Annotated[
        Literal["fp32", "fp16", "int8"] | None, typer.Option(help="That of the file by default.")
    ] = None,
    json_out: Annotated[Path | None, typer.Option("--json", help="Write the numbers here.")] = None,
) -> None:
    """Reckon how fast a model may be on a board: an estimate, not a measurement."""
    from edge_segface.bench import roofline
    from edge_segface.cli.console import print_estimates
    from edge_segface.engine.onnxruntime import spec_of
    from edge_segface.files import check_place, write_text
    from edge_segface.models import resolve

    if json_out is not None:
        check_place(json_out)
    asked = [roofline.board_called(board)] if board else list(roofline.boards().values())
    spec, layers = spec_of(resolve(model).path), roofline.layers_of(resolve(model).path)
    wanted = precision or spec.precision
    able = [one for one in asked if board or one.flops[wanted]]
    found = [roofline.estimate(layers, one, wanted) for one in able]
    print_estimates(spec.name, found)
    if json_out is not None:
        write_text(json.dumps(roofline.report(spec.name, found), indent=2) + "\n", json_out)


@app.command()
def package(
    model: Annotated[str, typer.Argument(help="A bundled name, an .onnx file, or an .engine of TensorRT.")],
    out: Annotated[Path, typer.Option(help="Folder to write NAME into; for Triton, the model repository.")],
    host: Annotated[Literal["triton", "deepstream"], typer.Option("--for", help="What is to run it.")],
    batch: Annotated[
        int | None, typer.Option(min=1, help="The most pictures at a time: 8 for Triton, 1 for DeepStream.")
    ] = None,
    wait_us: Annotated[
        int, typer.Option(min=0, help="For Triton: how long a picture waits for others, in microseconds.")
    ] = 1000,
) -> None:
    """Hand a model over to what is made for many streams."""
    from edge_segface.serving import package_for_deepstream, package_for_triton

    if host == "triton":
        folder = package_for_triton(model, out, most=batch or 8, wait_us=wait_us)
        typer.echo(f"{folder}  serve it with: tritonserver --model-repository={out}")
    else:
        folder = package_for_deepstream(model, out, most=batch or 1)
        typer.echo(f"{folder}  in a pipeline: nvinfer config-file-path={folder / 'config_infer.txt'}")


@app.command()
def doctor(
    json_out: Annotated[Path | None, typer.Option("--json", help="Write all that was found here.")] = None,
) -> None:
    """Say what this machine can run, what is missing, and the command that mends it."""
    from edge_segface.cli.console import print_findings
    from edge_segface.doctor import can_run, examine, report
    from edge_segface.files import write_text

    findings = examine()
    if json_out is not None:
        write_text(json.dumps(report(findings), indent=2) + "\n", json_out)
    print_findings(findings)
    if not can_run(findings):
        raise typer.Exit(1)


@app.command()
def info(
    model: Annotated[str, typer.Argument(help="A bundled name or a model file.")] = DEFAULT_MODEL,
    as_json: Annotated[bool, typer.Option("--json", help="Print the ModelSpec as JSON.")] = False,
) -> None:
    """Say what a model is: its classes, its input, where its weights come from."""
    from edge_segface.cli.console import print_spec
    from edge_segface.models import load_engine
    from edge_segface.spec import to_json

    with load_engine(model) as engine:
        spec = engine.spec
    typer.echo(to_json(spec, indent=2)) if as_json else print_spec(spec)


def version(asked: bool) -> None:
    if asked:
        typer.echo(f"edge-segface {__version__}")
        raise typer.Exit


@app.callback()
def options(
    _: Annotated[bool, typer.Option("--version", callback=version, is_eager=True, help="Print the version.")] = False,
) -> None:
    pass


def opened(kind: str, data: Path | None, split: str, space: LabelSpace | None, *, skip_bad: bool) -> Dataset:
    """A split of a dataset, checked under a progress bar; what was left out is said."""
    from edge_segface.cli.console import check_progress, notify_left_out
    from edge_segface.data import open_dataset

    with check_progress() as on_checked:
        dataset = open_dataset(kind, data, split, space, skip_bad=skip_bad, on_checked=on_checked)
    notify_left_out(dataset)
    return dataset


def engine_options(threads: int | None, runtime: Runtime | None, provider: str) -> dict[str, Any]:
    """What was asked for; engines that have no such setting refuse it."""
    asked = {"threads": threads, "runtime": runtime, "provider": None if provider == "cpu" else provider}
    return {name: value for name, value in asked.items() if value is not None}


def files_of(models: list[str], sizes: list[int], folder: Path) -> list[tuple[str, Path | EdgeSegfaceError]]:
    """Name and file of every model, or why there is none; checkpoints are exported into `folder`, at each size."""
    files: list[tuple[str, Path | EdgeSegfaceError]] = []
    for model in models:
        try:
            files += files_of_one(model, sizes, folder / str(len(files)))
        except EdgeSegfaceError as error:
            files.append((model, error))
    return files


def files_of_one(model: str, sizes: list[int], folder: Path) -> list[tuple[str, Path | EdgeSegfaceError]]:
    found = resolve(model)
    if not found.is_checkpoint:
        return [(model, found.path)]
    check_torch()
    path = found.path
    from edge_segface.export.onnx_export import export_onnx
    from edge_segface.model.checkpoint import load_weights

    weights = load_weights(path)
    return [
        (f"{model} at {side}", export_onnx(weights, folder / f"{path.stem}-{side}.onnx", size=side).path)
        for side in sizes or [weights.size or 512]
    ]


def batch_range(text: str) -> tuple[int, int, int]:
    numbers = text.split(":")
    if len(numbers) not in (1, 3) or not all(number.isdecimal() for number in numbers):
        raise EdgeSegfaceError(f"{text!r} is no batch", remedy="say a number, or least:usual:most, as in 1:2:4")
    least, usual, most = (int(number) for number in (numbers * 3 if len(numbers) == 1 else numbers))
    return least, usual, most


def notify_lost_parts(source: LabelSpace, target: LabelSpace) -> None:
    from edge_segface.cli.console import notify
    from edge_segface.labels import lost_parts

    if lost := lost_parts(source, target):
        notify(f"{target.name} lacks some parts: " + ", ".join(f"{part} becomes {into}" for part, into in lost.items()))


def main() -> None:
    exit_on_termination()
    try:
        app()
    except EdgeSegfaceError as error:
        from edge_segface.cli.console import leads_here

        if leads_here() or isinstance(error, SampleLostError):
            typer.secho(f"error: {error}", fg="red", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
