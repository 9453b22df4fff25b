"""Every format that `export` writes: size, agreement with ONNX Runtime, F1 on held-out images, and time where it runs.

    python benchmarks/targets.py --data DIR [--labels NAME] [--precision P] [--calibration SET.npz] [FORMAT...]

Measures the formats whose packages are installed, and replaces their rows in results/targets.json: those of converters
that exclude each other come from environments of their own. Each is timed in one interleaved run with ONNX Runtime on
the same number of threads; only the ratio can be compared between rows. `--chromium` times the page in a browser.
"""

from __future__ import annotations

import functools
import http.server
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import common
import numpy as np
from common import Report, Row

from edge_segface.assets import BUNDLED, DEFAULT_MODEL
from edge_segface.bench.interleave import interleaved, noise_images
from edge_segface.data import Dataset
from edge_segface.engine import Engine
from edge_segface.evaluate import evaluate
from edge_segface.export.targets import TARGETS, Options, Run
from edge_segface.export.targets.convert import Converted, convert
from edge_segface.face.parser import FaceParser
from edge_segface.files import size_mb
from edge_segface.frames import UInt8Array
from edge_segface.machine import machine_info
from edge_segface.models import load_engine
from edge_segface.quantize.calibration.artefact import CalibrationSet

ROUNDS = 30
RUNTIMES = {"ncnn": "ncnn", "litert": "LiteRT", "executorch": "ExecuTorch", "portable": "ONNX Runtime"}
NOT_TIMED = {
    "portable": "by the runtime that reads it",
    "executorch": "not timed: it chooses its own number of threads",
    "coreml": "converted only: it runs on Apple's systems",
    "hailo": "ONNX file only: Hailo's compiler needs a registration",
    "rknn": "in the toolkit's simulator, whose time says nothing",
    "web": "in Node; for browsers see below",
}


def main() -> None:
    arguments = common.argument_parser(__doc__)
    installed = [name for name, target in TARGETS.items() if all(map(find_spec, target.modules))]
    arguments.add_argument("formats", nargs="*", default=installed, metavar="FORMAT", help="Default: all installed.")
    common.add_dataset(arguments)
    common.add_rounds(arguments, ROUNDS)
    arguments.add_argument("--precision", choices=("fp32", "fp16", "int8"), help="Default: that of each format.")
    arguments.add_argument("--calibration", type=Path, help="Calibration set, for int8.")
    arguments.add_argument("--chromium", help="Also time the page in this browser.")
    options = arguments.parse_args()
    images = None if options.calibration is None else CalibrationSet.load(options.calibration).images_bgr
    val_set = common.open_split(options, "val")
    report: Report = {"schema": 1, "rows": []}
    if common.result_path("targets").exists():
        report = common.read_result("targets")
    with tempfile.TemporaryDirectory() as folder:
        for name in options.formats:
            out = Path(folder) / f"{DEFAULT_MODEL}{TARGETS[name].suffix or '-site'}"
            given = Options(options.precision, images, "rk3588" if name == "rknn" else "")
            row = measured(name, out, given, val_set, options.rounds)
            key = row["format"], row["precision"]
            report["rows"] = [*(each for each in report["rows"] if (each["format"], each["precision"]) != key), row]
            print(row)
            if name == "ncnn":
                report["runtimes"] = {threads: runtimes(out, threads, options.rounds) for threads in ("1", "2")}
            if name == "web" and options.chromium:
                report["web"] = in_browser(out, options.chromium)
    report["rows"].sort(key=lambda row: (list(TARGETS).index(row["format"]), row["precision"]))
    report |= {"data": f"{len(val_set)} held-out images of {options.data.name}", "date": time.strftime("%Y-%m-%d")}
    report["machine"] = machine_info()
    common.write_result("targets", report)
    print(table(report))


def measured(name: str, out: Path, options: Options, val_set: Dataset, rounds: int) -> Row:
    """Convert, and return a row with what could be measured here."""
    source = BUNDLED[DEFAULT_MODEL]
    made = convert(name, source, out, options)
    row: Row = {
        "format": name,
        "precision": made.record.model.precision,
        "mb": round(size_mb(out), 1),
        "agreement": made.record.agreement,
        "made_with": made.record.made_with,
        "not_timed": NOT_TIMED.get(name),
        "date": time.strftime("%Y-%m-%d"),
    }
    with running(name, made, options) as run:
        if run is None:
            return row
        engine: Any = RunEngine(made, run)
        scores = evaluate(FaceParser(engine), val_set).report()
        row |= {"mean_f1": scores["mean_f1"], "long_tail_f1": scores["long_tail_f1"]}
        if name not in NOT_TIMED:
            row |= times(run, rounds)
    return row


@contextmanager
def running(name: str, made: Converted, options: Options) -> Iterator[Run | None]:
    """Yield a function that runs the format: the engine of a runtime of ours, else the converter's own check."""
    if name == "ncnn":
        with load_engine(made.path, threads=1) as engine:
            yield lambda image: engine.infer(image[None])[0]
        return
    from edge_segface.export.targets.channels_first import channels_first

    planes = channels_first(BUNDLED[DEFAULT_MODEL])
    with tempfile.TemporaryDirectory() as folder:
        module = import_module(f"edge_segface.export.targets.{name}")
        with module.converted(planes, Path(folder) / made.path.name, options) as run:
            yield run


