"""The camera loop: both rates, an earlier state of the code, latency, a soak test, a failing camera, and viewers.

    python benchmarks/loop.py [rates] [before --checkout DIR] [latency] [soak] [failures] [viewers] [--frames N]

The source is the built-in clip at 640x480, read as fast as possible, without a window. Each part can run alone.
Rates: ONNX Runtime and OpenVINO by turns, with and without overlap, in one process. Before: `edge-segface webcam` of a
checkout of an earlier commit and of this one by turns, each with the model that it bundles. Latency: a camera of 30
frames a second. Soak: the same weights at 128, so that a hundred thousand
frames take minutes. Failures: a GStreamer camera whose process is killed repeatedly while its frames are recorded.
Viewers: browsers that receive the stream of the viewer page.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import common
import cv2
import numpy as np
import psutil
from common import Report, Row

from edge_segface.assets import FOLDER
from edge_segface.bench.plots import bar_chart
from edge_segface.camera.loop import CameraLoop, LoopSettings
from edge_segface.camera.recording import Recording
from edge_segface.camera.sources import DemoSource
from edge_segface.camera.sources.gstreamer import GstSource
from edge_segface.camera.sources.pipelines import user_pipeline
from edge_segface.camera.stats import STAGES
from edge_segface.camera.viewer.server import PageSink
from edge_segface.engine import Runtime
from edge_segface.face.parser import FaceParser
from edge_segface.frames import UInt8Array
from edge_segface.models import load_engine, load_loop_engine
from edge_segface.paper import PAPER_FPS

MODEL = "edge-256"
RUNTIMES: tuple[Runtime, ...] = ("onnxruntime", "openvino")
ROUNDS = 8
FRAMES = 300
SOAK_FRAMES = 100_000
SOAK_WARM_UP = 5_000
FAILURES = 50
CAMERA = "videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=60/1"
VIEWERS = 20
RATE_TITLES = {"engine_fps": "engine only", "glass_to_result_fps": "end to end"}


def main() -> None:
    parts: dict[str, Callable[[Namespace], object]] = {
        "rates": rates,
        "before": before,
        "latency": latency,
        "soak": soak,
        "failures": failures,
        "viewers": viewers,
    }
    arguments = common.argument_parser(__doc__)
    arguments.add_argument("parts", nargs="*", metavar="PART", help=f"Default: all of {', '.join(parts)}.")
    arguments.add_argument("--frames", type=int, default=SOAK_FRAMES, help=f"Of the soak (default: {SOAK_FRAMES}).")
    arguments.add_argument("--checkout", type=Path, help="Of the earlier commit.")
    options = arguments.parse_args()
    for name in options.parts or [name for name in parts if name != "before" or options.checkout]:
        result = {
            **common.new_report("onnxruntime", "openvino", "opencv-python"),
            "result": parts[name](options),
        }
        saved = common.read_result("loop") if common.result_path("loop").exists() else {"schema": 1}
        common.write_result("loop", {**saved, name: result})
    print(table(common.read_result("loop")))


def rates(_: Namespace) -> list[Row]:
    """Run the loop in both runtimes by turns, with and without overlap, as `webcam` does; the first round warms up."""
    with ExitStack() as stack:
        cases = {}
        for name, runtime in (("ONNX Runtime", RUNTIMES[0]), ("OpenVINO", RUNTIMES[1])):
            for overlap in (True, False):
                engine = stack.enter_context((load_loop_engine if overlap else load_engine)(MODEL, runtime=runtime))
                cases[name, overlap] = FaceParser(engine), LoopSettings(FRAMES, overlap=overlap)
        reports: dict[tuple[str, bool], list[Report]] = {case: [] for case in cases}
        for index in range(ROUNDS + 1):
            for case, (parser, settings) in cases.items():
                time.sleep(0.1)
                report = CameraLoop(parser, DemoSource, settings=settings).run()
                if index:
                    reports[case].append(report)
    return [{**rates_row(name, reports[name, overlap]), "overlap": overlap} for name, overlap in reports]


def before(options: Namespace) -> dict[str, Any]:
    """Run the command of an earlier commit and of this one by turns, in each runtime."""
    trees = {"before": options.checkout.resolve(), "now": Path(__file__).resolve().parent.parent}
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=trees["before"], check=True, capture_output=True, text=True
    ).stdout.strip()
    rates: dict[str, dict[str, list[float]]] = {}
    for index in range(ROUNDS + 1):
        for runtime in ("onnxruntime", "openvino"):
            for name, tree in trees.items():
                report = webcam_report(tree, runtime)
                if index:
                    rates.setdefault(runtime, {}).setdefault(name, []).append(report["glass_to_result_fps"])
    rows = [
        {
            "runtime": runtime,
            "before_fps": median(found["before"]),
            "now_fps": median(found["now"]),
            "ratio": median([now / then for now, then in zip(found["now"], found["before"], strict=True)]),
        }
        for runtime, found in rates.items()
    ]
    return {"commit": commit, "rounds": ROUNDS, "frames": FRAMES, "rows": rows}


def webcam_report(tree: Path, runtime: str) -> Report:
    """Run the built-in clip with the code in a folder, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        arguments = [
            "--source",
            "demo",
            "--headless",
            "--frames",
            str(FRAMES),
            "--runtime",
            runtime,
            "--json",
            str(path),
        ]
        subprocess.run(
            [sys.executable, "-m", "edge_segface", "webcam", *arguments],
            cwd=folder, env={**os.environ, "PYTHONPATH": str(tree)}, check=True, capture_output=True,
        )  # fmt: skip
        report: Report = json.loads(path.read_text(encoding="utf-8"))
        return report


