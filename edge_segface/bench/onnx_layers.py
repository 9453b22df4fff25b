"""Work and memory traffic of the layers in an ONNX file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_segface.errors import ModelError, first_line
from edge_segface.onnx_cost import Shape, multiply_adds, tensor_shapes

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

# Layers that every runtime executes on their own; the others are assumed to be fused into their predecessor.
COUNTED = frozenset(
    ("Conv", "ConvTranspose", "MatMul", "Gemm", "Softmax", "LayerNormalization", "Resize", "Transpose", "ArgMax",
     "TopK", "Concat", "ReduceMean", "GlobalAveragePool", "MaxPool", "AveragePool")
)  # fmt: skip
PRODUCTS = frozenset(("Conv", "ConvTranspose", "MatMul", "Gemm"))


@dataclass(frozen=True)
class Layer:
    name: str
    kind: str
    flop: float
    elements: int  # activations read and written
    weights: int
    int8: bool = False  # its input is dequantized


@dataclass(frozen=True)
class LayerList:
    """The counted layers of a network, and how many are not counted because the file does not state their size."""

    layers: tuple[Layer, ...]
    unknown: int = 0


def parameters_of(path: Path) -> int:
    """Return the number of weights in an ONNX file, in whatever precision; constants of one value do not count."""
    model, _ = _load(path)
    from onnx import TensorProto

    kinds = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT8)
    sizes = (math.prod(tensor.dims) for tensor in model.graph.initializer if tensor.data_type in kinds)
    return sum(size for size in sizes if size > 1)


def layers_of(path: Path) -> LayerList:
    """Return the layers of an ONNX file for one image, without those that runtimes fuse."""
    model, shapes = _load(path)
    graph = model.graph
    constants = _constant_shapes(graph)
    dequantized = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    layers = []
    unknown = 0
    for node in graph.node:
        inputs = [name for name in node.input if name and name not in constants]
        # Without inputs, or as weights, the result is known before the network runs.
        if node.op_type not in COUNTED or node.output[0] in constants or not inputs:
            continue
        sizes = [shapes.get(name, ()) for name in (*inputs, node.output[0])]
        if not all(shape and all(shape) for shape in sizes):
            unknown += 1
            continue
        layers.append(
            Layer(
                name=node.name or node.output[0],
                kind=node.op_type,
                flop=_flop(node, shapes, constants),
                elements=sum(math.prod(shape) for shape in sizes),
                weights=sum(math.prod(constants[name]) for name in node.input if name in constants),
                int8=any(name in dequantized for name in inputs),
            )
        )
    return LayerList(tuple(layers), unknown)


def _load(path: Path) -> tuple[ModelProto, dict[str, Shape]]:
    """Return a model and the shapes of its tensors."""
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise ModelError(
            "reading the layers of a model needs onnx, which is not installed", remedy="run: pip install onnx"
        ) from error
    try:
        model = onnx.load(path)
        return model, tensor_shapes(model)
    except Exception as error:
        raise ModelError(
            f"{path} is not a readable ONNX file", found=first_line(error), remedy="give an .onnx file"
        ) from error


def _constant_shapes(graph: GraphProto) -> dict[str, Shape]:
    """Return the shapes of all weights, including those behind casts, transposes and DequantizeLinear."""
    constants: dict[str, Shape] = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            constants[node.output[0]] = tuple(node.attribute[0].t.dims)
        if node.op_type in ("Cast", "QuantizeLinear", "DequantizeLinear") and node.input[0] in constants:
            constants[node.output[0]] = constants[node.input[0]]
        if node.op_type == "Transpose" and node.input[0] in constants:
            shape = constants[node.input[0]]
            axes = next((list(a.ints) for a in node.attribute if a.name == "perm"), range(len(shape))[::-1])
            constants[node.output[0]] = tuple(shape[axis] for axis in axes)
    return constants


def _flop(node: NodeProto, shapes: dict[str, Shape], constants: dict[str, Shape]) -> float:
    output = shapes[node.output[0]]
    if node.op_type not in PRODUCTS:
        return float(math.prod(output))
    operands = [constants.get(name) or shapes[name] for name in node.input[:2]]
    return 2.0 * multiply_adds(node.op_type, operands, output)