class RunEngine:
    """What `evaluate` needs of an engine."""

    gpu_ms = None

    def __init__(self, made: Converted, run: Run) -> None:
        self.spec = made.record.model
        self.description = made.record.format
        self._run = run

    def infer(self, images: UInt8Array) -> UInt8Array:
        return np.stack([self._run(image) for image in images])


def times(run: Run, rounds: int) -> Row:
    """Time it against ONNX Runtime with one thread, from bytes to classes, in one interleaved run."""
    image = noise_images(256)
    with load_engine(DEFAULT_MODEL, runtime="onnxruntime", threads=1) as engine:
        calls = {"format": lambda: run(image[0]), "onnxruntime": lambda: engine.infer(image)}
        seconds = interleaved(calls, rounds)
    return {
        "ms": common.median_ms(seconds["format"]),
        "onnxruntime_ms": common.median_ms(seconds["onnxruntime"]),
        "times_onnxruntime": common.speed_up(seconds["format"], seconds["onnxruntime"]),
    }


def runtimes(ncnn_model: Path, threads: str, rounds: int) -> dict[str, float]:
    """Return the median ms of one image in ncnn, ONNX Runtime and OpenVINO, from one interleaved run."""
    models = {"ncnn": ncnn_model, "onnxruntime": BUNDLED[DEFAULT_MODEL], "openvino": BUNDLED[DEFAULT_MODEL]}
    image = noise_images(256)
    with ExitStack() as stack:
        calls = {}
        for runtime, model in models.items():
            engine = stack.enter_context(load_engine(model, runtime=runtime, threads=int(threads)))  # type: ignore[arg-type]
            calls[runtime] = functools.partial(engine.infer, image)
        return {runtime: common.median_ms(seconds) for runtime, seconds in interleaved(calls, rounds).items()}


def in_browser(site: Path, chromium: str) -> Row:
    """Time the network in the page with one and two threads, and in ONNX Runtime and OpenVINO right after."""
    from playwright.sync_api import sync_playwright

    handler = functools.partial(QuietHandler, directory=str(site))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    row: Row = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which(chromium), args=["--no-sandbox"])
        row["browser"] = f"Chromium {browser.version}"
        for threads in (1, 2):
            page = browser.new_page()
            page.goto(f"http://127.0.0.1:{server.server_port}/?runtime=wasm&threads={threads}")
            page.wait_for_function("() => document.getElementById('status').textContent.includes('WebAssembly')")
            times = page.evaluate("async () => await window.edgeSegface.time(40)")
            row[f"wasm_{threads}_ms"] = round(float(np.median(times[5:])), 2)
            with load_engine(DEFAULT_MODEL, runtime="onnxruntime", threads=threads) as engine:
                row[f"onnxruntime_{threads}_ms"] = engine_ms(engine)
            page.close()
        browser.close()
    server.shutdown()
    return row


def engine_ms(engine: Engine) -> float:
    image, seconds = noise_images(256), []
    for _ in range(40):
        start = time.perf_counter()
        engine.infer(image)
        seconds.append(time.perf_counter() - start)
    return common.median_ms(seconds[5:])


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        pass


def table(report: Report) -> str:
    def number(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    rows = [
        [
            f"`{row['format']}`",
            row["precision"],
            TARGETS[row["format"]].where,
            f"{row['mb']:.1f}",
            number(None if row["agreement"] is None else 100 * row["agreement"], ".3f"),
            number(row.get("mean_f1"), ".1f"),
            number(row.get("long_tail_f1"), ".1f"),
            NOT_TIMED.get(row["format"]) or f"{row['ms']:.1f} ({row['times_onnxruntime']:.2f})",
        ]
        for row in report["rows"]
    ]
    head = ["format", "precision", "for", "MB", "same class, %", "mean F1", "long tail", "ms (times ONNX Runtime)"]
    text = common.markdown_table(head, rows)
    for threads, found in report.get("runtimes", {}).items():
        text += (
            f"\nRuntimes with {threads} thread(s), in one interleaved run: ncnn {found['ncnn']:.1f} ms, "
            f"ONNX Runtime {found['onnxruntime']:.1f} ms, OpenVINO {found['openvino']:.1f} ms.\n"
        )
    if web := report.get("web"):
        text += (
            f"\nIn {web['browser']}, WebAssembly, the network takes {web['wasm_1_ms']:.0f} ms with one thread and "
            f"{web['wasm_2_ms']:.0f} ms with two; ONNX Runtime takes {web['onnxruntime_1_ms']:.1f} and "
            f"{web['onnxruntime_2_ms']:.1f} ms right after.\n"
        )
    return text + common.footer(
        "targets",
        report,
        f"`{DEFAULT_MODEL}`; agreement on the built-in portrait, F1 on {report['data']}. One image, one thread, from "
        "bytes to classes; the ratio is the median over interleaved rounds.",
        packages=(),
    )


if __name__ == "__main__":
    main()
