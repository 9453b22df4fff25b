"""Estimating a model's speed on a board, layer by layer, from work and memory traffic. Not a measurement.

A layer takes as long as its multiply-adds at the board's peak, or its bytes at the memory bandwidth, whichever is more.
Hardly any layer reaches a peak, so the estimate is a bracket: full peaks without gaps between layers, and the shares
that poor kernels reach with a gap before each.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_segface.errors import EdgeSegfaceError, MissingExtra, ModelError, first_line
from edge_segface.onnx_cost import multiply_adds, tensor_shapes

BOARDS = Path(__file__).parent / "boards.yaml"
# Layers that every runtime writes out; the others are assumed to be fused into their predecessor.
ANCHORS = frozenset(
    ("Conv", "ConvTranspose", "MatMul", "Gemm", "Softmax", "LayerNormalization", "Resize", "Transpose", "ArgMax",
     "TopK", "Concat", "ReduceMean", "GlobalAveragePool", "MaxPool", "AveragePool")
)  # fmt: skip
WORK = frozenset(("Conv", "ConvTranspose", "MatMul", "Gemm"))
BYTES = {"fp32": 4, "fp16": 2, "int8": 1}


@dataclass(frozen=True)
class KernelEfficiency:
    """How well kernels use a board: shares of its peaks, seconds between two kernels, and whether transposes count."""

    work: float
    memory: float
    gap_s: float
    transposes: bool


# At best a layer reaches a peak, which nothing exceeds, and transposes cost nothing. The worst case is a guess, made
# after what ONNX Runtime reaches of a processor's peaks (benchmarks/estimates.py).
BEST = KernelEfficiency(1.0, 1.0, 0.0, transposes=False)
WORST = KernelEfficiency(0.2, 0.4, 5e-6, transposes=True)


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
    elements: int  # activations read and written
    weights: int
    int8: bool = False  # fed by Q/DQ


@dataclass(frozen=True)
class Layers:
    of: tuple[Layer, ...]
    unknown: int = 0  # nodes of unknown size, which are not counted


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
        raise EdgeSegfaceError(f"unknown board {name!r}", remedy=f"choose one of {', '.join(known)}, or here")
    return known[name]


def this_machine(seconds: float = 1.0) -> Board:
    """Measure this processor's peaks: a large matrix product, and copies larger than any cache."""
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


def estimate(layers: Layers, board: Board, precision: str) -> Estimate:
    """Estimate one model on one board.

    `int8` applies to layers fed by Q/DQ, the rest counts as fp16; in a file without Q/DQ, to all layers with weights.
    """
    check_precision(board, precision)
    marked = any(layer.int8 for layer in layers.of)

    def precision_of(layer: Layer) -> str:
        if precision != "int8":
            return precision
        return "int8" if layer.int8 or (not marked and layer.weights and layer.kind in WORK) else "fp16"

    def bytes_of(layer: Layer) -> int:
        return (layer.elements + layer.weights) * BYTES[precision_of(layer)]

    def seconds(reach: KernelEfficiency) -> tuple[float, float]:
        """Return the total time, and how much of it is bound by memory."""
        total = waiting = 0.0
        for layer in layers.of:
            if layer.kind == "Transpose" and not reach.transposes:
                continue
            compute = layer.flop / ((board.flops[precision_of(layer)] or math.inf) * reach.work)
            memory = bytes_of(layer) / (board.bytes_per_s * reach.memory)
            total += max(compute, memory) + reach.gap_s
            waiting += memory if memory > compute else 0.0
        return total, waiting

    if not layers.of:
        raise ModelError("the file has no layer of known size", remedy="give a file written by export")
    best, waiting = seconds(BEST)
    worst, _ = seconds(WORST)
    return Estimate(
        board,
        precision,
        sum(layer.flop for layer in layers.of) / 1e9,
        sum(bytes_of(layer) for layer in layers.of) / 1e6,
        1e3 * best,
        1e3 * worst,
        "memory" if waiting > best / 2 else "compute",
        waiting / best,
        layers.unknown,
    )


def check_precision(board: Board, precision: str) -> None:
    if board.flops.get(precision) is None:
        can = ", ".join(kind for kind, flops in board.flops.items() if flops)
        if board.name == "here":
            raise EdgeSegfaceError(f"this processor's peak in {precision} is not measured", remedy=f"take {can}")
        raise EdgeSegfaceError(f"{board.title} gains nothing from {precision}", found=f"it computes in {can}")


def report(model: str, found: list[Estimate]) -> dict[str, Any]:
    rows = [{**asdict(one), "fps": [round(value, 2) for value in one.fps]} for one in found]
    return {"schema": 1, "kind": "estimate", "model": model, "date": time.strftime("%Y-%m-%d"), "rows": rows}


def layers_of(path: Path) -> Layers:
    """Return the layers of an ONNX file for one image, without those that are fused."""
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise MissingExtra(str(error.name), "train", "reading the layers of a model") from error
    try:
        model = onnx.load(path)
        graph, shapes = model.graph, tensor_shapes(model)
    except Exception as error:
        raise ModelError(
            f"{path} is not a readable ONNX file", found=first_line(error), remedy="give an .onnx file"
        ) from error
    constants = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for node in graph.node:  # weights behind casts and DequantizeLinear count as weights
        if node.op_type == "Constant":
            constants[node.output[0]] = tuple(node.attribute[0].t.dims)
        if node.op_type in ("Cast", "QuantizeLinear", "DequantizeLinear") and node.input[0] in constants:
            constants[node.output[0]] = constants[node.input[0]]
        if node.op_type == "Transpose" and node.input[0] in constants:
            dims = constants[node.input[0]]
            order = next((list(a.ints) for a in node.attribute if a.name == "perm"), range(len(dims))[::-1])
            constants[node.output[0]] = tuple(dims[axis] for axis in order)
    dequantized = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    layers = []
    unknown = 0
    for node in graph.node:
        if node.op_type not in ANCHORS or node.output[0] in constants:
            continue
        inputs = [name for name in node.input if name and name not in constants]
        sizes = [shapes.get(name, ()) for name in (*inputs, node.output[0])]
        if not inputs:  # known before it runs
            continue
        if not all(dims and all(dims) for dims in sizes):
            unknown += 1
            continue
        weights = sum(math.prod(constants[name]) for name in node.input if name in constants)
        layers.append(
            Layer(
                node.name or node.output[0],
                node.op_type,
                _flop(node, shapes, constants),
                sum(math.prod(dims) for dims in sizes),
                weights,
                any(name in dequantized for name in inputs),
            )
        )
    return Layers(tuple(layers), unknown)


def _flop(node: Any, shapes: dict[str, tuple[int, ...]], constants: dict[str, tuple[int, ...]]) -> float:
    output = shapes[node.output[0]]
    if node.op_type not in WORK:
        return float(math.prod(output))
    inputs = [constants.get(name) or shapes[name] for name in node.input[:2]]
    return 2.0 * multiply_adds(node.op_type, inputs, output)
