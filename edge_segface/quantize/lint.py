"""Find constructs in a quantized ONNX file that TensorRT rejects or computes wrongly.

The rules are those of TensorRT 8.6 to 11 and TensorRT-RTX for explicit quantization.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs
from onnx import ModelProto

from edge_segface.quantize.graph_info import DEQUANTIZE, QUANTIZE, is_quantized, producer, unquantized

INTEGER_OPS = ("QLinearConv", "QLinearMatMul", "MatMulInteger", "ConvInteger", "DynamicQuantizeLinear", "QGemm")
ACTIVATIONS = ("Relu", "Clip", "HardSwish", "HardSigmoid", "Sigmoid", "LeakyRelu", "BatchNormalization")
PER_CHANNEL = ("Conv", "ConvTranspose")


@dataclass(frozen=True)
class LintFinding:
    """A rule that a node breaks."""

    rule: str
    node: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.node}"


def lint(model: ModelProto) -> list[LintFinding]:
    """Return every broken rule, in order of the nodes."""
    graph = gs.import_onnx(model)
    return [LintFinding(rule, node.name or node.op) for node in graph.nodes for rule in _broken_rules(node, graph)]


def _broken_rules(node: gs.Node, graph: gs.Graph) -> Iterator[str]:
    if node.op in INTEGER_OPS:
        yield "operator of integer arithmetic; TensorRT needs QuantizeLinear and DequantizeLinear"
    if node.op in (QUANTIZE, DEQUANTIZE):
        yield from _broken_parameters(node)
    if node.op == DEQUANTIZE and isinstance(node.inputs[0], gs.Constant) and node.inputs[0].dtype == np.int32:
        yield "int32 bias behind DequantizeLinear; biases stay in floating point"
    if node.op in PER_CHANNEL and is_quantized(node):
        scale = _constant(node.i(1).inputs[1])
        if scale is not None and scale.size == 1 and _output_channels(node) > 1:
            yield "weights quantized with one scale; each output channel needs its own"
    if node.op == "Transpose" and node.inputs[0] in graph.inputs and node.inputs[0].dtype == np.uint8:
        yield "bytes transposed before they are cast; TensorRT needs the cast first"
    if node.op == QUANTIZE and _splits_activation(node):
        yield "Q and DQ between a convolution and its activation, which then do not fuse"


def _broken_parameters(node: gs.Node) -> Iterator[str]:
    """Check the scale and zero point of a Q or DQ."""
    if len(node.inputs) < 3 or node.inputs[2].is_empty():
        yield "no zero point, so the type is uint8; TensorRT needs int8"
        return
    zero = _constant(node.inputs[2])
    if zero is None:
        yield "zero point that is computed; it must be a constant"
    elif zero.dtype != np.int8:
        yield f"{zero.dtype} quantization; TensorRT needs int8"
    elif zero.any():
        yield "zero point that is not 0; TensorRT quantizes symmetrically"
    scale = _constant(node.inputs[1])
    if scale is None or not np.isfinite(scale).all() or (scale <= 0).any():
        yield "scale that is not a positive constant"


def _splits_activation(quantize: gs.Node) -> bool:
    source = producer(quantize.inputs[0])
    if source is None or source.op not in PER_CHANNEL:
        return False
    readers = (reader for dequantize in quantize.outputs[0].outputs for reader in dequantize.outputs[0].outputs)
    return any(reader.op in ACTIVATIONS for reader in readers)


def _constant(tensor: gs.Tensor) -> np.ndarray | None:
    if isinstance(tensor, gs.Constant):
        return np.asarray(tensor.values)
    node = producer(tensor)
    return np.asarray(node.attrs["value"].values) if node is not None and node.op == "Constant" else None


def _output_channels(node: gs.Node) -> int:
    weights = unquantized(node.inputs[1])
    if not isinstance(weights, gs.Constant):
        return 0
    return int(weights.shape[0 if node.op == "Conv" else 1])
