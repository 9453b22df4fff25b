"""A camera loop for hours: reconnects, new recordings, viewers that come and go, and a control that leaks.

    python benchmarks/soak.py [--hours 2] [--save]

A camera on loopback serves the built-in clip as Motion JPEG and disconnects now and then. A process of its own runs one
loop after another over it, each with a recording and the page. Memory, descriptors and threads of that process are
read every few seconds. The judgement compares the last tenth of the time with the first tenth after a warm-up. The
control does the same and keeps some frames and files on purpose: a judgement that lets it pass would say nothing.
"""

from __future__ import annotations

import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import common
import cv2
import numpy as np
import psutil
from common import Report

from edge_segface.camera.loop import CameraLoop, LoopSettings
from edge_segface.camera.reader import SourceReader
from edge_segface.camera.recording import Recording
from edge_segface.camera.result import FrameResult
from edge_segface.camera.sinks import Sink
from edge_segface.camera.sources import DemoSource, open_source
from edge_segface.camera.viewer.server import PageSink
from edge_segface.face.parser import FaceParser
from edge_segface.machine import share_malloc_arenas

MODEL = "edge-256"
FPS = 30.0
FRAMES_A_LOOP = 900
BREAKS_AFTER = (100, 1500)  # frames
KEPT_RECORDINGS = 3
READ_EVERY_S = 5.0
WARM_UP = 0.1  # share of the time
MOST_MB, MOST_DESCRIPTORS, MOST_THREADS = 40.0, 8, 4  # growth that is let pass
CONTROL_HOURS = 0.05


def main() -> None:
    arguments = common.argument_parser(__doc__)
    arguments.add_argument("--hours", type=float, default=2.0, help="Default: 2.")
    arguments.add_argument("--fps", type=float, default=FPS, help=f"Frame rate of the camera. Default: {FPS:g}.")
    arguments.add_argument("--save", action="store_true", help="Write results/soak.json.")
    arguments.add_argument("--loops", metavar="URL", help="Run the loops of one process; used by this script.")
    arguments.add_argument("--page-port", type=int, default=0)
    arguments.add_argument("--leak", action="store_true", help="Leak on purpose.")
    options = arguments.parse_args()
    if options.loops:
        run_loops(options.loops, options.page_port, leak=options.leak)
        return
    report = {
        **common.new_report("onnxruntime", "opencv-python"),
        "model": MODEL,
        "limits": {"memory_mb": MOST_MB, "descriptors": MOST_DESCRIPTORS, "threads": MOST_THREADS},
        "camera_fps": options.fps,
        "soak": watched(options.hours, options.fps, leak=False),
        "control": watched(min(CONTROL_HOURS, options.hours), options.fps, leak=True),
    }
    print(table(report))
    if options.save:
        common.write_result("soak", report)
    sys.exit(0 if report["soak"]["passed"] and not report["control"]["passed"] else 1)


@dataclass(frozen=True)
class Reading:
    """What a process holds at one time."""

    memory_mb: float
    descriptors: int
    threads: int


def watched(hours: float, fps: float, *, leak: bool) -> dict[str, Any]:
    """Run the loops for so long and judge what their process held."""
    readings: list[Reading] = []
    port = free_port()
    with camera(fps) as served:
        command = [sys.executable, __file__, "--loops", served.url, "--page-port", str(port)]
        command += ["--leak"] if leak else []
        with tempfile.TemporaryFile("w+") as output, subprocess.Popen(command, stdout=output) as process:
            try:
                with viewers(port) as visits:
                    end = time.monotonic() + 3600 * hours
                    while time.monotonic() < end and process.poll() is None:
                        time.sleep(READ_EVERY_S)
                        with suppress(psutil.Error):
                            readings.append(reading_of(psutil.Process(process.pid)))
                ended_early = process.poll() is not None
            finally:
                process.terminate()
                process.wait(30)
            output.seek(0)
            loops = [line.split() for line in output.read().splitlines()]
        breaks = served.breaks
    growth = growth_of(readings)
    passed = not ended_early and all(
        grown <= most for grown, most in zip(growth.values(), (MOST_MB, MOST_DESCRIPTORS, MOST_THREADS), strict=True)
    )
    return {
        "hours": round(hours, 3),
        "loops": len(loops),
        "frames": sum(int(line[0]) for line in loops),
        "reconnects": sum(int(line[1]) for line in loops),
        "unreadable_recordings": sum(line[2] != "readable" for line in loops),
        "camera_breaks": breaks,
        "visits": visits[0],
        "memory_mb_at_most": round(max(reading.memory_mb for reading in readings), 1),
        "growth": growth,
        "passed": passed,
    }


def reading_of(process: psutil.Process) -> Reading:
    return Reading(process.memory_info().rss / 1e6, process.num_fds(), process.num_threads())


