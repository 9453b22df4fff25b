"""What the engines add to their runtimes, how they compare, and how long building takes.

    python benchmarks/engines.py [MODEL]

On this machine's processor, one picture, all in turns in one process: each runtime called bare and through our class.
Plans of TensorRT-RTX are built, which takes no GPU; they are not run.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import openvino as ov

from edge_segface.assets import DEFAULT_MODEL
from edge_segface.bench.interleave import interleaved
from edge_segface.build import BuildRequest, build_engine
from edge_segface.engine.openvino.layout import optimise_for_openvino
from edge_segface.files import write_text
from edge_segface.machine import machine_info
from edge_segface.models import load_engine, resolve
from edge_segface.quantize.pipeline import quantize_fp16

RESULT = Path(__file__).parent / "results" / "engines.json"
ROUNDS = 200
BUILDS = 5


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("model", nargs="?", default=DEFAULT_MODEL)
    asked = options.parse_args()
    path = resolve(asked.model).path
    with load_engine(path) as onnxruntime, load_engine(path, runtime="openvino") as openvino:
        side = onnxruntime.spec.input_size
        picture = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), dtype=np.uint8)
        works = {
            "ONNX Runtime, bare": bare_onnxruntime(path, picture),
            "ONNX Runtime": partial(onnxruntime.infer, picture),
            "OpenVINO, bare": bare_openvino(path, picture),
            "OpenVINO": partial(openvino.infer, picture),
        }
        seconds = {name: np.array(values) for name, values in interleaved(works, ROUNDS).items()}
        descriptions = {"ONNX Runtime": onnxruntime.description, "OpenVINO": openvino.description}
    rows = [
        {
            "engine": name,
            "description": descriptions[name],
            "median_ms": round(1e3 * float(np.median(seconds[name])), 2),
            "times_as_fast": round(float(np.median(seconds["ONNX Runtime"] / seconds[name])), 2),
            "overhead_percent": round(100 * float(np.median(seconds[name] / seconds[f"{name}, bare"]) - 1), 2),
        }
        for name in descriptions
    ]
    report = {
        "schema": 1,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine_info(),
        "versions": {name: version(name) for name in ("onnxruntime", "openvino", "tensorrt-rtx")},
        "model": asked.model,
        "rounds": ROUNDS,
        "rows": rows,
        "builds": builds(path),
    }
    write_text(json.dumps(report, indent=2) + "\n", RESULT)
    print(table(report))


def bare_onnxruntime(path: Path, picture: np.ndarray) -> Any:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return partial(session.run, ["labels"], {"image": picture})


def bare_openvino(path: Path, picture: np.ndarray) -> Any:
    """The same graph with the same settings, by the call that OpenVINO's own examples use."""
    core = ov.Core()
    model = core.read_model(path)
    model.reshape({0: list(picture.shape)})
    request = core.compile_model(
        optimise_for_openvino(model), "CPU", {"PERFORMANCE_HINT": "LATENCY"}
    ).create_infer_request()
    return partial(request.infer, {0: picture}, share_inputs=True)


def builds(path: Path) -> list[dict[str, Any]]:
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        quantize_fp16(path, folder / "fp16.onnx")
        for precision, source in (
            ("fp32", path),
            ("fp16", folder / "fp16.onnx"),
            ("int8", resolve("edge-256-int8").path),
        ):
            times = []
            for _ in range(BUILDS):
                built = build_engine(BuildRequest(str(source), folder / "x.engine", "tensorrt-rtx"))
                times.append(built.stages[-1].seconds or 0.0)
            rows.append(
                {
                    "precision": precision,
                    "median_s": round(float(np.median(times)), 2),
                    "mb": round((folder / "x.engine").stat().st_size / 1e6, 1),
                    "layers": built.layers,
                }
            )
    return rows


def table(report: dict[str, Any]) -> str:
    lines = ["| engine | median ms | times as fast | our class adds |", "|---|---|---|---|"]
    for row in report["rows"]:
        times = f"{row['median_ms']:.2f} | {row['times_as_fast']:.2f} | {row['overhead_percent']:+.1f} %"
        lines.append(f"| {row['description']} | {times} |")
    lines += ["", "| plan of TensorRT-RTX | built in, s | MB |", "|---|---|---|"]
    lines += [f"| {row['precision']} | {row['median_s']:.1f} | {row['mb']} |" for row in report["builds"]]
    where = report["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    lines += [
        "",
        f"`{report['model']}`, one picture, {report['rounds']} interleaved rounds, medians of round by round ratios; "
        f"builds: medians of {BUILDS}. {where['cpu']}, {where['cores']} cores, no GPU. {versions}. {report['date']}. "
        "Made by `benchmarks/engines.py`.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