class PacedClip(DemoSource):
    """The built-in clip as a camera delivers it, thirty times a second."""

    live = True

    def __init__(self) -> None:
        super().__init__()
        self._next_s = time.monotonic()

    def read(self) -> UInt8Array:
        self._next_s += 1 / self.fps
        frame = super().read()
        time.sleep(max(0.0, self._next_s - time.monotonic()))
        return frame


def latency(_: Namespace) -> list[Row]:
    """Measure the time from capture to result with a camera, in both runtimes by turns."""
    rows = []
    for runtime in RUNTIMES:
        with load_loop_engine(MODEL, runtime=runtime) as engine:
            report = CameraLoop(FaceParser(engine), PacedClip, settings=LoopSettings(10 * FRAMES)).run()
            rows.append(
                {
                    key: report[key]
                    for key in ("engine", "frames", "dropped", "glass_to_result_fps", "latency_ms", "cpu_cores")
                }
            )
    return rows


def rates_row(name: str, reports: list[Report]) -> Row:
    ratios = [report["glass_to_result_fps"] / report["engine_fps"] for report in reports]
    return {
        "engine": reports[0]["engine"],
        "engine_fps": median([report["engine_fps"] for report in reports]),
        "glass_to_result_fps": median([report["glass_to_result_fps"] for report in reports]),
        "ratio": median(ratios, digits=3),
        "stages_p50_ms": {
            stage: median([report["stages_ms"][stage]["p50"] for report in reports])
            for stage in reports[0]["stages_ms"]
        },
        "rounds": len(reports),
        "frames": FRAMES,
        "name": name,
    }


def median(values: list[float], digits: int = 2) -> float:
    return round(float(np.median(values)), digits)


