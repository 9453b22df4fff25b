"""Overhead of our engine classes over the bare runtimes, ONNX Runtime beside OpenVINO, and build times of TensorRT-RTX.

    python benchmarks/engines.py [MODEL] [--rounds N]

Runs on the CPU, one image, all in one interleaved run: each runtime called directly and through our class. TensorRT-RTX
plans are built, which needs no GPU; they are not run.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import common
import numpy as np
from bare_runtimes import Call, onnxruntime_call, openvino_call
from common import Report, Row

from edge_segface.assets import BUNDLED, DEFAULT_MODEL
from edge_segface.bench.interleave import interleaved
from edge_segface.build import BuildRequest, build_engine
from edge_segface.models import load_engine, resolve
from edge_segface.quantize.pipeline import quantize_fp16

ROUNDS = 200
BUILDS = 5
BASELINE = "ONNX Runtime"


def main() -> None:
    arguments = common.argument_parser(__doc__)
    arguments.add_argument("model", nargs="?", default=DEFAULT_MODEL, help=f"Default: {DEFAULT_MODEL}.")
    common.add_rounds(arguments, ROUNDS)
    options = arguments.parse_args()
    path = resolve(options.model).path
    report = {
        **common.new_report("onnxruntime", "openvino", "tensorrt-rtx"),
        "model": options.model,
        "rounds": options.rounds,
        "rows": latencies(path, options.rounds),
        "builds": builds(path),
    }
    common.write_result("engines", report)
    print(table(report))


def latencies(path: Path, rounds: int) -> list[Row]:
    """Time both runtimes, each called directly and through our class."""
    with load_engine(path, runtime="onnxruntime") as onnxruntime, load_engine(path, runtime="openvino") as openvino:
        image = common.noise_image(onnxruntime.spec.input_size)
        works: dict[str, Call] = {
            "ONNX Runtime, bare": onnxruntime_call(path),
            "ONNX Runtime": partial(onnxruntime.infer, image),
            "OpenVINO, bare": openvino_call(path, image),
            "OpenVINO": partial(openvino.infer, image),
        }
        seconds = {name: np.array(values) for name, values in interleaved(works, rounds).items()}
        descriptions = {"ONNX Runtime": onnxruntime.description, "OpenVINO": openvino.description}
    return [
        {
            "engine": name,
            "description": description,
            "median_ms": common.median_ms(seconds[name]),
            "times_as_fast": common.speed_up(seconds[BASELINE], seconds[name]),
            "overhead_percent": round(100 * float(np.median(seconds[name] / seconds[f"{name}, bare"]) - 1), 2),
        }
        for name, description in descriptions.items()
    ]


def builds(path: Path) -> list[Row]:
    """Build TensorRT-RTX plans in three precisions."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        half, plan = Path(name) / "fp16.onnx", Path(name) / "plan.engine"
        quantize_fp16(path, half)
        for precision, source in (("fp32", path), ("fp16", half), ("int8", BUNDLED["edge-256-int8"])):
            results = [build_engine(BuildRequest(str(source), plan, "tensorrt-rtx")) for _ in range(BUILDS)]
            rows.append(
                {
                    "precision": precision,
                    "median_s": round(float(np.median([result.stages[-1].seconds or 0.0 for result in results])), 2),
                    "mb": round(plan.stat().st_size / 1e6, 1),
                    "layers": results[-1].layers,
                }
            )
    return rows


def table(report: Report) -> str:
    latency = common.markdown_table(
        ("engine", "median ms", "speed-up", "overhead of our class"),
        (
            (
                row["description"],
                f"{row['median_ms']:.2f}",
                f"{row['times_as_fast']:.2f}",
                f"{row['overhead_percent']:+.1f} %",
            )
            for row in report["rows"]
        ),
    )
    plans = common.markdown_table(
        ("TensorRT-RTX plan", "build time, s", "MB"),
        ((row["precision"], f"{row['median_s']:.1f}", row["mb"]) for row in report["builds"]),
    )
    return f"{latency}\n{plans}" + common.footer(
        "engines",
        report,
        f"`{report['model']}`, one image, {report['rounds']} interleaved rounds; speed-up and overhead: medians of "
        f"per-round ratios. Build times: medians of {BUILDS}. No GPU.",
    )


if __name__ == "__main__":
    main()
