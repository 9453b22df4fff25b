"""Face parsing networks side by side on this machine: plain SegFace, ours, and BiSeNet, in one run.

    python benchmarks/peers.py [--rounds N]

All take bytes and give classes, at the sizes that they are used at, on one picture, in every runtime that is installed.
Weights are random, as they do not change the time. `plain` networks are exported as they are trained.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bisenet import BiSeNet
from engines import bare_onnxruntime, bare_openvino
from rewrite import gflop, plain_graph

from edge_segface.bench.interleave import interleaved
from edge_segface.bench.plots import bars
from edge_segface.export.deploy import DeployGraph
from edge_segface.export.onnx_export import write_graph
from edge_segface.export.rewrite import rewrite
from edge_segface.files import write_text
from edge_segface.machine import machine_info
from edge_segface.model.build import PRESETS
from edge_segface.paper import PAPER_FPS

RESULT = Path(__file__).parent / "results" / "peers.json"
ROUNDS = 30
BASELINE = "plain SegFace 512"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=ROUNDS)
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        models = networks(Path(name))
        works = {}
        for label, (path, size, _) in models.items():
            picture = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8)
            works[f"{label} | ONNX Runtime"] = bare_onnxruntime(path, picture)
            works[f"{label} | OpenVINO"] = bare_openvino(path, picture)
        seconds = {label: np.array(values) for label, values in interleaved(works, asked.rounds).items()}
    rows = [
        {
            "network": label,
            "input_size": size,
            **counts,
            "median_ms": {
                runtime: round(1e3 * float(np.median(seconds[f"{label} | {runtime}"])), 2)
                for runtime in ("ONNX Runtime", "OpenVINO")
            },
            "times_as_fast": {
                runtime: round(
                    float(np.median(seconds[f"{BASELINE} | {runtime}"] / seconds[f"{label} | {runtime}"])), 2
                )
                for runtime in ("ONNX Runtime", "OpenVINO")
            },
        }
        for label, (_, size, counts) in models.items()
    ]
    report = {
        "schema": 1,
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine_info(),
        "versions": {package: version(package) for package in ("onnxruntime", "openvino", "torch", "timm")},
        "rounds": asked.rounds,
        "paper_fps": PAPER_FPS,
        "rows": rows,
    }
    write_text(json.dumps(report, indent=2) + "\n", RESULT)
    print(table(report))


def picture(report: dict[str, Any]) -> str:
    shown = [(row, runtime) for row in report["rows"] for runtime in row["median_ms"]]
    labels = [f"{row['network']}, {runtime}" for row, runtime in shown]
    return bars(labels, [1e3 / row["median_ms"][runtime] for row, runtime in shown], report["paper_fps"], 2)


def networks(folder: Path) -> dict[str, tuple[Path, int, dict[str, float]]]:
    """Name -> file, size, parameters and GFLOP."""
    torch.manual_seed(0)
    paper, edge, pico = (PRESETS[name](19).eval() for name in ("paper", "edge", "pico"))
    bisenet, usual = (BiSeNet(19, spatial_path=spatial).eval() for spatial in (True, False))
    graphs: dict[str, tuple[Any, Any, int]] = {
        BASELINE: (plain_graph(paper), paper, 512),
        "plain BiSeNet-ResNet18 512": (plain_graph(bisenet), bisenet, 512),
        "the same without its spatial path": (plain_graph(usual), usual, 512),
        "our paper 512": (DeployGraph(paper, 512, ("labels",)), rewrite(paper, 512), 512),
        "our edge 512": (DeployGraph(edge, 512, ("labels",)), rewrite(edge, 512), 512),
        "our edge 256": (DeployGraph(edge, 256, ("labels",)), rewrite(edge, 256), 256),
        "our pico 256": (DeployGraph(pico, 256, ("labels",)), rewrite(pico, 256), 256),
    }
    found = {}
    for name, (graph, network, size) in graphs.items():
        path = folder / f"{name.replace(' ', '-')}.onnx"
        write_graph(graph, size, ("labels",), path)
        millions = round(sum(p.numel() for p in graph.parameters()) / 1e6, 2)
        found[name] = (path, size, {"parameters_m": millions, "gflop": gflop(network, size)})
    return found


def table(report: dict[str, Any]) -> str:
    lines = [
        "| network | parameters M | GFLOP | ONNX Runtime ms | times as fast | OpenVINO ms | times as fast |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in report["rows"]:
        times = " | ".join(
            f"{row['median_ms'][runtime]:.1f} | {row['times_as_fast'][runtime]:.2f}"
            for runtime in ("ONNX Runtime", "OpenVINO")
        )
        lines.append(f"| {row['network']} | {row['parameters_m']} | {row['gflop']} | {times} |")
    where = report["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    lines += [
        "",
        f"One picture, fp32 files (OpenVINO computes in bf16 where the processor has it), {report['rounds']} "
        f"interleaved rounds, medians; times as fast as `{BASELINE}` in the same runtime, round by round. "
        f"{where['cpu']}, {where['cores']} cores. {versions}. {report['date']}. Made by `benchmarks/peers.py`.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
