"""How far `edge-segface estimate` is off on this machine: its bracket beside what ONNX Runtime takes, in fp32.

    python benchmarks/estimates.py

The peaks of the processor are measured, not quoted, in the same run.
"""

from __future__ import annotations

import json
import tempfile
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edge_segface.bench.interleave import interleaved
from edge_segface.bench.roofline import estimate, layers_of, this_machine
from edge_segface.export.onnx_export import export_onnx
from edge_segface.files import write_text
from edge_segface.labels import CELEBAMASK19
from edge_segface.machine import machine_info
from edge_segface.model.build import PRESETS
from edge_segface.model.checkpoint import Weights
from edge_segface.models import load_engine

RESULT = Path(__file__).parent / "results" / "estimates.json"
CASES = (("pico", 256), ("edge", 256), ("edge", 512), ("paper", 512))
ROUNDS = 30


def main() -> None:
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        files = {f"{preset} {size}": Path(folder) / f"{preset}-{size}.onnx" for preset, size in CASES}
        for (preset, size), path in zip(CASES, files.values(), strict=True):
            model = PRESETS[preset](len(CELEBAMASK19)).eval()
            export_onnx(Weights(model, preset, CELEBAMASK19, "none", "none"), path, size=size)
        engines = {name: load_engine(path) for name, path in files.items()}
        works = {
            name: partial(engine.infer, np.zeros((1, engine.spec.input_size, engine.spec.input_size, 3), np.uint8))
            for name, engine in engines.items()
        }
        before = this_machine()
        seconds = interleaved(works, ROUNDS)
        after = this_machine()
        board = before if before.flops["fp32"] > after.flops["fp32"] else after
        rows = []
        for name, path in files.items():
            found = estimate(layers_of(path), board, "fp32")
            measured = 1e3 * float(np.median(seconds[name]))
            middle = float(np.sqrt(found.best_ms * found.worst_ms))
            rows.append(
                {
                    "model": name,
                    "gflop": round(found.gflop, 2),
                    "mb": round(found.mb, 1),
                    "bound": found.bound,
                    "best_ms": round(found.best_ms, 2),
                    "worst_ms": round(found.worst_ms, 2),
                    "measured_ms": round(measured, 2),
                    "inside": found.best_ms <= measured <= found.worst_ms,
                    "middle_off_percent": round(100 * (middle / measured - 1), 1),
                }
            )
    report = {
        "schema": 1,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine_info(),
        "versions": {"onnxruntime": version("onnxruntime")},
        "peak": {"gflop_per_s": round(board.flops["fp32"] / 1e9, 1), "gb_per_s": round(board.bytes_per_s / 1e9, 1)},
        "rounds": ROUNDS,
        "rows": rows,
    }
    write_text(json.dumps(report, indent=2) + "\n", RESULT)
    print(table(report))


def table(report: dict[str, Any]) -> str:
    lines = [
        "| network | GFLOP | MB moved | bound by | estimated ms | measured ms | inside | its middle is off by |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in report["rows"]:
        inside = "yes" if row["inside"] else "no"
        lines.append(
            f"| {row['model']} | {row['gflop']} | {row['mb']} | {row['bound']} | {row['best_ms']:.1f} to "
            f"{row['worst_ms']:.1f} | {row['measured_ms']:.1f} | {inside} | {row['middle_off_percent']:+.0f} % |"
        )
    peak, where = report["peak"], report["machine"]
    lines += [
        "",
        f"Peaks measured in the same run: {peak['gflop_per_s']} GFLOP/s in fp32, {peak['gb_per_s']} GB/s. ONNX Runtime "
        f"{report['versions']['onnxruntime']}, fp32, {report['rounds']} interleaved rounds, medians. {where['cpu']}, "
        f"{where['cores']} cores. {report['date']}. Made by `benchmarks/estimates.py`.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
