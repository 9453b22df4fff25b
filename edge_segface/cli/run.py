"""Commands that parse images and video: parse, webcam."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from edge_segface.assets import DEFAULT_MODEL, MIN_FACE_SCORE, PHOTO_MODEL
from edge_segface.cli.options import (
    CAMERA,
    DRAWING,
    ENGINE,
    FACES,
    OUTPUT,
    Device,
    JsonOut,
    LabelsName,
    Model,
    Provider,
    RuntimeOption,
    Threads,
    comma_separated,
    engine_options,
    json_writer,
)


def parse(
    inputs: Annotated[list[str], typer.Argument(help="Images, folders or glob patterns.", metavar="INPUT")],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="Folder for NAME.png (one class id per pixel), NAME.json and the rest.",
            rich_help_panel=OUTPUT,
        ),
    ] = Path("parsed"),
    model: Model = PHOTO_MODEL,
    whole: Annotated[
        bool,
        typer.Option(
            "--whole", help="Parse each image as one face, without finding faces first.", rich_help_panel=FACES
        ),
    ] = False,
    faces: Annotated[
        int | None, typer.Option(min=1, help="Parse at most this many faces, the largest.", rich_help_panel=FACES)
    ] = None,
    min_score: Annotated[
        float,
        typer.Option(min=0, max=1, help="Report faces of at least this probability, 0 to 1.", rich_help_panel=FACES),
    ] = MIN_FACE_SCORE,
    labels: Annotated[
        LabelsName | None,
        typer.Option(help="Label space of the class ids. Default: the model's own.", rich_help_panel=OUTPUT),
    ] = None,
    overlay: Annotated[
        bool, typer.Option(help="Write NAME.overlay.jpg: the classes drawn over the image.", rich_help_panel=OUTPUT)
    ] = True,
    colour_map: Annotated[
        bool,
        typer.Option("--colour-map", help="Write NAME.colour.png: classes as colours.", rich_help_panel=OUTPUT),
    ] = False,
    sheet: Annotated[
        bool,
        typer.Option("--sheet", help="Write NAME.sheet.jpg: image, overlay and legend.", rich_help_panel=OUTPUT),
    ] = False,
    crops: Annotated[
        bool, typer.Option("--crops", help="Write NAME.face1.jpg, ...: one image per face.", rich_help_panel=OUTPUT)
    ] = False,
    polygons: Annotated[
        bool,
        typer.Option("--polygons", help="Write polygons.json: all outlines in COCO's format.", rich_help_panel=OUTPUT),
    ] = False,
    alpha: Annotated[
        list[str] | None,
        typer.Option(
            help="Write NAME.PART.alpha.png: the soft mask of a part, such as hair or person; may be repeated.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    max_megapixels: Annotated[
        float | None, typer.Option(min=0.01, help="Reject larger images before decoding them. Default: 120.")
    ] = None,
    threads: Threads = None,
    runtime: RuntimeOption = None,
    provider: Provider = "cpu",
    device: Device = None,
) -> None:
    """Find and parse the faces of images: one class id per pixel, a JSON record, and an overlay to look at."""
    import cv2

    from edge_segface.cli.console.messages import warn
    from edge_segface.cli.console.progress import progress_bar
    from edge_segface.cli.console.tables import print_parsed
    from edge_segface.face.parse_images import ParseOptions, parse_images
    from edge_segface.face.parser import FaceParser
    from edge_segface.image_io import MAX_MEGAPIXELS_VARIABLE, find_images
    from edge_segface.labels import describe_lost_parts, label_space

    cv2.utils.logging.setLogLevel(0)  # our own errors report broken images
    if max_megapixels is not None:
        os.environ[MAX_MEGAPIXELS_VARIABLE] = str(max_megapixels)
    images = find_images(inputs)
    with FaceParser(model, **engine_options(threads, runtime, provider, device)) as parser, progress_bar() as progress:
        space = label_space(labels) if labels else parser.space
        if lost := describe_lost_parts(parser.space, space):
            warn(lost)
        options = ParseOptions(
            space,
            whole=whole,
            max_faces=faces,
            min_score=min_score,
            overlay=overlay,
            colour_map=colour_map,
            sheet=sheet,
            crops=crops,
            polygons=polygons,
            alpha=tuple(alpha or ()),
        )
        summary = parse_images(parser, images, out, options, progress=progress)
    print_parsed(summary, len(images), out)
    if summary.failures:
        raise typer.Exit(1)


def webcam(
    sources: Annotated[
        list[str] | None,
        typer.Option(
            "--source",
            "-s",
            help="Camera number or /dev/videoN, csi://N, rtsp://, http://, gst:PIPELINE, a video, images, or demo. "
            "May be repeated: one engine parses them all. Default: 0.",
            show_default=False,
            rich_help_panel=CAMERA,
        ),
    ] = None,
    model: Model = DEFAULT_MODEL,
    headless: Annotated[bool, typer.Option("--headless", help="Open no window.", rich_help_panel=OUTPUT)] = False,
    frames: Annotated[
        int | None, typer.Option(min=1, help="Stop after this many frames.", rich_help_panel=CAMERA)
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(help="Record the drawn frames: .mp4, .mkv, .mov or .avi.", rich_help_panel=OUTPUT),
    ] = None,
    save_masks: Annotated[
        Path | None,
        typer.Option(help="Folder for one PNG of class ids per frame, named as the images.", rich_help_panel=OUTPUT),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace an existing recording, and remove all masks of the earlier run in the folder.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    serve: Annotated[
        str | None,
        typer.Option(
            help="HOST:PORT of a live web page. Hosts other than loopback need a token.", rich_help_panel=OUTPUT
        ),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="Certificate (PEM), to serve the page by HTTPS.", rich_help_panel=OUTPUT)
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(help="Private key (PEM) of --tls-cert.", rich_help_panel=OUTPUT)
    ] = None,
    json_out: JsonOut = None,
    max_faces: Annotated[int, typer.Option(min=1, max=64, help="Largest number of faces to track.")] = 4,
    stabilise: Annotated[bool, typer.Option("--stabilise", help="Reduce flicker of the classes over time.")] = False,
    detector: Annotated[
        Path | None,
        typer.Option(help="Model file for OpenCV's FaceDetectorYN. Default: faces are found by the parser itself."),
    ] = None,
    size: Annotated[
        str, typer.Option(help="Frame size to request from a camera, as WIDTHxHEIGHT.", rich_help_panel=CAMERA)
    ] = "640x480",
    rate: Annotated[
        float, typer.Option(min=1, max=1000, help="Frame rate to request from a camera.", rich_help_panel=CAMERA)
    ] = 30,
    credentials: Annotated[
        Path | None,
        typer.Option(
            help="File with USER:PASSWORD of a network camera. Default: the variable EDGE_SEGFACE_CREDENTIALS.",
            rich_help_panel=CAMERA,
        ),
    ] = None,
    opacity: Annotated[
        float, typer.Option(min=0, max=1, help="Opacity of the overlay.", rich_help_panel=DRAWING)
    ] = 0.6,
    classes: Annotated[
        str | None,
        typer.Option(help="Draw only these parts, such as hair,lips. Default: all.", rich_help_panel=DRAWING),
    ] = None,
    boxes: Annotated[bool, typer.Option(help="Draw a box around each face.", rich_help_panel=DRAWING)] = True,
    hud: Annotated[bool, typer.Option(help="Write both frame rates into the frame.", rich_help_panel=DRAWING)] = True,
    legend: Annotated[bool, typer.Option(help="List the classes that occur.", rich_help_panel=DRAWING)] = False,
    alpha: Annotated[
        str | None,
        typer.Option(
            help="Show only this part, such as person or hair, with soft edges and nothing drawn over it; "
            "--save-masks then saves its alpha.",
            rich_help_panel=DRAWING,
        ),
    ] = None,
    backdrop: Annotated[
        str | None,
        typer.Option(
            help="What is behind --alpha: a colour (name or #rrggbb), blur or an image file. Default: green.",
            rich_help_panel=DRAWING,
        ),
    ] = None,
    max_fps: Annotated[
        float | None,
        typer.Option("--max-fps", help="Parse at most so many frames a second of each source.", rich_help_panel=CAMERA),
    ] = None,
    every: Annotated[int, typer.Option(min=1, help="Parse every N-th frame only.", rich_help_panel=CAMERA)] = 1,
    no_overlap: Annotated[
        bool,
        typer.Option(
            "--no-overlap",
            help="Finish each frame before the next is prepared: slower where frames wait, and never a frame behind.",
            rich_help_panel=ENGINE,
        ),
    ] = False,
    threads: Threads = None,
    runtime: RuntimeOption = None,
    provider: Provider = "cpu",
    device: Device = None,
) -> None:
    """Parse the faces of cameras, stream or video, and report both frame rates: engine only and end to end."""
    import cv2

    from edge_segface.camera.loop import LoopSettings
    from edge_segface.camera.result import DrawOptions
    from edge_segface.camera.session import Outputs, run_webcam
    from edge_segface.camera.sources import CameraRequest, size_from
    from edge_segface.camera.sources.base import Credentials
    from edge_segface.cli.console.messages import warn
    from edge_segface.cli.console.progress import loop_status
    from edge_segface.cli.console.tables import print_loop, print_sources
    from edge_segface.compositing import open_backdrop
    from edge_segface.engine.watched import WatchedEngine
    from edge_segface.face.detector import open_detector
    from edge_segface.face.parser import FaceParser
    from edge_segface.machine import share_malloc_arenas
    from edge_segface.models import load_engine, load_loop_engine

    cv2.utils.logging.setLogLevel(0)  # our own errors report broken sources
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    write_json = json_writer(json_out)
    request = CameraRequest(size_from(size), rate, credentials=Credentials.load(credentials))
    tls = check_tls(tls_cert, tls_key, serve)
    outputs = Outputs(not headless, record, save_masks, serve, tls, overwrite=overwrite)
    check_drawing(classes, alpha, backdrop)
    parts = None if classes is None else comma_separated(classes)
    draw = DrawOptions(opacity, parts, boxes, hud, legend, alpha, open_backdrop(backdrop or "green"))
    finder = open_detector(detector) if detector else None
    settings = LoopSettings(
        frames, max_faces, stabilise, finder, draw, overlap=not no_overlap, every=every, max_fps=max_fps
    )
    share_malloc_arenas()
    load = load_engine if no_overlap else load_loop_engine
    open_engine = partial(load, model, **engine_options(threads, runtime, provider, device))
    with WatchedEngine(open_engine, warn) as engine:
        parser = FaceParser(engine)
        report = run_webcam(parser, sources or ["0"], request, outputs, settings, on_message=warn, status=loop_status)
    reports = report["sources"].values() if "sources" in report else [report]
    if "sources" in report:
        print_sources(report)
    else:
        print_loop(report)
    write_json(report)
    if any(one.get("skipped") or one["failure"] for one in reports):
        raise typer.Exit(1)


def check_tls(certificate: Path | None, key: Path | None, serve: str | None) -> tuple[Path, Path] | None:
    """Return both files, or None; reject one without the other, and both without a page."""
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise typer.BadParameter("--tls-cert and --tls-key belong together", param_hint="--tls-cert")
    if serve is None:
        raise typer.BadParameter("it has no effect without --serve", param_hint="--tls-cert")
    return certificate, key


def check_drawing(classes: str | None, alpha: str | None, backdrop: str | None) -> None:
    """Reject drawing options that would have no effect."""
    if classes is not None and not classes.replace(",", " ").strip():
        raise typer.BadParameter("name at least one part, such as hair", param_hint="--classes")
    if classes is not None and alpha is not None:
        raise typer.BadParameter("it has no effect with --alpha, which draws no classes", param_hint="--classes")
    if backdrop is not None and alpha is None:
        raise typer.BadParameter("it has no effect without --alpha PART", param_hint="--backdrop")