def growth_of(readings: list[Reading]) -> dict[str, float]:
    """Return the medians of the last tenth minus those of the first tenth after the warm-up."""
    rest = readings[int(WARM_UP * len(readings)) :]
    count = max(1, len(rest) // 10)
    first, last = rest[:count], rest[-count:]

    def median(some: list[Reading], name: str) -> float:
        return float(np.median([getattr(reading, name) for reading in some]))

    names = ("memory_mb", "descriptors", "threads")
    return {name: round(median(last, name) - median(first, name), 1) for name in names}


def run_loops(url: str, port: int, *, leak: bool) -> None:
    """Run one loop after another, until the process is ended; print a line for each."""
    leaked: list[object] = []
    share_malloc_arenas()  # as `webcam` does
    with tempfile.TemporaryDirectory() as name, FaceParser(MODEL, runtime="onnxruntime") as parser:
        folder = Path(name)
        for number in range(1_000_000):
            path = folder / f"{number}.mp4"
            sinks = partial(open_sinks, parser, path, port, leaked if leak else None)
            loop = CameraLoop(parser, partial(open_source, url), sinks, LoopSettings(frames=FRAMES_A_LOOP))
            report = loop.run()
            readable = cv2.VideoCapture(str(path)).read()[0]
            print(report["frames"], report["reconnects"], "readable" if readable else "unreadable", flush=True)
            for old in sorted(folder.glob("*.mp4"), key=lambda file: int(file.stem))[:-KEPT_RECORDINGS]:
                old.unlink()


def open_sinks(
    parser: FaceParser, path: Path, port: int, leaked: list[object] | None, reader: SourceReader
) -> list[Sink]:
    sinks: list[Sink] = [PageSink(f"127.0.0.1:{port}", parser.space), Recording(path, reader.fps, live=True)]
    return sinks if leaked is None else [*sinks, Leak(leaked)]


class Leak:
    """Keeps a frame and an open file now and then, as a program with a fault would."""

    name = "leak"
    draws = False

    def __init__(self, leaked: list[object]) -> None:
        self._leaked = leaked

    def show(self, result: FrameResult) -> None:
        if result.frame.index % 30 == 0:
            self._leaked.append((result.frame.image_bgr.copy(), open("/dev/null", "rb")))  # noqa: SIM115

    def close(self) -> None:
        pass


class Camera(ThreadingHTTPServer):
    """Serves the built-in clip as Motion JPEG, and disconnects after some frames."""

    daemon_threads = True

    def __init__(self, fps: float) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.fps = fps
        self.url = f"http://127.0.0.1:{self.server_address[1]}/video"
        self.breaks = 0
        source = DemoSource()
        self.frames = [cv2.imencode(".jpg", source.read())[1].tobytes() for _ in range(300)]
        self.random = random.Random(0)


class Answer(BaseHTTPRequestHandler):
    server: Camera

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        count = self.server.random.randrange(*BREAKS_AFTER)
        with suppress(OSError):
            for number in range(count):
                jpeg = self.server.frames[number % len(self.server.frames)]
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg + b"\r\n")
                time.sleep(1 / self.server.fps)
            self.server.breaks += 1

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def camera(fps: float) -> Iterator[Camera]:
    with Camera(fps) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()


def free_port() -> int:
    """Return a port that nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def viewers(port: int) -> Iterator[list[int]]:
    """Let viewers come, look for some seconds or say nothing, and go; yield their number."""
    visits, stop, rng = [0], threading.Event(), random.Random(1)

    def visit() -> None:
        while not stop.wait(rng.uniform(0.1, 3)):
            connection = HTTPConnection("127.0.0.1", port, timeout=5)
            with suppress(OSError, HTTPException):
                connection.connect()
                visits[0] += 1
                if rng.random() < 0.7:
                    connection.request("GET", "/stream")
                    answer, until = connection.getresponse(), time.monotonic() + rng.uniform(0, 8)
                    while time.monotonic() < until and not stop.is_set() and answer.read(65536):
                        pass
                else:
                    stop.wait(rng.uniform(0, 3))
            connection.close()

    threads = [threading.Thread(target=visit, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield visits
    finally:
        stop.set()
        for thread in threads:
            thread.join(10)


def table(report: Report) -> str:
    """Return the figures as Markdown."""
    columns = ["", "hours", "loops", "frames", "reconnects", "visits", "most, MB"]
    columns += ["growth, MB", "descriptors", "threads", "passes"]
    rows = []
    for name, title in (("soak", "the loop"), ("control", "a loop that leaks")):
        row = report[name]
        grown = [f"{row['growth'][key]:+g}" for key in ("memory_mb", "descriptors", "threads")]
        numbers = [row[key] for key in ("loops", "frames", "reconnects", "visits", "memory_mb_at_most")]
        rows.append([title, f"{row['hours']:g}", *numbers, *grown, "yes" if row["passed"] else "no"])
    limits, soak = report["limits"], report["soak"]
    return common.markdown_table(columns, rows) + common.footer(
        "soak",
        report,
        f"`{report['model']}`. Growth of memory, descriptors and threads: medians of the last tenth of the time minus "
        f"those of the first after a warm-up. At most {limits['memory_mb']:g} MB, {limits['descriptors']} descriptors "
        f"and {limits['threads']} threads pass.",
        f"The camera sent {report['camera_fps']:g} frames a second and disconnected {soak['camera_breaks']} times; "
        f"{soak['unreadable_recordings']} of {soak['loops']} recordings could not be read back.",
    )


if __name__ == "__main__":
    main()
