"""How cost grows: with the input size, faces, sources, the batch, viewers of the page, and threads.

    python benchmarks/growth.py [--rounds N]

Each line is measured by turns over its points, so that a busy second hits all of them.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import common
import numpy as np
from common import Report
from loop import read_stream

from edge_segface.assets import FOLDER, PORTRAIT
from edge_segface.bench.interleave import interleaved, noise_images
from edge_segface.bench.plots import growth_charts
from edge_segface.camera.loop import CameraLoop, LoopSettings, MultiCameraLoop
from edge_segface.camera.sources import DemoSource
from edge_segface.camera.viewer.server import PageSink
from edge_segface.export.onnx_export import export_onnx
from edge_segface.face.parser import FaceParser
from edge_segface.face.tracker import FaceTracker
from edge_segface.frames import UInt8Array
from edge_segface.image_io import read_image
from edge_segface.model.checkpoint import load_weights
from edge_segface.models import load_engine
from edge_segface.timing import Stopwatch

MODEL = "edge-256"
ROUNDS = 15
SIZES = (128, 192, 256, 320, 384, 448, 512)
FACES = (1, 2, 4, 8, 12, 16, 20, 30)
SOURCES = (1, 2, 4, 8)
BATCHES = (1, 2, 4, 8, 16)
VIEWERS = (0, 1, 2, 5, 10, 20)
THREADS = (1, 2)
FRAMES = 150  # of a loop
SETTLE = 120  # frames in which the tracker finds the faces

Points = list[tuple[float, float]]


def main() -> None:
    arguments = common.argument_parser(__doc__)
    common.add_rounds(arguments, ROUNDS)
    options = arguments.parse_args()
    lines: dict[str, dict[str, Any]] = {}
    for name, (x, y, measure) in LINES.items():
        lines[name] = {"x": x, "y": y, "points": measure(options.rounds)}
        print(name, lines[name]["points"], flush=True)
    with FaceParser(MODEL) as parser:
        engine = parser.engine.description
    report = {**common.new_report("openvino", "onnxruntime"), "model": MODEL, "engine": engine, "lines": lines}
    common.write_result("growth", report)
    print(table(report))


def medians(calls: Mapping[int, Callable[[], object]], rounds: int, scale: float = 1e3) -> Points:
    """Time the calls by turns and return the median of each, by default in ms."""
    seconds = interleaved({str(value): call for value, call in calls.items()}, rounds)
    return [(float(value), round(scale * float(np.median(seconds[str(value)])), 3)) for value in calls]


def input_sizes(rounds: int) -> Points:
    weights = load_weights(FOLDER / "edge.pt")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        calls = {}
        for size in SIZES:
            path = export_onnx(weights, Path(folder) / f"{size}.onnx", size=size).path
            engine = stack.enter_context(load_engine(path))
            calls[size] = partial(engine.infer, noise_images(size))
        return medians(calls, rounds)


def batches(rounds: int) -> Points:
    """Return the time of one image of a batch."""
    with load_engine(MODEL) as engine:
        calls = {batch: partial(engine.infer, noise_images(256, batch)) for batch in BATCHES}
        return [(batch, round(ms / batch, 3)) for batch, ms in medians(calls, rounds)]


def thread_counts(rounds: int) -> Points:
    with ExitStack() as stack:
        calls = {}
        for threads in THREADS:
            engine = stack.enter_context(load_engine(MODEL, threads=threads))
            calls[threads] = partial(engine.infer, noise_images(256))
        return medians(calls, rounds)


def face_counts(rounds: int) -> Points:
    """Return the time of a frame by the number of faces that the tracker found, all in frames of one size."""
    with FaceParser(MODEL) as parser:
        calls = {}
        for count in FACES:
            tracker, image, watch = FaceTracker(parser, max_faces=count), crowd(count), Stopwatch()
            for number in range(SETTLE):
                tracker.update(image, number / 30, watch)
            calls[len(tracker.tracks)] = partial(tracker.update, image, SETTLE / 30, watch)
        return medians(calls, rounds)


def crowd(count: int) -> UInt8Array:
    """Return a frame of 1920x1080 with so many portraits in a grid."""
    portrait = read_image(PORTRAIT)[:216, 60:276]
    frame = np.full((1080, 1920, 3), 120, np.uint8)
    for number in range(count):
        top, left = 216 * (number // 8), 240 * (number % 8)
        frame[top : top + 216, left : left + 216] = portrait
    return frame


def source_counts(rounds: int) -> Points:
    """Return the frames per second of all sources together."""
    rates: dict[int, list[float]] = {count: [] for count in SOURCES}
    with FaceParser(MODEL) as parser:
        for _ in range(max(3, rounds // 3)):
            for count in SOURCES:
                loop = MultiCameraLoop(parser, LoopSettings(FRAMES))
                for number in range(count):
                    loop.add(str(number), DemoSource)
                start = time.perf_counter()
                loop.run()
                rates[count].append(count * FRAMES / (time.perf_counter() - start))
    return [(count, round(float(np.median(found)), 1)) for count, found in rates.items()]


def viewer_counts(rounds: int) -> Points:
    """Return the frames per second of the loop while viewers on the same cores receive its stream."""
    rates: dict[int, list[float]] = {count: [] for count in VIEWERS}
    with FaceParser(MODEL) as parser:
        CameraLoop(parser, DemoSource, settings=LoopSettings(FRAMES)).run()  # the first loop is slower
        for _ in range(max(3, rounds // 3)):
            for count in VIEWERS:
                page = PageSink("127.0.0.1:0", parser.space)
                with watching(page, count):
                    report = CameraLoop(parser, DemoSource, lambda _, page=page: [page], LoopSettings(FRAMES)).run()  # type: ignore[misc]
                rates[count].append(report["glass_to_result_fps"])
    return [(count, round(float(np.median(found)), 1)) for count, found in rates.items()]


@contextmanager
def watching(page: PageSink, count: int) -> Iterator[None]:
    """Let viewers receive the stream and discard it."""
    received = [0] * count
    threads = [threading.Thread(target=read_stream, args=(page.url, received, index)) for index in range(count)]
    for thread in threads:
        thread.start()
    while page.viewers < count:
        time.sleep(0.01)
    yield
    for thread in threads:
        thread.join(10)


LINES: dict[str, tuple[str, str, Callable[[int], Points]]] = {
    "input size": ("pixels", "ms", input_sizes),
    "batch": ("images", "ms an image", batches),
    "threads": ("threads", "ms", thread_counts),
    "faces": ("tracked faces", "ms a frame", face_counts),
    "sources": ("sources", "FPS together", source_counts),
    "viewers": ("viewers", "FPS", viewer_counts),
}


def figure(report: Report) -> str:
    """Draw each line in a chart of its own."""
    return growth_charts({name: (line["x"], line["y"], line["points"]) for name, line in report["lines"].items()})


def table(report: Report) -> str:
    rows = [
        [name, f"{line['y']} by {line['x']}", ", ".join(f"{x:g}: {y:g}" for x, y in line["points"])]
        for name, line in report["lines"].items()
    ]
    return common.markdown_table(("grows", "measured", "values"), rows) + common.footer(
        "growth", report, f"`{report['model']}` in {report['engine']}; medians, points by turns."
    )


if __name__ == "__main__":
    main()