def soak(options: Namespace) -> dict[str, Any]:
    """Run many frames, and watch the memory of this process."""
    threads = threading.active_count()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "edge-128.onnx"
        # In another process, so that torch does not count towards the memory of this one.
        command = ["edge_segface", "export", str(FOLDER / "edge.pt"), "--size", "128", "--out", str(path)]
        subprocess.run([sys.executable, "-m", *command], check=True)
        with FaceParser(path) as parser:
            loop = CameraLoop(parser, DemoSource, settings=LoopSettings(options.frames))
            with resident_mb(loop, min(SOAK_WARM_UP, options.frames // 10)) as megabytes:
                report = loop.run()
    return {
        **{key: report[key] for key in ("frames", "seconds", "engine_fps", "glass_to_result_fps", "faces_per_frame")},
        "memory_mb": {
            "first": round(megabytes[0], 1),
            "least": round(min(megabytes), 1),
            "most": round(max(megabytes), 1),
        },
        "growth_percent": round(100 * (max(megabytes) / megabytes[0] - 1), 2),
        "threads_left": threading.active_count() - threads,
    }


@contextmanager
def resident_mb(loop: CameraLoop, warm_up_frames: int) -> Iterator[list[float]]:
    """Collect this process's memory every second, and once at the end, after the loop's first frames."""
    process, megabytes, done = psutil.Process(), list[float](), threading.Event()

    def watch() -> None:
        while not done.wait(1):
            if loop.stats.frames >= warm_up_frames:
                megabytes.append(process.memory_info().rss / 1e6)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield megabytes
    finally:
        done.set()
        watcher.join()
        megabytes.append(process.memory_info().rss / 1e6)


def failures(_: Namespace) -> dict[str, Any]:
    """Kill the camera's process repeatedly; the loop has to reconnect and the recording to go on."""
    pipeline = user_pipeline(CAMERA)
    opened: list[GstSource] = []

    def open_camera() -> GstSource:
        opened.append(GstSource("camera", [pipeline]))
        return opened[-1]

    def kill_repeatedly() -> None:
        for _ in range(FAILURES):
            count = len(opened)
            opened[-1]._process.popen.kill()
            while len(opened) == count:
                time.sleep(0.02)
            time.sleep(0.3)
        loop.stop.set()

    with tempfile.TemporaryDirectory() as folder, FaceParser(MODEL) as parser:
        out = Path(folder) / "recording.mp4"
        loop = CameraLoop(parser, open_camera, lambda _: [Recording(out, 60, live=False)])
        killer = threading.Timer(2, kill_repeatedly)
        killer.start()
        report = loop.run()
        killer.join()
        recorded = count_frames(out)
    return {
        "killed": FAILURES,
        "reconnects": report["reconnects"],
        "frames": report["frames"],
        "recorded": recorded,
        "seconds": report["seconds"],
    }


def count_frames(path: Path) -> int:
    video, frames = cv2.VideoCapture(str(path)), 0
    while video.read()[0]:
        frames += 1
    return frames


def viewers(_: Namespace) -> list[Row]:
    """Serve the viewer page to no, one and many viewers."""
    with FaceParser(MODEL) as parser:
        return [viewers_row(parser, count) for count in (0, 1, VIEWERS)]


def viewers_row(parser: FaceParser, count: int, runs: int = 3) -> Row:
    results = [run_with_viewers(parser, count) for _ in range(runs)]
    seconds = sum(report["seconds"] for report, _ in results)
    return {
        "viewers": count,
        "glass_to_result_fps": median([report["glass_to_result_fps"] for report, _ in results]),
        "mb_per_s_sent": round(sum(sent for _, sent in results) / seconds / 1e6, 1),
    }


def run_with_viewers(parser: FaceParser, count: int) -> tuple[Report, int]:
    """Return the report of a run and the bytes that all viewers received. They read the stream and discard it."""
    page = PageSink("127.0.0.1:0", parser.space)
    received = [0] * count
    readers = [
        threading.Thread(target=read_stream, args=(page.url, received, index), daemon=True) for index in range(count)
    ]
    for reader in readers:
        reader.start()
    while page.viewers < count:
        time.sleep(0.01)
    report = CameraLoop(parser, DemoSource, partial(as_list, page), LoopSettings(FRAMES)).run()
    for reader in readers:
        reader.join(5)
    return report, sum(received)


def as_list(page: PageSink, _: object) -> list[PageSink]:
    return [page]


def read_stream(url: str, received: list[int], index: int) -> None:
    connection = HTTPConnection("127.0.0.1", urlparse(url).port or 0, timeout=30)
    connection.request("GET", "/stream")
    response = connection.getresponse()
    while content := response.read1(1 << 16):
        received[index] += len(content)


def figure(report: Report) -> str:
    """Draw both rates of each runtime."""
    values = {
        f"{row['name']}, {title}": row[key]
        for row in report["rates"]["result"]
        if row["overlap"]
        for key, title in RATE_TITLES.items()
    }
    return bar_chart(list(values), list(values.values()), PAPER_FPS, len(RATE_TITLES))


def table(report: Report) -> str:
    writers = {
        "rates": rates_table, "before": before_table, "latency": latency_table, "soak": soak_text,
        "failures": failures_text, "viewers": viewers_table,
    }  # fmt: skip
    paragraphs = [write(report[name]) for name, write in writers.items() if name in report]
    return "\n".join([*paragraphs, common.made_by("loop") + "\n"])


def rates_table(part: Report) -> str:
    rows = part["result"]
    columns = ("engine", "overlap", "engine only, FPS", "end to end, FPS", "ratio", "share of the paper's FPS")
    cells = (
        (
            row["engine"],
            "yes" if row["overlap"] else "no",
            f"{row['engine_fps']:.1f}",
            f"{row['glass_to_result_fps']:.1f}",
            f"{row['ratio']:.2f}",
            f"{row['glass_to_result_fps'] / PAPER_FPS:.2f}",
        )
        for row in rows
    )
    stages = [stage for stage in STAGES if any(stage in row["stages_p50_ms"] for row in rows)]
    times = (
        (
            row["name"],
            "yes" if row["overlap"] else "no",
            *(f"{row['stages_p50_ms'].get(stage, 0):.2f}" for stage in stages),
            f"{1e3 / row['glass_to_result_fps']:.2f}",
        )
        for row in rows
    )
    return (
        f"{common.markdown_table(columns, cells)}\n"
        f"Where the time goes, medians in ms; with overlap, stages run side by side:\n\n"
        f"{common.markdown_table(('runtime', 'overlap', *stages, 'from result to result'), times)}\n"
        f"`{MODEL}`, the built-in clip at 640x480 read as fast as possible, one face, nothing drawn; medians of "
        f"{rows[0]['rounds']} runs of {rows[0]['frames']} frames, by turns. {common.machine_line(part)}\n"
    )


def before_table(part: Report) -> str:
    result = part["result"]
    cells = (
        (row["runtime"], f"{row['before_fps']:.1f}", f"{row['now_fps']:.1f}", f"{row['ratio']:.2f}")
        for row in result["rows"]
    )
    return (
        f"{common.markdown_table(('runtime', 'before, FPS', 'now, FPS', 'ratio'), cells)}\n"
        f"End to end, `edge-segface webcam` of commit {result['commit']} and of this one by turns, each with the model "
        f"that it bundles: medians of {result['rounds']} runs of {result['frames']} frames, and of the ratios of each "
        f"round. {common.machine_line(part)}\n"
    )


def latency_table(part: Report) -> str:
    columns = ("engine", "FPS", "dropped", "p50 ms", "p90 ms", "p99 ms", "busy cores")
    cells = (
        (
            row["engine"], f"{row['glass_to_result_fps']:.1f}", row["dropped"],
            *(f"{row['latency_ms'][name]:.1f}" for name in ("p50", "p90", "p99")), f"{row['cpu_cores']:.2f}",
        )
        for row in part["result"]
    )  # fmt: skip
    return (
        f"{common.markdown_table(columns, cells)}\n"
        f"From capture to result with a camera of 30 frames a second (33.3 ms each), {part['result'][0]['frames']} "
        f"frames. {common.machine_line(part)}\n"
    )


def soak_text(part: Report) -> str:
    result = part["result"]
    memory = result["memory_mb"]
    return (
        f"Soak: {result['frames']} frames of the same weights at 128 in {result['seconds'] / 60:.0f} minutes; memory "
        f"{memory['first']} MB after the first {SOAK_WARM_UP} frames, at most {memory['most']} MB "
        f"({result['growth_percent']:+.1f} %), {result['threads_left']} threads left at the end. "
        f"{common.machine_line(part)}\n"
    )


def failures_text(part: Report) -> str:
    result = part["result"]
    return (
        f"Failures: the camera's process was killed {result['killed']} times in {result['seconds']:.0f} s and "
        f"reconnected {result['reconnects']} times; {result['recorded']} of {result['frames']} results are in the one "
        f"recording. {common.machine_line(part)}\n"
    )


def viewers_table(part: Report) -> str:
    cells = (
        (row["viewers"], f"{row['glass_to_result_fps']:.1f}", f"{row['mb_per_s_sent']:.1f}") for row in part["result"]
    )
    columns = ("viewers of the page", "end to end, FPS", "sent, MB/s")
    return f"{common.markdown_table(columns, cells)}\nThe viewers run on the same cores. {common.machine_line(part)}\n"


if __name__ == "__main__":
    main()
