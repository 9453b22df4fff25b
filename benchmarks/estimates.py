"""Error of `edge-segface estimate` on this machine: its bracket beside the latency in ONNX Runtime, fp32.

    python benchmarks/estimates.py [--rounds N]

The peaks of the processor are measured in the same run, not taken from a data sheet.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import common
import numpy as np
import torch
from common import Report, Row

from edge_segface.bench.boards import Board, measure_this_machine
from edge_segface.bench.interleave import interleaved, noise_images
from edge_segface.bench.onnx_layers import layers_of
from edge_segface.bench.roofline import estimate
from edge_segface.export.onnx_export import export_onnx
from edge_segface.labels import CELEBAMASK19
from edge_segface.model.build import PRESETS
from edge_segface.model.checkpoint import Weights
from edge_segface.models import load_engine

CASES = (("pico", 256), ("edge", 256), ("edge", 512), ("paper", 512))
ROUNDS = 30


def main() -> None:
    arguments = common.argument_parser(__doc__)
    common.add_rounds(arguments, ROUNDS)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = export_networks(Path(folder))
        engines = {name: load_engine(path, runtime="onnxruntime") for name, path in files.items()}
        works = {name: partial(engine.infer, noise_images(engine.spec.input_size)) for name, engine in engines.items()}
        before = measure_this_machine()
        seconds = interleaved(works, options.rounds)
        board = max(before, measure_this_machine(), key=peak_flops)
        rows = [compared(name, path, board, seconds[name]) for name, path in files.items()]
    report = {
        **common.new_report("onnxruntime"),
        "peak": {"gflop_per_s": round(peak_flops(board) / 1e9, 1), "gb_per_s": round(board.bytes_per_s / 1e9, 1)},
        "rounds": options.rounds,
        "rows": rows,
    }
    common.write_result("estimates", report)
    print(table(report))


def export_networks(folder: Path) -> dict[str, Path]:
    """Export each case with random weights."""
    torch.manual_seed(0)
    files = {}
    for preset, size in CASES:
        model = PRESETS[preset](len(CELEBAMASK19)).eval()
        path = files[f"{preset} {size}"] = folder / f"{preset}-{size}.onnx"
        export_onnx(Weights(model, preset, CELEBAMASK19, "none", "none"), path, size=size)
    return files


def peak_flops(board: Board) -> float:
    return board.flops["fp32"] or 0.0


def compared(name: str, path: Path, board: Board, seconds: list[float]) -> Row:
    """Return the estimate of a file beside its measured latency."""
    estimated = estimate(layers_of(path), board, "fp32")
    measured_ms = 1e3 * float(np.median(seconds))
    middle_ms = float(np.sqrt(estimated.best_ms * estimated.worst_ms))
    return {
        "model": name,
        "gflop": round(estimated.gflop, 2),
        "mb": round(estimated.mb, 1),
        "bound": estimated.bound,
        "best_ms": round(estimated.best_ms, 2),
        "worst_ms": round(estimated.worst_ms, 2),
        "measured_ms": round(measured_ms, 2),
        "inside": estimated.best_ms <= measured_ms <= estimated.worst_ms,
        "middle_off_percent": round(100 * (middle_ms / measured_ms - 1), 1),
    }


def table(report: Report) -> str:
    rows = [
        (
            row["model"],
            row["gflop"],
            row["mb"],
            row["bound"],
            f"{row['best_ms']:.1f} to {row['worst_ms']:.1f}",
            f"{row['measured_ms']:.1f}",
            "yes" if row["inside"] else "no",
            f"{row['middle_off_percent']:+.0f} %",
        )
        for row in report["rows"]
    ]
    peak = report["peak"]
    columns = ("network", "GFLOP", "MB moved", "bound by", "estimated ms", "measured ms", "inside", "error of middle")
    return common.markdown_table(columns, rows) + common.footer(
        "estimates",
        report,
        f"Peaks measured in the same run: {peak['gflop_per_s']} GFLOP/s in fp32, {peak['gb_per_s']} GB/s. Middle: "
        f"geometric mean of the bracket. ONNX Runtime, fp32, medians of {report['rounds']} interleaved rounds.",
    )


if __name__ == "__main__":
    main()
