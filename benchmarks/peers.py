"""Speed of face parsing networks side by side: plain SegFace, ours, and BiSeNet, in one interleaved run.

    python benchmarks/peers.py [--rounds N]

All take bytes and return class ids, at their usual input sizes, for one image, in ONNX Runtime and OpenVINO. Weights
are random: they do not change the time. Networks called `plain` are exported as trained, without the rewrite.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import common
import numpy as np
import torch
from bare_runtimes import onnxruntime_call, openvino_call
from bisenet import BiSeNet
from common import Report, Row
from networks import PlainGraph, gflop, parameters_m
from torch import nn

from edge_segface.bench.interleave import interleaved
from edge_segface.bench.plots import bar_chart
from edge_segface.export.deploy import DeployGraph
from edge_segface.export.onnx_export import write_graph
from edge_segface.export.rewrite import rewrite
from edge_segface.model.build import PRESETS
from edge_segface.model.segface import SegFace
from edge_segface.paper import PAPER_FPS

ROUNDS = 30
BASELINE = "plain SegFace 512"
RUNTIMES = ("ONNX Runtime", "OpenVINO")


@dataclass(frozen=True)
class Peer:
    graph: nn.Module  # as exported
    network: nn.Module  # whose operations are counted
    size: int


def main() -> None:
    arguments = common.argument_parser(__doc__)
    common.add_rounds(arguments, ROUNDS)
    options = arguments.parse_args()
    peers = all_peers()
    with tempfile.TemporaryDirectory() as folder:
        works = {}
        for name, peer in peers.items():
            path = Path(folder) / f"{name.replace(' ', '-')}.onnx"
            write_graph(peer.graph, peer.size, ("labels",), path)
            works[f"{name} | ONNX Runtime"] = onnxruntime_call(path)
            works[f"{name} | OpenVINO"] = openvino_call(path, common.noise_image(peer.size))
        seconds = {name: np.array(values) for name, values in interleaved(works, options.rounds).items()}
    rows = [
        {
            "network": name,
            "input_size": peer.size,
            "parameters_m": parameters_m(peer.graph),
            "gflop": gflop(peer.network, peer.size),
            "median_ms": {runtime: common.median_ms(seconds[f"{name} | {runtime}"]) for runtime in RUNTIMES},
            "times_as_fast": {
                runtime: common.speed_up(seconds[f"{BASELINE} | {runtime}"], seconds[f"{name} | {runtime}"])
                for runtime in RUNTIMES
            },
        }
        for name, peer in peers.items()
    ]
    report = {
        **common.new_report("onnxruntime", "openvino", "torch", "timm"),
        "rounds": options.rounds,
        "paper_fps": PAPER_FPS,
        "rows": rows,
    }
    common.write_result("peers", report)
    print(table(report))


def all_peers() -> dict[str, Peer]:
    torch.manual_seed(0)
    paper, edge, pico = (PRESETS[name](19).eval() for name in ("paper", "edge", "pico"))
    bisenet, without_path = (BiSeNet(19, spatial_path=spatial_path).eval() for spatial_path in (True, False))
    return {
        BASELINE: Peer(PlainGraph(paper), paper, 512),
        "plain BiSeNet-ResNet18 512": Peer(PlainGraph(bisenet), bisenet, 512),
        "the same without its spatial path": Peer(PlainGraph(without_path), without_path, 512),
        "our paper 512": ours(paper, 512),
        "our edge 512": ours(edge, 512),
        "our edge 256": ours(edge, 256),
        "our pico 256": ours(pico, 256),
    }


def ours(model: SegFace, size: int) -> Peer:
    return Peer(DeployGraph(model, size, ("labels",)), rewrite(model, size), size)


def figure(report: Report) -> str:
    """Draw the rate of each network in each runtime."""
    shown: list[tuple[Row, str]] = [(row, runtime) for row in report["rows"] for runtime in row["median_ms"]]
    labels = [f"{row['network']}, {runtime}" for row, runtime in shown]
    return bar_chart(labels, [1e3 / row["median_ms"][runtime] for row, runtime in shown], report["paper_fps"], 2)


def table(report: Report) -> str:
    columns = ("network", "parameters M", "GFLOP", "ONNX Runtime ms", "speed-up", "OpenVINO ms", "speed-up")
    rows = [
        [
            row["network"],
            row["parameters_m"],
            row["gflop"],
            *(
                cell
                for runtime in RUNTIMES
                for cell in (f"{row['median_ms'][runtime]:.1f}", f"{row['times_as_fast'][runtime]:.2f}")
            ),
        ]
        for row in report["rows"]
    ]
    return common.markdown_table(columns, rows) + common.footer(
        "peers",
        report,
        f"One image, fp32 files (OpenVINO computes in bf16 where the processor supports it), medians of "
        f"{report['rounds']} interleaved rounds. Speed-up over `{BASELINE}` in the same runtime: medians of per-round "
        "ratios.",
    )


if __name__ == "__main__":
    main()
