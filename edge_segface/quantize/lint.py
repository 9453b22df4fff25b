"""What TensorRT does not take, or takes and computes wrongly, found in a file before a board does.

The rules are those of TensorRT 8.6 to 11 and TensorRT-RTX on explicit quantization.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from edge_segface.quantize.qdq import DEQUANTIZE, QUANTIZE, Graph

REFUSED = ("QLinearConv", "QLinearMatMul", "MatMulInteger", "ConvInteger", "DynamicQuantizeLinear", "QGemm")
ACTIVATIONS = ("Relu", "Clip", "HardSwish", "HardSigmoid", "Sigmoid", "LeakyRelu", "BatchNormalization")
PER_CHANNEL = ("Conv", "ConvTranspose")


@dataclass(frozen=True)
class Finding:
    rule: str
    node: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.node}"


def lint(model: ModelProto) -> list[Finding]:
    graph = Graph(model)
    users = graph.users()
    found: list[Finding] = []
    for node in graph.nodes:
        found += (Finding(rule, node.name or node.op_type) for rule in _broken_rules(node, graph, users))
    return found


def _broken_rules(node: NodeProto, graph: Graph, users: dict[str, list[NodeProto]]) -> Iterator[str]:
    if node.op_type in REFUSED:
        yield "operator of integer arithmetic; TensorRT wants QuantizeLinear and DequantizeLinear"
    if node.op_type in (QUANTIZE, DEQUANTIZE):
        yield from _of_scale_and_zero(node, graph)
    stored = graph.constants.get(node.input[0]) if node.op_type == DEQUANTIZE else None
    if stored is not None and stored.data_type == TensorProto.INT32:
        yield "int32 bias behind DequantizeLinear; biases stay in floating point"
    if node.op_type in PER_CHANNEL and graph.is_quantized(node):
        scale = _constant(graph, graph.producer[node.input[1]].input[1])
        if scale is not None and scale.size == 1 and _channels(node, graph) > 1:
            yield "weights quantized with one scale; each output channel needs its own"
    if node.op_type == "Transpose" and _is_bytes(node.input[0], graph):
        yield "bytes transposed before they are cast; TensorRT casts first"
    if node.op_type == QUANTIZE:
        maker = graph.producer.get(node.input[0])
        behind = [user for dequantize in users.get(node.output[0], []) for user in users.get(dequantize.output[0], [])]
        if maker is not None and maker.op_type in PER_CHANNEL and any(user.op_type in ACTIVATIONS for user in behind):
            yield "Q and DQ between a convolution and its activation, which then do not fuse"


def _of_scale_and_zero(node: NodeProto, graph: Graph) -> Iterator[str]:
    if len(node.input) < 3 or not node.input[2]:
        yield "no zero point, so the type is uint8; TensorRT wants int8"
        return
    zero = _constant(graph, node.input[2])
    if zero is None:
        yield "zero point that is computed"
    elif zero.dtype != np.int8:
        yield f"{zero.dtype} quantization; TensorRT wants int8"
    elif zero.any():
        yield "zero point that is not 0; TensorRT is symmetric"
    scale = _constant(graph, node.input[1])
    if scale is None or not np.isfinite(scale).all() or (scale <= 0).any():
        yield "scale that is no constant above 0"


def _constant(graph: Graph, name: str) -> np.ndarray | None:
    if name in graph.constants:
        return numpy_helper.to_array(graph.constants[name])
    node = graph.producer.get(name)
    if node is not None and node.op_type == "Constant":
        return numpy_helper.to_array(node.attribute[0].t)
    return None


def _channels(node: NodeProto, graph: Graph) -> int:
    source = graph.source(node.input[1])
    if source not in graph.constants:
        return 0
    dims = graph.constants[source].dims
    return int(dims[0] if node.op_type == "Conv" else dims[1])


def _is_bytes(name: str, graph: Graph) -> bool:
    inputs = {value.name: value.type.tensor_type.elem_type for value in graph.model.graph.input}
    return inputs.get(name) == TensorProto.UINT8
