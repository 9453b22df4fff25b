"""Inspect quantized graphs: which layers are in int8, and what share of the work that is."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_graphsurgeon as gs
from onnx import ModelProto

from edge_segface.export.node_names import group_of
from edge_segface.onnx_cost import multiply_adds, tensor_shapes

LAYERS = ("Conv", "ConvTranspose", "MatMul", "Gemm")
QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
FOLDABLE = (QUANTIZE, DEQUANTIZE, "Cast", "Transpose", "Constant", "Reshape", "Identity")


@dataclass(frozen=True)
class Layer:
    """A convolution or matrix product with constant weights."""

    name: str
    op: str
    group: str
    macs: int
    quantized: bool


def producer(tensor: gs.Tensor) -> gs.Node | None:
    """Return the node that computes a tensor, or None for inputs and stored tensors."""
    return tensor.inputs[0] if tensor.inputs else None


def is_constant(tensor: gs.Tensor) -> bool:
    """Return whether a tensor is stored, or computed from stored tensors by quantizing, casting or reshaping alone."""
    if isinstance(tensor, gs.Constant) or tensor.is_empty():
        return True
    node = producer(tensor)
    return node is not None and node.op in FOLDABLE and all(is_constant(source) for source in node.inputs)


def unquantized(tensor: gs.Tensor) -> gs.Tensor:
    """Return the tensor before any pairs of Q and DQ."""
    while (node := producer(tensor)) is not None and node.op in (QUANTIZE, DEQUANTIZE):
        tensor = node.inputs[0]
    return tensor


def is_quantized(node: gs.Node) -> bool:
    """Return whether activations and weights both come out of a DequantizeLinear."""
    return all((maker := producer(tensor)) is not None and maker.op == DEQUANTIZE for tensor in node.inputs[:2])


def layers(model: ModelProto) -> list[Layer]:
    """Return every convolution and linear layer, with its multiply-adds for one image."""
    shapes = tensor_shapes(model)
    found = []
    for node in gs.import_onnx(model).nodes:
        if node.op not in LAYERS or not any(is_constant(tensor) for tensor in node.inputs[:2]):
            continue
        inputs = [shapes.get(unquantized(tensor).name, ()) for tensor in node.inputs[:2]]
        output = shapes.get(node.outputs[0].name, ())
        macs = multiply_adds(node.op, inputs, output) if output and all(inputs) else 0
        found.append(Layer(node.name, node.op, group_of(node.name), macs, is_quantized(node)))
    return found


def int8_share(model: ModelProto) -> float:
    """Return the share of the multiply-adds of convolutions and linear layers that is in int8."""
    all_layers = layers(model)
    total = sum(layer.macs for layer in all_layers)
    return sum(layer.macs for layer in all_layers if layer.quantized) / total if total else 0.0


def logits_name(model: ModelProto) -> str:
    """Return the name of the tensor that the last ArgMax reads."""
    return next(str(node.input[0]) for node in reversed(model.graph.node) if node.op_type == "ArgMax")
