"""The command line: a table of commands. Each body is one call and one print; what is heavy is imported inside.

Results go to stdout, progress and errors to stderr. Exit codes: 0, 1 for our own errors (one line), 2 for usage.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from edge_segface import __version__
from edge_segface.errors import EdgeSegfaceError, MissingExtra
from edge_segface.labels import label_space
from edge_segface.weights import DEFAULT_MODEL

if TYPE_CHECKING:
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


@app.command()
def demo(
    model: Model = DEFAULT_MODEL,
    out: Annotated[Path, typer.Option(help="Folder for demo.png and demo.json.")] = Path("demo"),
    frames: Annotated[int, typer.Option(min=2, help="How often the picture is parsed.")] = 100,
    threads: Threads = None,
    provider: Provider = "cpu",
) -> None:
    """Parse the built-in picture over and over: what it sees, and how fast."""
    from edge_segface.console import print_demo
    from edge_segface.demo import run_demo

    print_demo(run_demo(model, out, frames, threads=threads, provider=provider))


@app.command()
def parse(
    inputs: Annotated[list[str], typer.Argument(help="Pictures, folders or globs.", metavar="INPUT...")],
    out: Annotated[Path, typer.Option(help="Folder for NAME.png (ids) and NAME.overlay.jpg.")],
    model: Model = DEFAULT_MODEL,
    labels: Annotated[Labels | None, typer.Option(help="Label space of the ids; the model's own by default.")] = None,
    overlay: Annotated[bool, typer.Option(help="Draw overlays too.")] = True,
    threads: Threads = None,
    provider: Provider = "cpu",
) -> None:
    """Parse pictures: one id per pixel, and an overlay to look at."""
    import cv2

    from edge_segface.console import notify, picture_progress
    from edge_segface.parse import parse_pictures
    from edge_segface.parser import FaceParser
    from edge_segface.pictures import find_pictures

    cv2.utils.logging.setLogLevel(0)  # what it would print of a broken picture, our error says
    pictures = find_pictures(inputs)
    with FaceParser(model, threads=threads, provider=provider) as parser, picture_progress(len(pictures)) as on_done:
        space = label_space(labels) if labels else parser.space
        notify_lost_parts(parser.space, space)
        summary = parse_pictures(parser, pictures, out, space=space, draw=overlay, on_done=on_done)
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
def export(
    weights: Annotated[str, typer.Argument(help="A checkpoint, ours or official, or a fetched name.")],
    out: Annotated[Path, typer.Option(help="The .onnx file to write.")],
    size: Annotated[int, typer.Option(help="Side of the square input: a multiple of 32 from 128 to 1024.")] = 512,
    outputs: Annotated[Outputs, typer.Option(help="Class ids, low-resolution logits, or both.")] = "labels",
    labels: Annotated[
        Labels | None, typer.Option(help="For official weights with 11 classes: lapa11 (the default) or helen11.")
    ] = None,
    half_weights: Annotated[bool, typer.Option("--half-weights", help="Store weights in 16 bits.")] = False,
) -> None:
    """Turn weights into one ONNX file that describes itself, compared with torch over the whole way."""
    check_torch()
    from edge_segface.console import notify
    from edge_segface.export.onnx_file import export_onnx
    from edge_segface.fetch import SOURCES, path_of
    from edge_segface.model.checkpoint import load_weights

    path = path_of(weights) if weights in SOURCES else Path(weights)
    if weights in SOURCES and not path.exists():
        raise EdgeSegfaceError(f"{weights} is not here yet", remedy=f"run: edge-segface fetch {weights}")
    loaded = load_weights(path, None if labels is None else label_space(labels))
    if labels is None and loaded.space.name == "lapa11" and loaded.preset == "paper":
        notify("eleven classes: taken for LaPa, which needs five landmarks; say --labels helen11 if it is Helen")
    exported = export_onnx(loaded, out, size=size, outputs=outputs, half_weights=half_weights)
    typer.echo(f"{exported.path}  {exported.path.stat().st_size / 1e6:.1f} MB  parity: {exported.parity}")


@app.command()
def info(
    model: Annotated[str, typer.Argument(help="A bundled name or a model file.")] = DEFAULT_MODEL,
    as_json: Annotated[bool, typer.Option("--json", help="Print the ModelSpec as JSON.")] = False,
) -> None:
    """Say what a model is: its classes, its input, where its weights come from."""
    from edge_segface.console import print_spec
    from edge_segface.engine import load_engine
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


def check_torch() -> None:
    try:
        import onnx  # noqa: F401
        import timm  # noqa: F401
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtra(str(error.name), "train", "making models") from error


def notify_lost_parts(source: LabelSpace, target: LabelSpace) -> None:
    from edge_segface.console import notify
    from edge_segface.labels import lost_parts

    if lost := lost_parts(source, target):
        notify(f"{target.name} lacks some parts: " + ", ".join(f"{part} becomes {into}" for part, into in lost.items()))


def main() -> None:
    for name in ("SIGTERM", "SIGHUP"):  # end as Ctrl-C does, so that what is half written is removed
        if number := getattr(signal, name, None):
            signal.signal(number, lambda caught, frame: sys.exit(128 + caught))  # noqa: ARG005
    try:
        app()
    except EdgeSegfaceError as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
