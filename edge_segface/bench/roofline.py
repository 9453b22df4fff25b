"""Estimating a model's speed on a board, layer by layer, from work and memory traffic. Not a measurement.

A layer takes as long as its multiply-adds at the board's peak, or its bytes at the memory bandwidth, whichever is more.
Hardly any layer reaches a peak, so the estimate is a bracket: full peaks without gaps between layers, and the shares
that poor kernels reach with a gap before each.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edge_segface.bench.boards import Board
from edge_segface.bench.onnx_layers import PRODUCTS, Layer, LayerList
from edge_segface.errors import ModelError

BYTES = {"fp32": 4, "fp16": 2, "int8": 1}


@dataclass(frozen=True)
class KernelEfficiency:
    """How well kernels use a board."""

    compute_share: float  # of the peak
    memory_share: float  # of the bandwidth
    gap_s: float  # between two kernels
    transposes: bool  # whether they cost time


# At best a layer reaches a peak, and transposes are fused. The worst case is a guess, chosen after measurements of ONNX
# Runtime on a processor (benchmarks/estimates.py).
BEST = KernelEfficiency(compute_share=1.0, memory_share=1.0, gap_s=0.0, transposes=False)
WORST = KernelEfficiency(compute_share=0.2, memory_share=0.4, gap_s=5e-6, transposes=True)


@dataclass(frozen=True)
class Estimate:
    """Milliseconds and frames per second of one image, and the bottleneck if kernels are good."""

    board: Board
    precision: str
    gflop: float
    mb: float
    best_ms: float
    worst_ms: float
    bound: str  # compute or memory
    memory_share: float  # share of the time that is bound by memory
    unknown: int  # layers not counted

    @property
    def fps(self) -> tuple[float, float]:
        return 1e3 / self.worst_ms, 1e3 / self.best_ms


def estimate(network: LayerList, board: Board, precision: str) -> Estimate:
    """Estimate one model on one board.

    `int8` applies to layers fed by Q/DQ, the rest counts as fp16; in a file without Q/DQ, to all layers with weights.
    """
    board.check_precision(precision)
    if not network.layers:
        raise ModelError("the file has no layer of known size", remedy="give a file written by export")
    layers = list(zip(network.layers, _precisions(network.layers, precision), strict=True))
    best_s, memory_bound_s = _seconds(layers, board, BEST)
    worst_s, _ = _seconds(layers, board, WORST)
    return Estimate(
        board=board,
        precision=precision,
        gflop=sum(layer.flop for layer in network.layers) / 1e9,
        mb=sum(_bytes(layer, kind) for layer, kind in layers) / 1e6,
        best_ms=1e3 * best_s,
        worst_ms=1e3 * worst_s,
        bound="memory" if memory_bound_s > best_s / 2 else "compute",
        memory_share=memory_bound_s / best_s,
        unknown=network.unknown,
    )


def estimate_report(model: str, estimates: Sequence[Estimate]) -> dict[str, Any]:
    """Return the JSON of `edge-segface estimate`."""
    rows = [{**asdict(each), "fps": [round(value, 2) for value in each.fps]} for each in estimates]
    return {"schema": 1, "kind": "estimate", "model": model, "date": time.strftime("%Y-%m-%d"), "rows": rows}


def _precisions(layers: Sequence[Layer], precision: str) -> list[str]:
    """Return the precision of each layer in a model of this precision."""
    if precision != "int8":
        return [precision] * len(layers)
    quantized = any(layer.int8 for layer in layers)
    return [
        "int8" if layer.int8 or (not quantized and layer.weights and layer.kind in PRODUCTS) else "fp16"
        for layer in layers
    ]


def _seconds(layers: Sequence[tuple[Layer, str]], board: Board, efficiency: KernelEfficiency) -> tuple[float, float]:
    """Return the total time, and how much of it is bound by memory."""
    total = memory_bound = 0.0
    for layer, precision in layers:
        if layer.kind == "Transpose" and not efficiency.transposes:
            continue
        compute = layer.flop / ((board.flops[precision] or math.inf) * efficiency.compute_share)
        memory = _bytes(layer, precision) / (board.bytes_per_s * efficiency.memory_share)
        total += max(compute, memory) + efficiency.gap_s
        memory_bound += memory if memory > compute else 0.0
    return total, memory_bound


def _bytes(layer: Layer, precision: str) -> int:
    return (layer.elements + layer.weights) * BYTES[precision]
