"""How fast a network may be on a board that nobody here has: an estimate, by work and bytes, layer by layer.

A layer takes as long as its multiply-adds at the peak of the board, or its bytes at the bandwidth of the memory,
whichever is more. No layer reaches a peak, so both ends of a bracket are reckoned: with what good kernels reach and
nothing between them, and with what poor ones reach and a gap before each.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_segface.errors import EdgeSegfaceError, MissingExtra, ModelError

BOARDS = Path(__file__).parent / "boards.yaml"
# Shares of the peaks of work and memory, and seconds from one kernel to the next. Chosen after what ONNX Runtime
# reaches of the measured peaks of a processor (benchmarks/estimates.py); on a GPU they are a guess.
GOOD = (0.85, 0.8, 0.0)
POOR = (0.2, 0.4, 5e-6)
# Layers that every runtime writes out; the others are taken to be fused into the one before.
ANCHORS = frozenset(
    ("Conv", "ConvTranspose", "MatMul", "Gemm", "Softmax", "LayerNormalization", "Resize", "Transpose", "ArgMax",
     "TopK", "Concat", "ReduceMean", "GlobalAveragePool", "MaxPool", "AveragePool")
)  # fmt: skip
WORK = frozenset(("Conv", "ConvTranspose", "MatMul", "Gemm"))
BYTES = {"fp32": 4, "fp16": 2, "int8": 1}


@dataclass(frozen=True)
class Board:
    name: str
    title: str
    flops: dict[str, float | None]  # precision -> operations per second
    bytes_per_s: float
    unsure: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layer:
    name: str
    kind: str
    flop: float
    elements: int  # read and written, of activations
    weights: int


@dataclass(frozen=True)
class Estimate:
    """Milliseconds and frames per second of one picture, and what bounds them if kernels are good."""

    board: Board
    precision: str
    gflop: float
    mb: float
    best_ms: float
    worst_ms: float
    bound: str  # compute or memory
    memory_share: float  # of the time that is bound by memory

    @property
    def fps(self) -> tuple[float, float]:
        return 1e3 / self.worst_ms, 1e3 / self.best_ms


def boards() -> dict[str, Board]:
    import yaml

    table = yaml.safe_load(BOARDS.read_text(encoding="utf-8"))
    return {
        name: Board(
            name,
            row["title"],
            {kind: None if row[kind] is None else row[kind] * 1e12 for kind in ("fp32", "fp16", "int8")},
            row["gb_per_s"] * 1e9,
            tuple(row.get("unsure", ())),
        )
        for name, row in table.items()
    }


def board_called(name: str) -> Board:
    known = boards()
    if name == "here":
        return this_machine()
    if name not in known:
        raise EdgeSegfaceError(f"no board is called {name!r}", remedy=f"choose one of {', '.join(known)}, or here")
    return known[name]


def this_machine(seconds: float = 1.0) -> Board:
    """The processor here, by what it reaches: a large product of matrices, and copies that no cache holds."""
    side = 2048
    one = np.random.default_rng(0).random((side, side), dtype=np.float32)
    flops = 2 * side**3 / _best(lambda: one @ one, seconds)
    source = np.ones(64 << 20, dtype=np.uint8)
    target = np.empty_like(source)
    bandwidth = 2 * source.nbytes / _best(lambda: np.copyto(target, source), seconds)
    return Board("here", "this processor, measured", {"fp32": flops, "fp16": None, "int8": None}, bandwidth)


def _best(work: Any, seconds: float) -> float:
    best, until = math.inf, time.perf_counter() + seconds
    while time.perf_counter() < until:
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def estimate(layers: list[Layer], board: Board, precision: str) -> Estimate:
    peak = board.flops.get(precision)
    if peak is None:
        can = ", ".join(kind for kind, flops in board.flops.items() if flops)
        raise EdgeSegfaceError(f"{board.title} gains nothing from {precision}", found=f"it computes in {can}")
    wide = BYTES[precision]

    def seconds(reach: tuple[float, float, float]) -> tuple[float, float]:
        """All of it, and what of it waits for memory."""
        work_share, memory_share, gap = reach
        total = waiting = 0.0
        for layer in layers:
            compute = layer.flop / (peak * work_share)
            memory = (layer.elements + layer.weights) * wide / (board.bytes_per_s * memory_share)
            total += max(compute, memory) + gap
            waiting += memory if memory > compute else 0.0
        return total, waiting

    best, waiting = seconds(GOOD)
    worst, _ = seconds(POOR)
    return Estimate(
        board,
        precision,
        sum(layer.flop for layer in layers) / 1e9,
        sum((layer.elements + layer.weights) * wide for layer in layers) / 1e6,
        1e3 * best,
        1e3 * worst,
        "memory" if waiting > best / 2 else "compute",
        waiting / best,
    )


def layers_of(path: Path) -> list[Layer]:
    """The layers of an ONNX file for one picture, with what is fused left out."""
    try:
        import onnx
        from onnx import shape_inference
    except ModuleNotFoundError as error:
        raise MissingExtra(str(error.name), "train", "reading the layers of a model") from error
    try:
        model = onnx.load(path)
    except Exception as error:
        raise ModelError(f"{path} is no ONNX file that can be read", remedy="give an .onnx file") from error
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = 1
    for value in model.graph.output:  # inferred anew, for one picture
        value.type.tensor_type.ClearField("shape")
    graph = shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {
        value.name: tuple(side.dim_value for side in value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.value_info, *graph.output)
    }
    constants = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for node in graph.node:  # weights behind casts and DequantizeLinear are weights still
        if node.op_type in ("Cast", "QuantizeLinear", "DequantizeLinear", "Transpose") and node.input[0] in constants:
            constants[node.output[0]] = constants[node.input[0]]
    layers = []
    for node in graph.node:
        if node.op_type not in ANCHORS or node.output[0] in constants:
            continue
        inputs = [name for name in node.input if name and name not in constants and name in shapes]
        weights = [constants[name] for name in node.input if name in constants]
        if not inputs:
            continue
        out = shapes.get(node.output[0], ())
        size = math.prod(out) if out and all(out) else 0
        elements = size + sum(math.prod(shapes[name]) for name in inputs if all(shapes[name]))
        layers.append(
            Layer(
                node.name or node.output[0], node.op_type, _flop(node, size, shapes, constants), elements,
                sum(math.prod(dims) for dims in weights),
            )
        )  # fmt: skip
    return layers


def _flop(node: Any, size: int, shapes: dict[str, tuple[int, ...]], constants: dict[str, tuple[int, ...]]) -> float:
    if node.op_type not in WORK:
        return float(size)
    second = constants.get(node.input[1]) or shapes.get(node.input[1], ())
    if not second:
        return 0.0
    if node.op_type in ("Conv", "ConvTranspose"):
        return 2.0 * size * math.prod(second[1:])  # (out, in / groups, k, k)
    transposed = any(a.name == "transB" and a.i for a in node.attribute)
    return 2.0 * size * second[-1 if transposed else -2]


def by_kind(layers: list[Layer]) -> dict[str, float]:
    """Kind of layer -> GFLOP."""
    sums: dict[str, float] = defaultdict(float)
    for layer in layers:
        sums[layer.kind] += layer.flop / 1e9
    return dict(sums)
