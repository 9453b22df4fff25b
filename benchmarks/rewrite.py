"""Savings of the graph rewrite and of the `edge` network: latency, peak memory, parameters and GFLOP of exported files.

    python benchmarks/rewrite.py [--rounds N]

ONNX Runtime on the CPU, two threads, fp32, one image, interleaved as in `edge-segface benchmark`. Weights are random:
they do not change the time. `plain` is the network as trained, with the inputs and outputs of our exports (bytes in,
class ids out). `plain logits` is what torch.onnx.export alone gives: normalised floats in, full logits out.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import common
import numpy as np
import onnxruntime as ort
from bare_runtimes import onnxruntime_call
from common import Report

from edge_segface.bench.cold_start import peak_memory_mb
from edge_segface.bench.interleave import interleaved
from edge_segface.bench.statistics import latency_ms

ROUNDS = 40
THREADS = 2
BASELINE = "plain paper 512"


@dataclass(frozen=True)
class ExportedNetwork:
    path: Path
    parameters_m: float
    gflop: float


def main() -> None:
    arguments = common.argument_parser(__doc__)
    common.add_rounds(arguments, ROUNDS)
    arguments.add_argument("--peak-of", type=Path, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.peak_of:
        print(peak_mb(options.peak_of))
        return
    with tempfile.TemporaryDirectory() as folder:
        networks = export_networks(Path(folder))
        works = {name: onnxruntime_call(network.path, threads=THREADS) for name, network in networks.items()}
        seconds = interleaved(works, options.rounds)
        rows = [
            {
                "model": name,
                "parameters_m": network.parameters_m,
                "gflop": network.gflop,
                "file_mb": round(network.path.stat().st_size / 1e6, 1),
                "latency_ms": asdict(latency_ms(np.array(seconds[name]))),
                "speed_up": common.speed_up(seconds[BASELINE], seconds[name]),
                "peak_memory_mb": peak_of_fresh_process(network.path),
            }
            for name, network in networks.items()
        ]
    report = {
        **common.new_report("onnxruntime"),
        "settings": {
            "threads": THREADS,
            "rounds": options.rounds,
            "batch": 1,
            "precision": "fp32",
            "onnxruntime": ort.__version__,
            "compared_with": BASELINE,
        },
        "models": rows,
    }
    common.write_result("rewrite", report)
    print(table(report))


def export_networks(folder: Path) -> dict[str, ExportedNetwork]:
    """Export the networks, plain and rewritten. torch is imported here only: it must not add to `peak_mb`."""
    import torch
    from networks import PlainGraph, gflop, parameters_m

    from edge_segface.export.deploy import DeployGraph
    from edge_segface.export.onnx_export import write_graph
    from edge_segface.export.rewrite import rewrite
    from edge_segface.model.build import PRESETS

    torch.manual_seed(0)
    exported = {}
    for preset, size in (("paper", 512), ("edge", 512), ("edge", 256), ("pico", 256)):
        model = PRESETS[preset](19).eval()
        if preset == "paper":
            cost = (parameters_m(model), gflop(model, size))
            logits, plain = folder / "plain-logits.onnx", folder / "plain.onnx"
            pixels = (torch.zeros(1, 3, size, size),)
            torch.onnx.export(model, pixels, str(logits), input_names=["image"], dynamo=False, opset_version=17)
            write_graph(PlainGraph(model), size, ("labels",), plain)
            exported["plain logits paper 512"] = ExportedNetwork(logits, *cost)
            exported[BASELINE] = ExportedNetwork(plain, *cost)
        path = folder / f"{preset}-{size}.onnx"
        write_graph(DeployGraph(model, size, ("labels",)), size, ("labels",), path)
        exported[f"{preset} {size}"] = ExportedNetwork(path, parameters_m(model), gflop(rewrite(model, size), size))
    return exported


def peak_of_fresh_process(path: Path) -> float:
    """Return the peak memory of loading and running one model, above that of a process with the runtime imported."""
    command = [sys.executable, __file__, "--peak-of", str(path)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def peak_mb(path: Path) -> float:
    before = peak_memory_mb() or 0.0
    call = onnxruntime_call(path, threads=THREADS)
    for _ in range(5):
        call()
    return round((peak_memory_mb() or 0.0) - before, 1)


def table(report: Report) -> str:
    settings, machine = report["settings"], report["machine"]
    rows = [
        (
            row["model"],
            row["parameters_m"],
            row["gflop"],
            f"{row['latency_ms']['p50']:.1f}",
            f"{row['latency_ms']['p90']:.1f}",
            f"{row['speed_up']:.2f}",
            f"{row['peak_memory_mb']:.0f}",
        )
        for row in report["models"]
    ]
    columns = ("model", "parameters M", "GFLOP", "median ms", "p90 ms", "speed-up", "peak memory MB")
    return common.markdown_table(columns, rows) + common.footer(
        "rewrite",
        report,
        f"ONNX Runtime {settings['onnxruntime']}, {settings['threads']} threads, fp32, batch 1, {settings['rounds']} "
        f"interleaved rounds. Speed-up over `{settings['compared_with']}`: medians of per-round ratios. "
        f"{machine['system']}, Python {machine['python']}.",
        packages=(),
    )


if __name__ == "__main__":
    main()
