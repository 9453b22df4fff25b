"""The camera loop: both rates, a soak, sources that fail, and viewers. Each part can be run alone.

    python benchmarks/loop.py [rates] [soak] [failures] [viewers] [--frames N]

The source is the built-in clip at 640x480, as fast as it comes, without a window. Rates: ONNX Runtime and OpenVINO in
turns, one after another in one process. Soak: the same weights at 128, so that a hundred thousand frames take minutes.
Failures: a GStreamer camera whose process is killed again and again while its pictures are recorded.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from http.client import HTTPConnection
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import cv2
import numpy as np
import psutil

from edge_segface.assets import FOLDER
from edge_segface.bench.plots import bars
from edge_segface.camera.loop import CameraLoop, LoopSettings
from edge_segface.camera.sinks import Recording
from edge_segface.camera.sources import DemoSource
from edge_segface.camera.sources.gstreamer import GstSource
from edge_segface.camera.sources.pipelines import user_pipeline
from edge_segface.camera.viewer.server import PageSink
from edge_segface.face.parser import FaceParser
from edge_segface.files import write_text
from edge_segface.machine import machine_info
from edge_segface.paper import PAPER_FPS

RESULT = Path(__file__).parent / "results" / "loop.json"
ROUNDS = 8
FRAMES = 300
SOAK_FRAMES = 100_000
WARM_UP = 5_000
FAILURES = 50
VIEWERS = 20


def main() -> None:
    parts: dict[str, Callable[[argparse.Namespace], object]] = {
        "rates": rates,
        "soak": soak,
        "failures": failures,
        "viewers": viewers,
    }
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(parts)}; all by default")
    options.add_argument("--frames", type=int, default=SOAK_FRAMES, help="of the soak")
    asked = options.parse_args()
    for name in asked.parts or parts:
        result = {
            "date": time.strftime("%Y-%m-%d"),
            "machine": machine_info(),
            "versions": {package: version(package) for package in ("onnxruntime", "openvino", "opencv-python")},
            "result": parts[name](asked),
        }
        report = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {"schema": 1}
        write_text(json.dumps({**report, name: result}, indent=2) + "\n", RESULT)
    print(table(json.loads(RESULT.read_text(encoding="utf-8"))))


def rates(_: argparse.Namespace) -> list[dict[str, Any]]:
    rows = []
    with FaceParser("edge-256") as one, FaceParser("edge-256", runtime="openvino") as other:
        runs: dict[str, list[dict[str, Any]]] = {"ONNX Runtime": [], "OpenVINO": []}
        for index in range(ROUNDS + 1):
            for name, parser in (("ONNX Runtime", one), ("OpenVINO", other)):
                time.sleep(0.1)
                report = CameraLoop(parser, DemoSource, settings=LoopSettings(FRAMES)).run()
                if index:
                    runs[name].append(report)
    for name, reports in runs.items():
        rows.append(
            {
                "engine": reports[0]["engine"],
                "engine_fps": median(reports, "engine_fps"),
                "glass_to_result_fps": median(reports, "glass_to_result_fps"),
                "ratio": round(
                    float(np.median([one["glass_to_result_fps"] / one["engine_fps"] for one in reports])), 3
                ),
                "stages_p50_ms": {
                    stage: round(float(np.median([report["stages_ms"][stage]["p50"] for report in reports])), 2)
                    for stage in reports[0]["stages_ms"]
                },
                "rounds": len(reports),
                "frames": FRAMES,
                "name": name,
            }
        )
    return rows


def median(reports: list[dict[str, Any]], key: str) -> float:
    return round(float(np.median([report[key] for report in reports])), 2)


def soak(asked: argparse.Namespace) -> dict[str, Any]:
    threads = threading.active_count()
    process = psutil.Process()
    megabytes: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "edge-128.onnx"  # by another process, so that torch is not in the memory of this one
        command = ["edge_segface", "export", str(FOLDER / "edge.pt"), "--size", "128", "--out", str(path)]
        subprocess.run([sys.executable, "-m", *command], check=True)
        with FaceParser(path) as parser:
            loop = CameraLoop(parser, DemoSource, settings=LoopSettings(asked.frames))
            done = threading.Event()

            def watch() -> None:
                while not done.wait(1):
                    if loop.meter.frames >= min(WARM_UP, asked.frames // 10):
                        megabytes.append(process.memory_info().rss / 1e6)

            watcher = threading.Thread(target=watch)
            watcher.start()
            report = loop.run()
            done.set()
            watcher.join()
    return {
        "frames": report["frames"],
        "seconds": report["seconds"],
        "engine_fps": report["engine_fps"],
        "glass_to_result_fps": report["glass_to_result_fps"],
        "faces_per_frame": report["faces_per_frame"],
        "memory_mb": {
            "first": round(megabytes[0], 1),
            "least": round(min(megabytes), 1),
            "most": round(max(megabytes), 1),
        },
        "growth_percent": round(100 * (max(megabytes) / megabytes[0] - 1), 2),
        "threads_left": threading.active_count() - threads,
    }


def failures(_: argparse.Namespace) -> dict[str, Any]:
    pipeline = user_pipeline("videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=60/1")
    opened: list[GstSource] = []

    def camera() -> GstSource:
        opened.append(GstSource("camera", [pipeline]))
        return opened[-1]

    with tempfile.TemporaryDirectory() as folder, FaceParser("edge-256") as parser:
        out = Path(folder) / "recording.mp4"

        def sinks(_: object) -> list[Recording]:
            return [Recording(out, 60, live=False)]

        loop = CameraLoop(parser, camera, sinks)

        def kill() -> None:
            for _ in range(FAILURES):
                count = len(opened)
                opened[-1]._process.popen.kill()
                while len(opened) == count:
                    time.sleep(0.02)
                time.sleep(0.3)
            loop.stop.set()

        killer = threading.Timer(2, kill)
        killer.start()
        report = loop.run()
        killer.join()
        video, frames = cv2.VideoCapture(str(out)), 0
        while video.read()[0]:
            frames += 1
    return {
        "killed": FAILURES,
        "reconnects": report["reconnects"],
        "frames": report["frames"],
        "recorded": frames,
        "seconds": report["seconds"],
    }


def viewers(_: argparse.Namespace) -> list[dict[str, Any]]:
    """Each viewer takes the stream as a browser does, and throws it away."""
    rows = []
    with FaceParser("edge-256") as parser:
        for count in (0, 1, VIEWERS):
            reports = []
            received = 0
            for _ in range(3):
                page = PageSink("127.0.0.1:0", parser.space)
                counts = [0] * count
                readers = [
                    threading.Thread(target=read_all, args=(page.url, counts, at), daemon=True) for at in range(count)
                ]
                for reader in readers:
                    reader.start()
                while page.viewers < count:
                    time.sleep(0.01)
                reports.append(CameraLoop(parser, DemoSource, partial(list_of, page), LoopSettings(FRAMES)).run())
                for reader in readers:
                    reader.join(5)
                received += sum(counts)
            seconds = sum(report["seconds"] for report in reports)
            rows.append(
                {
                    "viewers": count,
                    "glass_to_result_fps": median(reports, "glass_to_result_fps"),
                    "mb_per_s_sent": round(received / seconds / 1e6, 1),
                }
            )
    return rows


def list_of(page: PageSink, _: object) -> list[PageSink]:
    return [page]


def read_all(url: str, counts: list[int], at: int) -> None:
    connection = HTTPConnection("127.0.0.1", urlparse(url).port or 0, timeout=30)
    connection.request("GET", "/stream")
    answer = connection.getresponse()
    while content := answer.read1(1 << 16):
        counts[at] += len(content)


def picture(report: dict[str, Any]) -> str:
    kinds = {"engine_fps": "engine only", "glass_to_result_fps": "glass to result"}
    values = {f"{row['name']}, {words}": row[key] for row in report["rates"]["result"] for key, words in kinds.items()}
    return bars(list(values), list(values.values()), PAPER_FPS, len(kinds))


def table(report: dict[str, Any]) -> str:
    part = report["rates"]
    rows = part["result"]
    lines = [
        "| engine | engine only, FPS | glass to result, FPS | ratio | of the paper's |",
        "|---|---|---|---|---|",
        *(
            f"| {row['engine']} | {row['engine_fps']:.1f} | {row['glass_to_result_fps']:.1f} | {row['ratio']:.2f} | "
            f"{row['glass_to_result_fps'] / PAPER_FPS:.2f} |"
            for row in rows
        ),
        "",
        f"`edge-256`, the built-in clip at 640x480 as fast as it comes, one face, nothing drawn; medians of "
        f"{rows[0]['rounds']} runs of {rows[0]['frames']} frames in turns. {where(part)}",
    ]
    if "soak" in report:
        result, memory = report["soak"]["result"], report["soak"]["result"]["memory_mb"]
        lines += [
            "",
            f"Soak: {result['frames']} frames of the same weights at 128 in {result['seconds'] / 60:.0f} minutes; "
            f"memory {memory['first']} MB after the first {WARM_UP}, {memory['most']} MB at most "
            f"({result['growth_percent']:+.1f} %), {result['threads_left']} threads left at the end. "
            f"{where(report['soak'])}",
        ]
    if "failures" in report:
        result = report["failures"]["result"]
        lines += [
            "",
            f"Failures: the camera's process was killed {result['killed']} times in {result['seconds']:.0f} s and "
            f"opened again {result['reconnects']} times; of {result['frames']} results {result['recorded']} are in the "
            f"one recording. {where(report['failures'])}",
        ]
    if "viewers" in report:
        lines += [
            "",
            "| viewers of the page | glass to result, FPS | sent, MB/s |",
            "|---|---|---|",
            *(
                f"| {row['viewers']} | {row['glass_to_result_fps']:.1f} | {row['mb_per_s_sent']:.1f} |"
                for row in report["viewers"]["result"]
            ),
            "",
            f"Viewers on the same two cores, ONNX Runtime. {where(report['viewers'])}",
        ]
    return "\n".join([*lines, "", "Made by `benchmarks/loop.py`."]) + "\n"


def where(part: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in part["versions"].items())
    return f"{part['machine']['cpu']}, {part['machine']['cores']} cores, {versions}, {part['date']}."


if __name__ == "__main__":
    main()
